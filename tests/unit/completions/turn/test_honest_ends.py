"""How a turn ends: what was heard is finished, whatever was cut is called so, and all ends once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import APIError

from completions.speech.phrases import PHRASES
from tests.support import responses_rules, rules
from tests.support.in_process import PlayedUpstream
from tests.support.logs import Logged
from tests.support.script import (
    At,
    CallPiece,
    Comment,
    Cut,
    Decline,
    Done,
    Fail,
    Finish,
    Hold,
    Pause,
    Raw,
    Reply,
    Role,
    Say,
    Scene,
    Step,
    Think,
    Unstreamed,
    Usage,
    answer,
    call,
    calls,
    page,
    refused,
    together,
)
from tests.support.turns import Heard
from tests.support.ways import CHAT, RESPONSES, Answer, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]
F = answer("From F.", at_ms=1000)
TRANSFER = {
    "name": "transfer_to_agent",
    "description": "Transfers the call.",
    "parameters": {
        "type": "object",
        "properties": {"agent_number": {"type": "integer"}},
        "required": ["agent_number"],
    },
}
SENTENCE = "It is sunny today. "
BREAKS: dict[str, tuple[list[Step], int]] = {
    "cut": ([Cut()], 0),
    "closed": ([], 0),
    "stall": ([Hold()], 4000),
    "error frame": ([Fail()], 0),
    "error frame on an open connection": ([Fail(), Hold()], 0),
    "half a frame": ([Raw(b'data: {"choices": [{"del')], 0),
    "garbage": ([Raw(b"data: <html>\n\n"), Hold()], 0),
}
"""Every way in which an answer breaks off, and how long it takes to notice."""


@pytest.fixture(params=list(BREAKS.values()), ids=list(BREAKS))
def broken(request: pytest.FixtureRequest) -> Any:
    """The steps with which an answer breaks off, and the milliseconds until that is noticed."""
    return request.param


async def hear(
    way: Way, *scenes: Scene, fallback: Scene | None = None, **more: Any
) -> tuple[Answer, PlayedUpstream, Heard]:
    """One turn; `post` are arguments of the post, all else are fields of the request."""
    upstream = PlayedUpstream(*scenes, fallback=fallback)
    post = more.pop("post", {})
    heard = await way.post(way.caller(upstream), way.body(**more), **post)
    return way.read(heard), upstream, heard


# -- an answer that breaks off, for a caller


async def test_in_the_first_sentence_it_is_bridged(way: Way, broken: Any) -> None:
    """A short bridge, then the next model's whole answer, and an ordinary end."""
    steps, after_ms = broken
    got, upstream, _ = await hear(way, [Role(), Say("It is"), *steps], fallback=F)
    assert got.text == f"It is... {ENGLISH.bridge} From F."
    assert [at_ms for at_ms, _ in got.speech] == [0, after_ms, after_ms + 1000, after_ms + 1000]
    assert got.finish == "stop"
    assert [seen.candidate for seen in upstream.requests] == ["upstream", "fallback"]


async def test_without_a_fallback_the_same_model_answers_again(way: Way, broken: Any) -> None:
    """From the beginning."""
    steps, _ = broken
    got, _, _ = await hear(way, [Role(), Say("It is"), *steps], answer("It is sunny."))
    assert got.text == f"It is... {ENGLISH.bridge} It is sunny."


async def test_after_the_first_sentence_it_is_closed(way: Way, broken: Any) -> None:
    """A closing sentence, and a finish that says that something is missing."""
    steps, after_ms = broken
    got, upstream, _ = await hear(way, [Role(), Say(SENTENCE), Say("And"), *steps], fallback=F)
    assert got.text == f"{SENTENCE}And... {ENGLISH.closing}"
    assert got.speech[-1][0] == after_ms
    assert got.finish == "length"
    assert len(upstream.requests) == 1


async def test_there_is_one_bridge(way: Way, broken: Any) -> None:
    """The second answer breaks off as well: it is closed."""
    steps, _ = broken
    got, upstream, _ = await hear(
        way, [Role(), Say("It is"), *steps], fallback=[Role(), Say("Well"), *steps]
    )
    assert got.text == f"It is... {ENGLISH.bridge} Well... {ENGLISH.closing}"
    assert got.finish == "length"
    assert len(upstream.requests) == 2


