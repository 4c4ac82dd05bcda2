"""Tool calls in deltas and messages, in the shapes that servers give them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.dialects.chat.calls import read_calls
from completions.dialects.deltas import CallPart, Delta

SIGNED = {"google": {"thought_signature": "Ab"}}


def read(parts: Any, *, in_stream: bool = True) -> tuple[list[Delta], bool]:
    """Read these parts; return the deltas, and whether a part must be rewritten."""
    deltas: list[Delta] = []
    return deltas, read_calls(parts, deltas, in_stream=in_stream)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"index": 0, "id": "c", "function": {"name": "f"}}, CallPart(0, "c", "f", "")),
        ({"index": 0, "id": "c", "function": {"name": 7}}, CallPart(0, "c", None, "")),
        (
            {"index": 0, "id": 7, "function": {"name": "f"}},
            CallPart(0, "7", "f", "", nonstandard=True),
        ),
        (
            {"index": 0, "id": 0, "function": {"name": "f"}},
            CallPart(0, "0", "f", "", nonstandard=True),
        ),
        (
            {"index": 0, "id": ["c"], "function": {"name": "f"}},
            CallPart(0, None, "f", "", nonstandard=True),
        ),
        ({"index": "1", "id": "c"}, CallPart(1, "c", None, "", nonstandard=True)),
        ({"index": -3, "id": "c", "function": {"name": "f"}}, CallPart(-1, "c", "f", "")),
        ({"index": None, "id": "c", "function": {"name": "f"}}, CallPart(-1, "c", "f", "")),
        (
            {"index": 0, "function": {"arguments": {"a": 1}}},
            CallPart(0, None, None, '{"a":1}', nonstandard=True),
        ),
        (
            {"index": 0, "id": "c", "name": "f", "arguments": "{}"},
            CallPart(0, "c", "f", "{}", nonstandard=True),
        ),
        ({"index": 0, "extra_content": SIGNED}, CallPart(0, None, None, "", True, SIGNED)),
        (
            {"index": 0, "function": {"arguments": "{}"}, "extra_content": {}},
            CallPart(0, None, None, "{}"),
        ),
        (
            {"index": 0, "type": None, "function": {"arguments": "{}"}},
            CallPart(0, None, None, "{}", nonstandard=True),
        ),
    ],
)
def test_a_part_is_read(part: Any, expected: CallPart) -> None:
    """Any types are read, and parts that a client would misread are marked."""
    assert read([part]) == ([expected], False)


@pytest.mark.parametrize(
    "part", [{}, {"index": 0}, {"index": 0, "id": "", "function": {"name": None, "arguments": ""}}]
)
def test_an_empty_part_is_skipped(part: Any) -> None:
    """It must not begin a call that never comes."""
    assert read([part]) == ([], True)


def test_calls_of_a_whole_message_are_numbered_by_position() -> None:
    """In a stream the position means nothing."""
    parts = [{"id": "a"}, {"id": "b"}]
    expected = [CallPart(0, "a", None, "", True), CallPart(1, "b", None, "", True)]
    assert read(parts, in_stream=False) == (expected, False)
    assert [delta.index for delta in read(parts)[0] if isinstance(delta, CallPart)] == [-1, -1]


def test_a_call_outside_a_list_is_read() -> None:
    """It is rewritten into a list, because clients iterate over one."""
    assert read({"index": 0, "id": "c"}) == ([CallPart(0, "c", None, "", True)], True)


VALUES: st.SearchStrategy[Any] = (
    st.none() | st.text(max_size=3) | st.integers() | st.floats() | st.just({}) | st.just([])
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "index": VALUES,
            "id": VALUES,
            "extra_content": VALUES,
            "function": st.fixed_dictionaries({}, optional={"name": VALUES, "arguments": VALUES}),
        },
    )
)
def test_no_part_raises(part: dict[str, Any]) -> None:
    """Whatever its fields hold, a part becomes a delta or is skipped."""
    deltas, nothing = read([part])
    assert bool(deltas) is not nothing
