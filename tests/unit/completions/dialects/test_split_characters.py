"""Characters cut in two, by UTF-16 units or by bytes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from completions.dialects.deltas import CallPart, Delta, Done, Finish, Reasoning, Text
from completions.dialects.split_characters import (
    Halves,
    read_json,
    read_json_with_halves,
    whole_characters,
)


def joined(*pieces: str) -> str:
    """Return the text of an answer that came in these pieces."""
    halves = Halves()
    deltas = [delta for piece in pieces for delta in halves.join([Text(piece)])]
    deltas += halves.join([Finish("stop")])
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


@given(st.text(max_size=12), st.lists(st.integers(0, 24), max_size=4))
def test_text_cut_by_units_is_joined(text: str, cuts: list[int]) -> None:
    """Nothing is lost, wherever the cut is."""
    units = text.encode("utf-16-le")
    places = sorted({2 * cut for cut in cuts if 2 * cut < len(units)} | {0, len(units)})
    pieces = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in pairwise(places)]
    assert joined(*pieces) == text


@given(st.text(max_size=12), st.lists(st.integers(0, 48), max_size=4))
def test_text_cut_by_bytes_is_joined(text: str, cuts: list[int]) -> None:
    """Bytes that are no UTF-8 are kept until the rest arrives."""
    data = text.encode()
    places = sorted({cut for cut in cuts if cut < len(data)} | {0, len(data)})
    pieces = [data[a:b].decode(errors="surrogateescape") for a, b in pairwise(places)]
    assert joined(*pieces) == text


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["six\ud83d."], "six\ufffd."),
        (["six\ud83d", "."], "six\ufffd."),
        (["six\ud83d"], "six\ufffd"),
        (["\ude00 six"], "\ufffd six"),
        (["six\udcf0\udc9f", "."], "six\ufffd."),
    ],
)
def test_half_a_character_without_the_other_is_replaced(pieces: list[str], text: str) -> None:
    """It is replaced once other text follows or the answer ends."""
    assert joined(*pieces) == text


def test_each_text_keeps_its_own_half() -> None:
    """Words, thoughts and each call wait for their own other half."""
    halves = Halves()
    first: list[Delta] = [Text("\ud83d"), Reasoning("\ud83d"), CallPart(1, "c", "f", "\ud83d")]
    assert halves.join(first) == [CallPart(1, "c", "f", "")]
    second: list[Delta] = [CallPart(1, None, None, "\ude00"), Text("\ude01")]
    assert halves.join(second) == [CallPart(1, None, None, "😀"), Text("😁")]
    assert halves.join([Done()]) == [Reasoning("\ufffd"), Done()]


@pytest.mark.parametrize(
    "data",
    [
        rb'{"a\ud83d": "\ud83d\ude00 \ud83d", "content": ["\ude00"]}',
        b'{"a": "\xf0\x9f", "content": "\xc3\xa9\xff"}',
    ],
)
def test_decoded_json_has_whole_characters(data: bytes) -> None:
    """Names and values can be encoded as UTF-8."""
    json.dumps(read_json(data), ensure_ascii=False).encode()


def test_only_texts_keep_halves() -> None:
    """Halves in an id would never be joined."""
    data = rb'{"id": "\ud83d", "delta": {"content": "\ud83d", "tool_calls": [{"name": "\ude00"}]}}'
    value: Any = read_json_with_halves(data)
    assert value["id"] == value["delta"]["tool_calls"][0]["name"] == "\ufffd"
    assert value["delta"]["content"] == "\ud83d"


def test_unescaped_control_characters_are_read() -> None:
    """Some servers do not escape them, and no word may be lost."""
    assert read_json(b'{"content": "Yes,\tuntil\x0b six."}') == {"content": "Yes,\tuntil\x0b six."}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rb'"Hi \ud83d"', "Hi \ufffd"),
        (rb'"\ude00 Hi"', "\ufffd Hi"),
        (rb'"\ud83d\ud83d\ude00\ude00"', "\ufffd😀\ufffd"),
        (rb'"\ud83d\u0041"', "\ufffdA"),
        (rb'"\\ud83d"', r"\ud83d"),
        (rb'"\\\ud83d"', "\\\ufffd"),
        (b'"Hi \xf0\x9f"', "Hi \ufffd"),
    ],
)
def test_halves_in_a_callers_body_are_replaced(data: bytes, text: str) -> None:
    """An escaped backslash before `ud83d` makes it ordinary text."""
    assert from_json(whole_characters(data)) == text


def test_a_body_of_whole_characters_is_not_touched() -> None:
    """This includes a body that is not JSON."""
    for data in (rb'{"a": "\n', '{"a": "😀"}'.encode(), rb'["\ud83d\ude00"]'):
        assert whole_characters(data) == data


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", rb'{"a": "\ud83d', b'{"a": 1}x', b'{"\xff"'),
        *(b"[" * deep + rb'"\ud83d"' + b"]" * deep for deep in (900, 100_000)),
    ],
    ids=range(7),
)
def test_invalid_json_raises(data: bytes) -> None:
    """Split characters do not change that, and deep nesting does not exhaust the stack."""
    with pytest.raises(ValueError, match="not JSON"):
        read_json(data)