async def test_nobody_answers_behind_the_bridge(way: Way, broken: Any) -> None:
    """The turn is closed when all have failed."""
    steps, _ = broken
    got, upstream, _ = await hear(way, [Role(), Say("It is"), *steps], fallback=refused(500))
    assert got.text.startswith(f"It is... {ENGLISH.bridge} ")
    assert got.text.endswith(ENGLISH.closing)
    assert got.finish == "length"
    assert len(upstream.requests) == 3


async def test_no_bridge_without_time_for_an_answer(way: Way, broken: Any) -> None:
    """Less than three seconds before Lambda's deadline the turn is closed."""
    steps, after_ms = broken
    remaining_s = (after_ms + 3000 + 1500 - 10) / 1000
    got, upstream, _ = await hear(
        way, [Role(), Say("It is"), *steps], fallback=F, post={"remaining_s": remaining_s}
    )
    assert got.text == f"It is... {ENGLISH.closing}"
    assert got.finish == "length"
    assert len(upstream.requests) == 1


async def test_before_anything_is_heard_the_next_is_asked_unnoticed(way: Way, broken: Any) -> None:
    """Half a call tells a caller nothing: no bridge is needed, nor for a client an error."""
    steps, after_ms = broken
    half: list[Step] = [Role(), *call("transfer_to_agent", {"agent_number": 1})[:2], *steps]
    for on_failure in ("speak", "error"):
        got, _, _ = await hear(
            way, half, fallback=F, tools=[TRANSFER], post={"on_failure": on_failure}
        )
        fillers = 1 if after_ms else 0
        assert [text for _, text in got.speech][fillers:] == ["From ", "F."]
        assert got.speech[-1][0] == after_ms + 1000
        assert (got.calls, got.finish) == ([], "stop")


async def test_a_whole_call_is_delivered_all_the_same(way: Way, broken: Any) -> None:
    """The answer broke off behind it; what the model decided still happens."""
    steps, after_ms = broken
    made = call("transfer_to_agent", {"agent_number": 1})
    for before in ([], [Say("I'll transfer you. ")], [Say("I'll")]):
        script: list[Step] = [Role(), *before, *made, *steps]
        got, upstream, heard = await hear(way, script, fallback=F, tools=[TRANSFER])
        assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
        assert got.finish == "tool_calls"
        assert ENGLISH.closing not in got.text
        assert heard.pieces[-1][0] == after_ms
        assert len(upstream.requests) == 1


async def test_a_half_call_is_never_delivered(way: Way, broken: Any) -> None:
    """Nor is one whose arguments had not begun; the whole one before it is."""
    steps, _ = broken
    tool = {"name": "hold", "description": "", "parameters": {"type": "object", "properties": {}}}
    whole = call("transfer_to_agent", {"agent_number": 1})
    halves: list[list[Step]] = [
        [CallPiece(1, "", name="hold", id="call_1")],
        [CallPiece(1, '{"agent', name="transfer_to_agent", id="call_1")],
    ]
    for half in halves:
        script: list[Step] = [Role(), Say(SENTENCE), *half, *steps]
        got, _, _ = await hear(way, script, fallback=F, tools=[TRANSFER, tool])
        assert got.calls == []
        assert got.text == SENTENCE + ENGLISH.closing
        script = [Role(), Say(SENTENCE), *whole, *half, *steps]
        got, _, _ = await hear(way, script, fallback=F, tools=[TRANSFER, tool])
        assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
        assert got.text == SENTENCE


async def test_what_was_cut_is_not_logged_as_an_end(way: Way, broken: Any, logs: Logged) -> None:
    """Neither closed, nor as an error."""
    steps, _ = broken
    script: list[Step] = [Role(), Say(SENTENCE), *steps]
    await hear(way, script)
    await hear(way, script, post={"on_failure": "error"})
    first, second = logs.events("turn.finished")
    assert first["outcome"] != "ok"
    assert second["outcome"] != "ok"


# -- an answer that breaks off, for a client that wants errors


