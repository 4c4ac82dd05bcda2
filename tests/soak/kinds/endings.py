"""How answers end: odd, missing, twice; and answers that are empty."""

from __future__ import annotations

from local.scripted.script import Done, Fail, Finish, Usage
from tests.soak.kinds.kind import CHAT, RESPONSES, add, kind
from tests.soak.script import Acts, Answer, Break, Wait

ODD = ("eos", "STOP", "end_turn", "stop_sequence", "eos_token", "COMPLETE", "unknown", "…")
FAILURES = ("error", "abort", "network_error", "insufficient_system_resource")

for _reason in ODD:

    def _odd(answer: Answer, reason: str = _reason) -> Acts:
        yield answer.open() + answer.say(3)
        yield answer.end(reason)

    add(f"the finish {_reason}", _odd, apis=CHAT, good=True)

for _reason in FAILURES:

    def _failed(answer: Answer, reason: str = _reason) -> Acts:
        yield answer.open() + answer.say(3)
        yield answer.end(reason)

    add(f"the finish {_reason}", _failed, apis=CHAT)

for _value in (7, True, {"type": "stop"}, ["stop"]):

    def _typed(answer: Answer, value: object = _value) -> Acts:
        yield answer.open() + answer.say(3)
        yield answer.chunk({}, value)  # type: ignore[arg-type]
        yield b"data: [DONE]\n\n"

    add(f"the finish {_value!r}", _typed, apis=CHAT, streams=True)

for _reason in ("length", "content_filter"):

    def _cut_short(answer: Answer, reason: str = _reason) -> Acts:
        yield answer.open() + answer.say(3)
        yield answer.end(reason)

    # A sentence that a filter cuts ends in our words.
    add(f"words, then {_reason}", _cut_short, good=_reason == "length")

    def _no_word(answer: Answer, reason: str = _reason) -> Acts:
        yield answer.open() + answer.end(reason)

    add(f"no word, then {_reason}", _no_word)


@kind("no finish", apis=CHAT, streams=True)
def _no_finish(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield b"data: [DONE]\n\n"


@kind("no finish and no terminator", apis=CHAT, streams=True)
def _neither(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)


@kind("no terminator", apis=CHAT, streams=True, good=True)
def _no_terminator(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    answer.end()
    yield answer.chunk({}, "stop")


@kind("the finish twice", apis=CHAT, streams=True, good=True)
def _twice(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield answer.chunk({}, "stop") + answer.end()


@kind("the finish with the last word", apis=CHAT, streams=True, good=True)
def _with_word(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield answer.chunk({"content": answer.words()}, "stop")
    answer.end()
    yield b"data: [DONE]\n\n"


@kind("the terminator twice", streams=True, good=True)
def _done_twice(answer: Answer) -> Acts:
    yield b"".join(answer.good()) + b"data: [DONE]\n\ndata: [DONE]\n\n"


@kind("words behind the finish", apis=CHAT, streams=True)
def _words_behind(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield answer.chunk({}, "stop")
    yield answer.speech(answer.maybe(3))
    yield answer.end()


@kind("words behind the terminator", apis=CHAT, streams=True, good=True)
def _words_behind_done(answer: Answer) -> Acts:
    yield b"".join(answer.good())
    yield answer.chunk({"content": answer.never()})


@kind("an error behind the finish", apis=CHAT, streams=True, good=True)
def _error_behind(answer: Answer) -> Acts:
    *packets, end = answer.good()
    yield b"".join(packets) + end.removesuffix(b"data: [DONE]\n\n")
    yield answer.render(Fail())


@kind("an error amid words", streams=True)
def _error_amid(answer: Answer) -> Acts:
    yield answer.open() + answer.say(answer.few())
    yield answer.render(Fail())


@kind("an error amid words on a connection that stays open", streams=True)
def _error_open(answer: Answer) -> Acts:
    yield answer.open() + answer.say(answer.few())
    yield answer.render(Fail())
    yield Break.HOLD


@kind("an error before words", streams=True, heals=True, errs=True)
def _error_first(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.render(Fail())


@kind("an overload before words", streams=True, heals=True, errs=True)
def _overload(answer: Answer) -> Acts:
    error = {"message": "Overloaded.", "type": "overloaded_error", "code": 529}
    yield answer.data({"error": error} if answer.chat else {**error, "type": "error"}, "error")


@kind("an error and a finish in one frame", apis=CHAT, streams=True, heals=True, errs=True)
def _error_and_finish(answer: Answer) -> Acts:
    whole = answer.envelope([{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}])
    yield answer.data(whole | {"error": {"code": 502, "message": "Gone."}})
    yield b"data: [DONE]\n\n"


@kind("usage before the finish", apis=CHAT, streams=True, good=True)
def _early_usage(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3) + answer.render(Usage())
    yield answer.end()


@kind("usage with the finish", apis=CHAT, streams=True, good=True)
def _usage_with_finish(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    answer.end()
    yield answer.chunk({}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 4})
    yield b"data: [DONE]\n\n"


# Empty answers.

EMPTY: dict[str, str] = {
    "blanks": "  \n ",
    "points": "...",
    "marks": "*** —",
    "a zero-width space": "\u200b",
    "an emoji": "🙂",
}
for _name, _text in EMPTY.items():

    def _empty(answer: Answer, text: str = _text) -> Acts:
        yield answer.open() + answer.speech(answer.also(text))
        yield answer.end()
        answer.whole = False

    add(f"nothing but {_name}", _empty, heals=True)


@kind("nothing but a role", heals=True)
def _role(answer: Answer) -> Acts:
    yield answer.open() + answer.end()


@kind("nothing but a finish", streams=True, apis=CHAT, heals=True)
def _finish(answer: Answer) -> Acts:
    yield answer.render(Finish(), Done())


@kind("nothing but a terminator", streams=True, heals=True)
def _terminator(answer: Answer) -> Acts:
    yield b"data: [DONE]\n\n"


@kind("an empty answer whose connection stays open", streams=True, heals=True)
def _stays_open(answer: Answer) -> Acts:
    yield answer.open() + answer.render(Finish())
    yield Break.HOLD


@kind("null content", streams=False, apis=CHAT, heals=True)
def _null(answer: Answer) -> Acts:
    yield Wait(0.1)
    answer.end()


# Responses that end oddly.


@kind("no end of the response", streams=True, apis=RESPONSES)
def _no_end(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield answer.render(Finish())
    yield b"data: [DONE]\n\n"


@kind("a failed response", streams=True, apis=RESPONSES, heals=True, errs=True)
def _failed_response(answer: Answer) -> Acts:
    failure = {"code": "server_error", "message": "Gone."}
    yield answer.open()
    yield answer.event("response.failed", response={"status": "failed", "error": failure})


@kind("a response that fails amid words", streams=True, apis=RESPONSES)
def _fails_amid(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield answer.event("response.failed", response={"status": "failed", "error": None})
