"""Tool calls: in all kinds of pieces, twice, invalid, unfinished, endless, written as text."""

from __future__ import annotations

import json
from collections.abc import Callable

from local.scripted.script import CallPiece, Finish
from tests.soak.kinds.kind import BOTH, CHAT, add, kind
from tests.soak.script import TOOL, Acts, Answer, Break, Wait

NAME = TOOL["name"]


def part(
    arguments: object, *, index: object = 0, id_: object = "call_1", name: object = NAME
) -> dict[str, object]:
    """Return a piece of a call, without values that are "gone"."""
    function = {"name": name, "arguments": arguments}
    whole: dict[str, object] = {"index": index, "id": id_, "type": "function"}
    whole["function"] = {key: value for key, value in function.items() if value != "gone"}
    return {key: value for key, value in whole.items() if value != "gone"}


def call_chunk(answer: Answer, *parts: dict[str, object]) -> bytes:
    """Return a chunk with pieces of calls."""
    return answer.chunk({"tool_calls": list(parts)})


@kind("a call", tools=True, good=True)
def _call(answer: Answer) -> Acts:
    yield answer.open() + answer.call() + answer.end()


@kind("a call letter by letter", tools=True, good=True)
def _letters(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.call(pieces=1000)
    yield answer.end()


@kind("words and a call", tools=True, good=True)
def _words_first(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield answer.call() + answer.end()


@kind("a call and words", tools=True, apis=CHAT, good=True)
def _words_last(answer: Answer) -> Acts:
    yield answer.open() + answer.call()
    yield answer.say(3) + answer.end()


@kind("two calls", tools=True, good=True)
def _two(answer: Answer) -> Acts:
    yield answer.open() + answer.call(index=0) + answer.call(index=1)
    yield answer.end()


@kind("a call with the finish stop", tools=True, apis=CHAT, good=True)
def _stop(answer: Answer) -> Acts:
    yield answer.open() + answer.call() + answer.end("stop")


@kind("the finish tool_calls without a call", apis=CHAT)
def _no_call(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3) + answer.end("tool_calls")


@kind("the finish function_call without a call", apis=CHAT)
def _no_function_call(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3) + answer.end("function_call")


def _parts(
    name: str, make: Callable[[Answer], list[list[dict[str, object]]]], **flags: object
) -> None:
    """Add a kind whose chunks have these pieces of calls."""

    def play(answer: Answer) -> Acts:
        yield answer.open()
        for parts in make(answer):
            yield call_chunk(answer, *parts)
        yield answer.end("tool_calls")

    add(name, play, apis=CHAT, streams=True, tools=True, **flags)


def _halves(answer: Answer) -> tuple[str, str]:
    text = answer.arguments()
    return text[: len(text) // 2], text[len(text) // 2 :]


def _in_two(
    first: dict[str, object], second: dict[str, object]
) -> Callable[[Answer], list[list[dict[str, object]]]]:
    def make(answer: Answer) -> list[list[dict[str, object]]]:
        one, two = _halves(answer)
        return [[part(one, **first)], [part(two, **second)]]

    return make


_rest: dict[str, object] = {"id_": "gone", "name": "gone"}
_parts("a call without an index", lambda a: [[part(a.arguments(), index="gone")]], good=True)
_parts("a call without an id", lambda a: [[part(a.arguments(), id_="gone")]], good=True)
_parts("a call whose id is empty", lambda a: [[part(a.arguments(), id_="")]], good=True)
_parts("a call whose id is null", lambda a: [[part(a.arguments(), id_=None)]], good=True)
_parts("a call whose id is a number", lambda a: [[part(a.arguments(), id_=7)]], good=True)
_parts("a call whose index is text", lambda a: [[part(a.arguments(), index="0")]])
_parts("a call whose index is 7", lambda a: [[part(a.arguments(), index=7)]], good=True)
_parts("a call whose index is null", lambda a: [[part(a.arguments(), index=None)]], good=True)
_parts("a call in two, id and name again", _in_two({}, {}), good=True)
_parts("a call in two, id and name empty", _in_two({}, {"id_": "", "name": ""}), good=True)
_parts("a call in two, id and name null", _in_two({}, {"id_": None, "name": None}), good=True)
_parts(
    "a call in two without an index",
    _in_two({"index": "gone"}, {**_rest, "index": "gone"}),
    good=True,
)
_parts("a call whose name comes amid it", _in_two({"name": "gone"}, {"id_": "gone"}), good=True)
_parts(
    "a call whose name comes second",
    lambda a: [[part("", name="gone")], [part(a.arguments(), id_="gone")]],
    good=True,
)
_parts("arguments that are an object", lambda a: [[part(json.loads(a.arguments()))]], good=True)
_parts(
    "two calls in one frame, without an index",
    lambda a: [
        [part(a.arguments(), index="gone"), part(a.arguments(), index="gone", id_="call_2")]
    ],
    good=True,
)
_parts(
    "two calls in one slot",
    lambda a: [[part(a.arguments())], [part(a.arguments(), id_="call_2")]],
    good=True,
)
_parts(
    "two calls in one slot, without ids",
    lambda a: [[part(a.arguments(), id_="")], [part(a.arguments(), id_="")]],
)
_parts(
    "two calls under one id",
    lambda a: [[part(a.arguments())], [part(a.arguments(), index=1)]],
    good=True,
)


def _same(**second: object) -> Callable[[Answer], list[list[dict[str, object]]]]:
    def make(answer: Answer) -> list[list[dict[str, object]]]:
        text = answer.arguments()
        return [[part(text)], [part(text, **second)]]

    return make


_parts("a call twice under one id", _same(index=1), good=True)
_parts("a call twice under two ids", _same(index=1, id_="call_2"), good=True)
_parts("a call twice in one slot", _same(), good=True)
_parts("the whole arguments again", _same(**_rest), good=True)


def _empty_first(answer: Answer) -> list[list[dict[str, object]]]:
    return [[part("{}")], [part(answer.arguments(), **_rest)]]


_parts("an empty object before the arguments", _empty_first, good=True)


def _name_in_two(answer: Answer) -> list[list[dict[str, object]]]:
    first, rest = part("", name=NAME[:4]), part(answer.arguments(), id_="gone", name=NAME[4:])
    return [[first], [rest]]


_parts("a call whose name comes in two", _name_in_two, good=True)

ARGUMENTS: dict[str, Callable[[str], str]] = {
    "of a wrong type": lambda ref: f'{{"ref": "{ref}", "seats": "many"}}',
    "of a number in place of text": lambda ref: '{"ref": 1e999, "seats": 4}',
    "as text in place of a number": lambda ref: f'{{"ref": "{ref}", "seats": "4"}}',
    "out of bounds": lambda ref: f'{{"ref": "{ref}", "seats": 400}}',
    "with a field left out": lambda ref: f'{{"ref": "{ref}"}}',
    "with a field too many": lambda ref: f'{{"ref": "{ref}", "seats": 4, "name": "Bo"}}',
    "with an infinite number": lambda ref: f'{{"ref": "{ref}", "seats": 1e999}}',
    "with NaN": lambda ref: f'{{"ref": "{ref}", "seats": NaN}}',
    "with half a surrogate": lambda ref: f'{{"ref": "{ref}\\ud83d", "seats": 4}}',
    "with a key twice": lambda ref: f'{{"ref": "{ref}", "seats": 400, "seats": 4}}',
    "with single quotes": lambda ref: f"{{'ref': '{ref}', 'seats': 4}}",
    "with a comma too many": lambda ref: f'{{"ref": "{ref}", "seats": 4,}}',
    "in a fence": lambda ref: f'```json\n{{"ref": "{ref}", "seats": 4}}\n```',
    "as JSON in JSON": lambda ref: json.dumps(f'{{"ref": "{ref}", "seats": 4}}'),
    "in a list": lambda ref: f'[{{"ref": "{ref}", "seats": 4}}]',
    "with words behind": lambda ref: f'{{"ref": "{ref}", "seats": 4}} is it',
    "cut": lambda ref: f'{{"ref": "{ref}", "sea',
    "that are empty": lambda ref: "",
    "that are null": lambda ref: "null",
    "that are words": lambda ref: "a table, please",
    "nested deeply": lambda ref: '{"ref": ' + "[" * 3000 + "]" * 3000 + "}",
    "of 200 KB": lambda ref: f'{{"ref": "{ref}{"x" * 200_000}", "seats": 4}}',
    "of 300 KB": lambda ref: f'{{"ref": "{ref}{"x" * 300_000}", "seats": 4}}',
    "of 300 KB in the last piece": lambda ref: f'{{"ref": "{ref}", "seats": 4{" " * 300_000}}}',
}
for _name, _make in ARGUMENTS.items():

    def _odd(answer: Answer, make: Callable[[str], str] = _make) -> Acts:
        yield answer.open()
        yield answer.call(make(answer.odd_ref()), pieces=answer.rng.choice((1, 2)))
        yield answer.end("tool_calls")
        answer.whole = False

    add(f"arguments {_name}", _odd, apis=BOTH, tools=True)


for _odd_name in ("cancel_everything", "", "book table", "functions.book_table", "x" * 5000):

    @kind(f"a call of {_odd_name[:30]!r}", tools=True, apis=CHAT, streams=True)
    def _other_tool(answer: Answer, name: str = _odd_name) -> Acts:
        yield answer.open()
        yield call_chunk(answer, part(answer.arguments(answer.odd_ref()), name=name))
        yield answer.end("tool_calls")
        answer.whole = False


@kind("a call where no tool is offered", tools=False, apis=CHAT, streams=True)
def _unoffered(answer: Answer) -> Acts:
    yield answer.open()
    yield call_chunk(answer, part(answer.arguments(answer.odd_ref())))
    yield answer.end("tool_calls")
    answer.whole = False


@kind("a call of the older API", tools=True, apis=CHAT, streams=True, good=True)
def _older(answer: Answer) -> Acts:
    yield answer.open()
    call = {"name": NAME, "arguments": answer.arguments()}
    yield answer.chunk({"function_call": call})
    yield answer.render(Finish("function_call"))
    yield b"data: [DONE]\n\n"


@kind("a thousand calls", tools=True, apis=CHAT, streams=True)
def _thousand(answer: Answer) -> Acts:
    yield answer.open()
    for index in range(1000):
        yield call_chunk(
            answer, part(answer.arguments(answer.odd_ref()), index=index, id_=f"call_{index}")
        )
    yield answer.end("tool_calls")
    answer.whole = False


@kind("arguments without end", tools=True, streams=True, unspoken=True)
def _endless(answer: Answer) -> Acts:
    yield answer.open() + answer.call('{"ref": "', pieces=1)
    for _ in range(60):
        yield answer.render(CallPiece(0, "x" * 10_000))
        yield Wait(0.2)
    yield Break.HOLD


for _break in Break:

    @kind(f"{_break.value} amid a call", tools=True, streams=True)
    def _amid(answer: Answer, how: Break = _break) -> Acts:
        yield answer.open() + answer.call('{"ref": "', pieces=1)
        yield how

    @kind(f"{_break.value} amid a call behind words", tools=True, streams=True)
    def _amid_behind(answer: Answer, how: Break = _break) -> Acts:
        yield answer.open() + answer.say(3) + answer.call('{"ref": "', pieces=1)
        yield how

    @kind(f"{_break.value} behind a call", tools=True, streams=True)
    def _behind(answer: Answer, how: Break = _break) -> Acts:
        yield answer.open() + answer.call(answer.arguments(answer.odd_ref()))
        yield how


TEXTS: dict[str, str] = {
    "Hermes": '<tool_call>\n{"name": "book_table", "arguments": %s}\n</tool_call>',
    "Llama": '{"name": "book_table", "parameters": %s}',
    "Mistral": '[TOOL_CALLS][{"name": "book_table", "arguments": %s}]',
    "XML": "<function=book_table>%s</function>",
    "Kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.book_table:0"
    "<|tool_call_argument_begin|>%s<|tool_call_end|><|tool_calls_section_end|>",
    "DeepSeek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>book_table\n"
    "```json\n%s\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "Gemini": "```tool_code\nbook_table(%s)\n```",
}
for _name, _text in TEXTS.items():

    @kind(f"a call as {_name} writes it", tools=True)
    def _written(answer: Answer, text: str = _text) -> Acts:
        answer.plain = False
        yield answer.open()
        whole = text % answer.arguments(answer.odd_ref())
        for start in range(0, len(whole), 12):
            yield answer.speech(whole[start : start + 12])
        yield answer.end("stop")
        answer.whole = False