async def test_a_client_gets_an_error_frame(way: Way, broken: Any) -> None:
    """No word of ours, no finish; the SDK raises; and the stream is terminated."""
    steps, _ = broken
    got, upstream, heard = await hear(
        way, [Role(), Say("It is"), *steps], fallback=F, post={"on_failure": "error"}
    )
    assert (got.text, got.finish) == ("It is", "")
    assert got.error is not None
    assert got.error["message"]
    assert len(upstream.requests) == 1
    sdk: Any = rules.sdk_chunks if way is CHAT else responses_rules.sdk_events
    with pytest.raises(APIError):
        await sdk(heard.body)


async def test_a_json_answer_is_never_completed_by_us(way: Way, broken: Any) -> None:
    """Half of it and an error frame, whatever the caller would hear."""
    steps, _ = broken
    got, _, _ = await hear(way, [Role(), Say('{"a": '), *steps], fallback=F, json_format=True)
    assert got.text == '{"a": '
    assert got.error is not None


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_buffered_turn_fails_by_its_status(way: Way, status: int) -> None:
    """In both; a 200 with an apology in it would be taken for the answer."""
    for on_failure in ("speak", "error"):
        got, _, heard = await hear(
            way,
            refused(status, message="Enough.", retry_after_s=9),
            stream=False,
            post={"on_failure": on_failure},
        )
        assert heard.status == status
        assert heard.headers["retry-after"] == "9"
        assert got.error is not None
        assert got.error["message"] == "Enough."


# -- nobody answers


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
async def test_when_all_fail_a_caller_hears_so(way: Way, status: int) -> None:
    """200 and one sentence, for what may pass; a client sees what it was."""
    script = refused(status, message="Enough.", retry_after_s=9)
    got, _, heard = await hear(way, script, fallback=script)
    assert (heard.status, got.text, got.finish) == (200, ENGLISH.failure, "stop")
    got, _, heard = await hear(way, script, fallback=script, post={"on_failure": "error"})
    assert (heard.status, heard.headers["retry-after"]) == (status, "9")
    assert heard.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_permanent_refusal_keeps_its_status(way: Way, status: int) -> None:
    """In both: nothing that is said again will be answered."""
    for on_failure in ("speak", "error"):
        got, _, heard = await hear(
            way, refused(status, param="x", code="bad"), post={"on_failure": on_failure}
        )
        assert heard.status == status
        assert got.error is not None
        assert got.error["code"] == "bad"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("stream", [True, False])
async def test_our_key_is_not_the_callers_fault(way: Way, status: int, stream: bool) -> None:
    """502 `upstream_auth`, never a 401 that blames the caller."""
    for on_failure in ("speak", "error"):
        got, _, heard = await hear(
            way, refused(status), stream=stream, post={"on_failure": on_failure}
        )
        assert heard.status == 502
        assert got.error is not None
        assert got.error["code"] == "upstream_auth"


async def test_once_buffer_words_are_out_a_status_comes_too_late(way: Way) -> None:
    """A caller hears the sentence, even for what is permanent; a client gets the error frame."""
    for script in (refused(500, at_ms=1600), refused(404, at_ms=1600), refused(401, at_ms=1600)):
        got, _, _ = await hear(way, script)
        assert got.text.endswith(f"... {ENGLISH.failure}")
        got, _, heard = await hear(way, script, post={"on_failure": "error"})
        assert heard.status == 200
        assert got.error is not None


async def test_the_header_wins_over_the_setting(way: Way) -> None:
    """Both ways."""
    for setting, header in (("speak", "error"), ("error", "speak"), ("error", ""), ("speak", "")):
        upstream = PlayedUpstream(refused(500))
        caller = way.caller(upstream, on_failure=setting)
        heard = await way.post(caller, on_failure=header)
        assert heard.status == (200 if (header or setting) == "speak" else 500)


# -- the upstream ends oddly


ODD_ENDS: dict[str, list[Step]] = {
    "a doubled terminator": [Finish(), Usage(), Done(), Raw(b"data: [DONE]\n\n")],
    "two in one packet": [Finish(), Usage(), together(Done(), Raw(b"data: [DONE]\n\n"))],
    "comments behind it": [Finish(), Usage(), Done(), Comment(), Comment()],
    "it stays open": [Finish(), Usage(), Done(), Hold()],
    "it breaks behind it": [Finish(), Usage(), Done(), Cut()],
}
CHAT_ENDS: dict[str, list[Step]] = {
    "none, closed": [Finish(), Usage()],
    "none, open": [Finish(), Usage(), Hold()],
    "none, cut": [Finish(), Usage(), Cut()],
    "no finish": [Usage(), Done()],
    "finished twice": [Finish(), Finish(), Usage(), Done()],
}


