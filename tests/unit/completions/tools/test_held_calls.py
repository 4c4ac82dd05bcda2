"""The tool calls of one answer: put together from parts, and what may be relayed of them."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.deltas import Call, CallPart, Chunk, Delta, Text
from completions.dialects.request import Tool
from completions.errors import InvalidToolCall
from completions.sse import ServerSentEvent
from completions.tools.held_calls import (
    ARGUMENTS_LIMIT_CHARS,
    CALLS_LIMIT,
    HeldCalls,
    merge_calls,
)

MOVE: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
}
OFFERED = {"move": Tool("move", parameters=MOVE)}
TWO_CALLS = [("a", '{"n":1}'), ("b", '{"n":2}')]


def held(*parts: CallPart) -> HeldCalls:
    """Hold the calls of these parts, each in its own chunk."""
    calls = HeldCalls(OFFERED)
    add(calls, *((part,) for part in parts))
    return calls


def add(calls: HeldCalls, *chunks: tuple[CallPart, ...]) -> None:
    """Add these chunks."""
    for deltas in chunks:
        calls.add(Chunk(ServerSentEvent(b"data: x\n\n", b"x"), deltas))


def named(index: int, call_id: str | None, arguments: str) -> CallPart:
    """The first part of a call."""
    return CallPart(index, call_id, "move", arguments)


def more(index: int, arguments: str) -> CallPart:
    """A later part of a call."""
    return CallPart(index, None, None, arguments)


@pytest.mark.parametrize(
    ("parts", "relayable"),
    [
        ([named(0, "a", '{"n":1}'), named(1, "b", '{"n":2}')], True),
        ([named(0, "a", ""), named(1, "b", '{"n":'), more(0, '{"n":1}'), more(1, "2}")], True),
        ([named(1, "a", '{"n":1}'), named(2, "b", '{"n":2}')], False),
        ([named(0, "a", '{"n":1}'), named(0, "b", '{"n":2}')], False),
        ([named(-1, "a", '{"n":1}'), named(-1, "b", '{"n":2}')], False),
        ([named(0, "a", '{"n"'), named(0, "a", ":1}"), named(1, "b", '{"n":2}')], False),
        ([named(0, "a", '{"n"'), named(0, None, ":1}"), named(0, "b", '{"n":2}')], False),
    ],
    ids=["in turn", "mixed", "from 1", "one index", "no index", "named twice", "id once"],
)
def test_parts_become_calls(parts: list[CallPart], relayable: bool) -> None:
    """Index or id tells calls apart; they are relayed only if clients read them the same way."""
    calls = held(*parts)
    assert [(call.id, call.arguments) for call in calls.unchecked()] == TWO_CALLS
    assert calls.relayable is relayable


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(None, (named(0, "a", "{}"),)),
        Chunk(ServerSentEvent(b"x", b"x"), (named(0, "a", "{}"),), unchanged=False),
        Chunk(ServerSentEvent(b"x", b"x"), (Text("Well."), named(0, "a", "{}"))),
    ],
    ids=["no event", "changed", "text beside it"],
)
def test_a_chunk_of_more_than_a_call_is_not_relayed(chunk: Chunk) -> None:
    """Its call is kept and rewritten."""
    calls = HeldCalls(OFFERED)
    calls.add(chunk)
    assert not calls.relayable
    assert [call.id for call in calls.unchecked()] == ["a"]


def test_an_answer_without_calls_is_falsy() -> None:
    """Text is not held."""
    calls = HeldCalls(OFFERED)
    deltas: tuple[Delta, ...] = (Text("Well."),)
    calls.add(Chunk(None, deltas))
    assert not calls
    assert held(named(0, "a", ""))


def test_complete_calls_leave_out_what_was_cut() -> None:
    """Half a call is not delivered, and then the chunks are not relayed either."""
    cut = held(named(0, "a", '{"n":1}'), named(1, "b", '{"n":'))
    complete = cut.complete_calls()
    assert [call.id for call in complete.unchecked()] == ["a"]
    assert (cut.relayable, complete.relayable) == (True, False)


LONG = '{"n":1,"x":"' + "x" * ARGUMENTS_LIMIT_CHARS + '"}'
FIRST = named(0, "a", '{"n":1}')


@pytest.mark.parametrize(
    "parts",
    [
        [FIRST, named(1, "b", LONG)],
        [FIRST, named(1, "b", ""), more(1, LONG)],
        [FIRST, named(1, "b", LONG[:-2]), more(1, LONG[-2:])],
        [FIRST, named(1, "b", '{"n":2}'), more(1, " " * ARGUMENTS_LIMIT_CHARS)],
        [FIRST, named(1, "b", "{"), *[more(1, '"x":"y",' * 100)] * 400],
    ],
    ids=["one piece", "announced", "the last piece", "whole before", "many pieces"],
)
@pytest.mark.parametrize("chunks", ["one", "each"])
def test_arguments_have_a_limit_whatever_the_pieces(parts: list[CallPart], chunks: str) -> None:
    """A call beyond it is not delivered, even if whole; those before it may be."""
    calls = HeldCalls(OFFERED)
    given = [tuple(parts)] if chunks == "one" else [(part,) for part in parts]
    with pytest.raises(InvalidToolCall, match="do not end"):
        add(calls, *given)
    complete = calls.complete_calls()
    assert not complete.relayable
    assert [call.id for call in complete.unchecked()] == ["a"]


def test_the_number_of_calls_has_a_limit() -> None:
    """A model that keeps calling is stopped, and calls beyond the limit are not relayed."""
    calls = HeldCalls(OFFERED)
    parts = [(named(n, f"call_{n}", f'{{"n":{n}}}'),) for n in range(1000)]
    with pytest.raises(InvalidToolCall):
        add(calls, *parts)
    complete = calls.complete_calls()
    assert not complete.relayable
    assert len(complete.unchecked()) == CALLS_LIMIT


@pytest.mark.parametrize(
    ("part", "changed", "coerced"),
    [
        (named(0, "a", '{"n":1}'), False, 0),
        (named(0, "a", '{"n":"1"}'), True, 1),
        (named(0, None, '{"n":1}'), True, 0),
        (CallPart(0, "a", "move", '{"n":1}', nonstandard=True), True, 0),
    ],
    ids=["valid", "coerced", "no id", "nonstandard"],
)
def test_a_judgement_says_what_had_to_change(part: CallPart, changed: bool, coerced: int) -> None:
    """A new id or another form changes the bytes, but only a coercion changes the call."""
    judgement = held(part).judge("")
    (call,) = judgement.calls
    assert (call.name, call.arguments) == ("move", '{"n":1}')
    assert call.id == "a" or call.id.startswith("call_")
    assert (judgement.changed, judgement.coerced, judgement.problems) == (changed, coerced, [])


def test_a_judgement_explains_each_invalid_call() -> None:
    """The valid ones are delivered."""
    judgement = held(named(0, "a", '{"n":"x"}'), named(1, "b", '{"n":2}')).judge("")
    assert [call.id for call in judgement.calls] == ["b"]
    (problem,) = judgement.problems
    assert problem.startswith("The call of 'move' is not valid")


SAME = '{"n":1}'


@pytest.mark.parametrize(
    "parts",
    [
        [named(0, "a", SAME), named(1, "a", SAME)],
        [named(0, "a", SAME), named(1, "b", ' {"n": 1}')],
        [named(0, "a", SAME), named(1, None, SAME)],
        [named(0, "a", SAME), named(0, "a", SAME)],
        [named(0, "a", SAME), more(0, ""), named(0, "a", SAME)],
        [named(-1, "a", SAME), named(-1, "a", SAME)],
        [named(0, "a", SAME), named(1, "b", '{"n":"1"}')],
        [named(0, "a", '{"n":"1"}'), named(1, "b", "{'n': 1}")],
    ],
    ids=["one id", "new id", "no id", "one index", "a pause", "no index", "coerced", "misspelt"],
)
def test_a_repeated_call_counts_once(parts: list[CallPart]) -> None:
    """Ids, indices and spelling may differ: a client that gets both carries out both."""
    calls = held(*parts)
    judgement = calls.judge("")
    assert judgement.calls == [Call("a", "move", SAME)]
    assert judgement.changed
    assert (judgement.problems, judgement.coerced <= 1) == ([], True)


def test_an_unchecked_repeated_call_counts_once() -> None:
    """This includes invalid calls; another tool or other arguments make another call."""
    bad = '{"n":"x"}'
    other = CallPart(3, "d", "stay", bad)
    calls = held(named(0, "a", bad), named(1, "b", bad), named(2, "c", SAME), other)
    assert [call.id for call in calls.unchecked()] == ["a", "c", "d"]
    judgement = calls.judge("")
    assert (len(judgement.problems), judgement.changed) == (2, True)


@pytest.mark.parametrize("index", [-1, 0, 1])
def test_different_calls_under_one_id_get_different_ids(index: int) -> None:
    """Their results could not be told apart otherwise; the first keeps the model's id."""
    calls = held(named(0, "a", SAME), named(index, "a", '{"n":2}'))
    for made in (calls.judge("").calls, calls.unchecked()):
        first, second = made
        assert first == Call("a", "move", SAME)
        assert (second.arguments, second.id[:5]) == ('{"n":2}', "call_")
    assert calls.judge("").changed


def test_text_that_only_looks_like_a_call_is_never_delivered() -> None:
    """The model is told the problem, and other calls stay."""
    calls = held(
        named(-1, None, SAME),
        CallPart(-1, None, "", "", alone=True, problem="It cannot be read."),
        CallPart(-1, None, "move", '{"n":2}', alone=True, problem="It is only text."),
    )
    judgement = calls.judge("")
    assert judgement.problems == ["It cannot be read.", "It is only text."]
    for made in (judgement.calls, calls.unchecked()):
        assert [(call.name, call.arguments) for call in made] == [("move", SAME)]


def test_merged_calls_repeat_neither_call_nor_id() -> None:
    """A call that the model repeats counts once, and an id that is taken is replaced."""
    kept = [Call("a", "move", '{"n":1}')]
    again, other = Call("b", "move", '{"n":1}'), Call("a", "move", '{"n":2}')
    first, second = merge_calls(kept, [again, other])
    assert first == kept[0]
    assert (second.name, second.arguments) == ("move", '{"n":2}')
    assert second.id not in {"a", "b"}