@pytest.mark.parametrize("tail", list(ODD_ENDS.values()), ids=list(ODD_ENDS))
async def test_an_end_is_an_end(way: Way, tail: list[Step]) -> None:
    """However the upstream writes it, we write it once."""
    got, upstream, heard = await hear(way, [Role(), Say("Sunny."), *tail], fallback=F)
    assert (got.text, got.finish) == ("Sunny.", "stop")
    assert len(upstream.requests) == 1
    assert heard.pieces[-1][0] == 0


@pytest.mark.parametrize("tail", list(CHAT_ENDS.values()), ids=list(CHAT_ENDS))
async def test_a_missing_terminator_is_added(tail: list[Step]) -> None:
    """A finish, or a terminator alone, is an end; a caller that asked gets the usage."""
    got, upstream, heard = await hear(
        CHAT,
        [Role(), Say("Sunny."), *tail],
        fallback=F,
        stream_options={"include_usage": True},
    )
    assert (got.text, got.finish) == ("Sunny.", "stop")
    assert got.usage is not None
    assert got.usage["total_tokens"] == 12
    assert len(upstream.requests) == 1
    assert heard.pieces[-1][0] <= 500


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_finish_says_what_happened(way: Way, reason: str, stream: bool) -> None:
    """The model's own reason, in both modes."""
    got, _, _ = await hear(way, answer("Well, well.", finish=reason), stream=stream)
    assert (got.text, got.finish) == ("Well, well.", reason)


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "length"])
async def test_calls_finish_as_calls(way: Way, reason: str) -> None:
    """Whatever the model said; and without any, nothing finishes so."""
    script: list[Step] = [Role(), *call("transfer_to_agent", {"agent_number": 1}), Finish(reason)]
    got, _, _ = await hear(way, [*script, Done()], tools=[TRANSFER])
    assert got.finish == "tool_calls"
    got, _, _ = await hear(way, answer("Well.", finish="tool_calls"), tools=[TRANSFER])
    assert got.finish == "stop"


async def test_json_in_answer_to_a_stream_is_an_answer(way: Way) -> None:
    """Some upstreams do not stream; the caller's stream says all of it."""
    script: list[Step] = [
        Unstreamed(),
        Think("Hm."),
        Say("Sunny."),
        *call("transfer_to_agent", {"agent_number": 1}),
        Finish("tool_calls"),
    ]
    got, upstream, _ = await hear(way, script, tools=[TRANSFER])
    assert (got.text, got.finish) == ("Sunny.", "tool_calls")
    assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
    assert len(upstream.requests) == 1
    got, _, _ = await hear(way, [Unstreamed(), Say("Sunny."), Finish()])
    assert (got.text, got.finish) == ("Sunny.", "stop")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_page_is_no_answer(way: Way, stream: bool) -> None:
    """200 and HTML, as a proxy sends it: the next one is asked; else it is a 502."""
    got, _, _ = await hear(way, page(), fallback=answer("From F."), stream=stream)
    assert got.text == "From F."
    _, _, heard = await hear(way, page(), stream=stream, post={"on_failure": "error"})
    assert heard.status == 502


# -- Lambda's deadline


@pytest.mark.parametrize("pace_ms", [100, 700])
async def test_the_deadline_closes_a_flowing_answer(way: Way, pace_ms: int) -> None:
    """1.5 s before Lambda would cut it."""
    text = SENTENCE + "And " * 100
    got, upstream, heard = await hear(way, answer(text, pace_ms=pace_ms), post={"remaining_s": 6})
    assert got.text.startswith(SENTENCE)
    assert got.text.endswith(ENGLISH.closing)
    assert got.finish == "length"
    assert heard.pieces[-1][0] == 4500
    assert upstream.requests[0].hung_up_at is not None


async def test_the_deadline_counts_from_the_request(way: Way) -> None:
    """The time in which the keys were read is not Lambda's to give again."""
    text = SENTENCE + "And " * 100
    post = {"remaining_s": 6, "late_ms": 3000}
    got, _, heard = await hear(way, answer(text, pace_ms=100), post=post)
    assert got.text.endswith(ENGLISH.closing)
    assert heard.pieces[-1][0] == 4500


async def test_the_deadline_before_an_answer(way: Way) -> None:
    """The failure sentence, or the status; buffered as well."""
    got, _, heard = await hear(way, [Hold()], post={"remaining_s": 2.5})
    assert got.speech == [(1000, ENGLISH.failure)]
    post = {"remaining_s": 2.5, "on_failure": "error"}
    _, _, heard = await hear(way, [Hold()], post=post)
    assert (heard.status, heard.pieces[0][0]) == (504, 1000)
    _, _, heard = await hear(way, [Hold()], stream=False, post=post)
    assert (heard.status, heard.pieces[0][0]) == (504, 1000)


async def test_the_deadline_with_a_call_held(way: Way) -> None:
    """A whole one is delivered, half of one is not."""
    whole: list[Step] = [Role(), *call("transfer_to_agent", {"agent_number": 1})]
    got, _, heard = await hear(way, [*whole, Hold()], tools=[TRANSFER], post={"remaining_s": 5})
    assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
    assert heard.pieces[-1][0] == 3500
    got, _, _ = await hear(way, [*whole[:3], Hold()], tools=[TRANSFER], post={"remaining_s": 5})
    assert got.calls == []
    assert got.text.endswith(ENGLISH.failure)


async def test_a_deadline_that_is_past_is_kept_as_well(way: Way) -> None:
    """The turn says so at once."""
    got, _, heard = await hear(way, answer(), post={"remaining_s": 0.2})
    assert got.text == ENGLISH.failure
    assert heard.pieces[-1][0] == 0


# -- what is relayed


async def test_a_refusal_is_spoken(way: Way) -> None:
    """In a turn that speaks, in the model's own words; elsewhere it stays a refusal."""
    script: list[Step] = [Role(), Decline("I can"), Decline("not."), Finish(), Done()]
    got, _, _ = await hear(way, script)
    assert (got.text, got.finish) == ("I cannot.", "stop")
    got, _, heard = await hear(way, script, stream=False)
    assert got.text == "I cannot."
    assert (b'"refusal"' in heard.body) != way.over_chat  # Made anew, it is text.


async def test_usage_is_told_to_who_asked() -> None:
    """The upstream is always asked for it; the caller gets it in a chunk of its own, or not."""
    for told in (False, True):
        options: Any = {"stream_options": {"include_usage": True}} if told else {}
        got, upstream, _ = await hear(CHAT, answer(), **options)
        assert upstream.requests[0].json["stream_options"]["include_usage"] is True
        assert (got.usage is not None) == told


async def test_usage_is_the_winners(way: Way) -> None:
    """Not that of an answer that was cut, was silent, or had to be asked for again."""
    ours: list[Step] = [Role(), Say("Sunny."), Finish(), Usage(1, 2), Done()]
    others: list[list[Step]] = [
        [Role(), Say("It"), Usage(90, 90), Cut()],
        [Role(), Finish(), Usage(90, 90), Done()],
        [Role(), *call("transfer_to_agent", "{}"), Finish(), Usage(90, 90), Done()],
    ]
    options: Any = {"stream_options": {"include_usage": True}} if way is CHAT else {}
    for other in others:
        got, _, _ = await hear(way, other, ours, tools=[TRANSFER], **options)
        assert got.usage is not None
        assert got.usage["total_tokens"] == 3


async def test_several_answers_are_relayed() -> None:
    """With `n` the frames come as they came; the first finish is not the end."""

    def choice(index: int, delta: dict[str, Any], finish: str | None = None) -> Raw:
        fields = {"index": index, "delta": delta, "finish_reason": finish}
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return Raw(f"data: {json.dumps({**head, 'choices': [fields]})}\n\n".encode())

    one = [choice(0, {"content": "One."}), choice(0, {}, "stop")]
    two = [choice(1, {"content": "Two."}), choice(1, {}, "stop")]
    _, upstream, heard = await _several([*one, Pause(3000), *two, Usage(), Done()])
    assert heard.finishes == ["stop", "stop"]
    assert heard.text == "One.Two."
    assert heard.ends == 1
    assert b'"usage"' not in heard.body
    _, _, heard = await _several([*one, *two])
    assert heard.ends == 1
    _, _, heard = await _several([*one, Cut()])
    assert heard.finishes == ["stop"]
    assert "error" in heard.events[-2][1]
    assert heard.ends == 1
    _, upstream, heard = await _several(refused(500))
    assert heard.status == 500
    assert len(upstream.requests) == 3


async def _several(script: Scene) -> tuple[None, PlayedUpstream, Heard]:
    upstream = PlayedUpstream(script)
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(n=2))
    return None, upstream, heard


async def test_several_buffered_answers_are_relayed() -> None:
    """To the letter, calls that fit no schema and all."""
    wrong = {"id": "x", "type": "function", "function": {"name": "gone", "arguments": "{"}}
    message = {"role": "assistant", "content": None, "tool_calls": [wrong]}
    choices = [{"index": n, "message": message, "finish_reason": "tool_calls"} for n in (0, 1)]
    body = json.dumps({"id": "c", "object": "chat.completion", "choices": choices}).encode()
    upstream = PlayedUpstream([Reply(body)])
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(n=2, stream=False, tools=[TRANSFER]))
    assert heard.body == body
    assert len(upstream.requests) == 1


async def test_a_json_format_gets_no_word_of_ours(way: Way) -> None:
    """Neither filler nor sentence: it is relayed, or fails by its status."""
    got, _, _ = await hear(way, answer('{"a": 1}', at_ms=7000), json_format=True)
    assert got.text == '{"a": 1}'
    _, _, heard = await hear(way, refused(503), json_format=True)
    assert heard.status == 503


# -- frames


async def test_every_stream_has_one_identity(way: Way) -> None:
    """Whoever speaks: our own words, a model that was cut, another one with its call."""
    other: list[Step] = [
        At(1000),
        Role(),
        Think("Hm."),
        Say("I'll transfer you."),
        *call("transfer_to_agent", '{"agent_number": "x"}'),
        *call("transfer_to_agent", '{"agent_number": "2"}', index=1),
        *call("transfer_to_agent", '{"agent_number": 3}', index=2),
        Finish("tool_calls"),
        Usage(),
        Done(),
    ]
    got, upstream, heard = await hear(
        way,
        [At(1600), Role(), Say("It"), Cut()],
        fallback=other,
        tools=[TRANSFER],
    )
    # The call that was wrong is asked for again, of the model that made it; the good ones stand.
    assert [arguments["agent_number"] for _, arguments in got.calls] == [2, 3]
    assert got.finish == "tool_calls"
    assert len(upstream.requests) == 3
    if way is CHAT:
        message = (await rules.sdk_final(heard.body)).choices[0].message
        assert (message.role, message.content) == ("assistant", got.text)
        made = [one.function.arguments for one in message.tool_calls or ()]
        assert [json.loads(one) for one in made] == [arguments for _, arguments in got.calls]
    else:
        assert (await responses_rules.sdk_final(heard.body)).output_text == got.text


TURNS: dict[str, tuple[list[Step], list[Step]]] = {
    "an answer": (answer("Sunny."), []),
    "buffer words": (answer("Sunny.", at_ms=2000), []),
    "reasoning": ([Role(), Think("Hm."), Say("Sunny."), Finish(), Done()], []),
    "a call": (calls("transfer_to_agent", {"agent_number": 1}), []),
    "a mended call": (calls("transfer_to_agent", '{"agent_number": "1"}'), []),
    "a filler and a call": (calls("transfer_to_agent", {"agent_number": 1}, at_ms=2000), []),
    "a failure": (refused(500), refused(500)),
    "a pause": ([Role(), Finish(), Done()], [Role(), Finish(), Done()]),
    "a bridge": ([Role(), Say("It"), Cut()], answer("Sunny.")),
    "a closing sentence": ([Role(), Say(SENTENCE), Cut()], []),
    "a refusal": ([Role(), Decline("No."), Finish(), Done()], []),
    "no role": ([Say("Sunny."), Finish(), Done()], []),
    "length": (answer("Sunny.", finish="length"), []),
}


@pytest.mark.parametrize("name", TURNS)
async def test_the_official_sdk_reads_every_kind_of_turn(way: Way, name: str) -> None:
    """Its plain stream and its stream helper, which joins what comes twice."""
    first, second = TURNS[name]
    got, _, heard = await hear(way, first, second or first, tools=[TRANSFER])
    cut_off = got.finish == "length"  # The helpers raise at that: it is how they tell.
    if way is not CHAT:
        assert len(await responses_rules.sdk_events(heard.body)) > 2
        if not cut_off:
            assert (await responses_rules.sdk_final(heard.body)).output_text == got.text
        return
    chunks = await rules.sdk_chunks(heard.body)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == got.text
    if cut_off:
        return
    choice = (await rules.sdk_final(heard.body)).choices[0]
    assert (choice.message.content or "", choice.finish_reason) == (got.text, got.finish)
    assert choice.message.role == "assistant"
    made = [
        (one.function.name, json.loads(one.function.arguments))
        for one in choice.message.tool_calls or ()
    ]
    assert made == got.calls


async def test_odd_calls_are_put_right_for_strict_clients() -> None:
    """Several in a frame, without numbers, numbered from 1, names and ids told twice."""

    def frame(*parts: dict[str, Any]) -> Raw:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        fields = {"index": 0, "delta": {"tool_calls": parts}, "finish_reason": None}
        return Raw(f"data: {json.dumps({**head, 'choices': [fields]})}\n\n".encode())

    def part(number: int, arguments: str, **fields: Any) -> dict[str, Any]:
        function = {"name": "transfer_to_agent", "arguments": arguments}
        return {"id": f"call_{number}", "type": "function", "function": function, **fields}

    one, two = '{"agent_number": 1}', '{"agent_number": 2}'
    shapes: list[list[Raw]] = [
        [frame(part(1, one, index=0), part(2, two, index=1))],
        [frame(part(1, one)), frame(part(2, two))],
        [frame(part(1, one), part(2, two))],
        [frame(part(1, one, index=0)), frame(part(2, two, index=0))],
        [frame(part(1, one, index=1)), frame(part(2, two, index=2))],
        [
            frame(part(1, one[:7], index=0)),
            frame(part(1, one[7:], index=0)),
            frame(part(2, two[:7], index=1)),
            frame(part(2, two[7:], index=1)),
        ],
        [frame(part(1, one, index=0, id=None)), frame(part(2, two, index=1, id=""))],
    ]
    for shape in shapes:
        got, _, heard = await hear(
            CHAT, [Role(), *shape, Finish("tool_calls"), Done()], tools=[TRANSFER]
        )
        assert [arguments["agent_number"] for _, arguments in got.calls] == [1, 2]
        message = (await rules.sdk_final(heard.body)).choices[0].message
        assert [one.function.name for one in message.tool_calls or ()] == ["transfer_to_agent"] * 2


async def test_a_role_in_every_frame_is_told_once() -> None:
    """The SDK's helper joins what comes twice: `assistantassistant`."""

    def frame(text: str, finish: str | None = None) -> Raw:
        delta = {"role": "assistant", "content": text}
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        fields = {"index": 0, "delta": delta, "finish_reason": finish}
        return Raw(f"data: {json.dumps({**head, 'choices': [fields]})}\n\n".encode())

    got, _, heard = await hear(
        CHAT, [frame("Su"), frame("nny"), frame("."), frame("", "stop"), Done()]
    )
    assert (got.text, got.finish) == ("Sunny.", "stop")
    assert (await rules.sdk_final(heard.body)).choices[0].message.role == "assistant"


async def test_previous_response_id_goes_to_the_first_candidate() -> None:
    """Only the upstream that made the response knows it."""
    upstream = PlayedUpstream(refused(500), fallback=answer())
    request = RESPONSES.body(previous_response_id="resp_0")
    await RESPONSES.post(RESPONSES.caller(upstream), request)
    first, second = upstream.requests
    assert first.json["previous_response_id"] == "resp_0"
    assert "previous_response_id" not in second.json
