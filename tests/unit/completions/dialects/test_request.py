"""What all dialects read the same way: field types, and what agents set in the extra body."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.request import (
    ID_LIMIT_CHARS,
    PHRASE_LIMIT_CHARS,
    PHRASES_LIMIT,
    Extra,
    ParsedRequest,
    check_types,
    read_extra,
)
from completions.errors import InvalidRequest

EXTRA = "elevenlabs_extra_body"


@pytest.mark.parametrize(
    ("value", "allowed", "expected"),
    [
        ("x", (int,), "a number"),
        (True, (int,), "a number"),
        (1.5, (int,), "a number"),
        (1, (str, list), "a string or a list"),
        (1, (bool,), "true or false"),
        ([], (dict,), "an object"),
        ("x", (int, float), "a number"),
    ],
)
def test_a_wrong_type_is_refused_by_name(
    value: Any, allowed: tuple[type, ...], expected: str
) -> None:
    """The error names the field and the types that it may have."""
    with pytest.raises(InvalidRequest, match=f"'x' must be {expected}") as caught:
        check_types({"x": value}, {"x": allowed})
    assert caught.value.param == "x"


@pytest.mark.parametrize(
    ("body", "allowed"),
    [({}, (str,)), ({"x": None}, (str,)), ({"x": 1.0}, (int,)), ({"x": True}, (bool,))],
)
def test_absent_null_and_whole_numbers_are_accepted(
    body: dict[str, Any], allowed: tuple[type, ...]
) -> None:
    """In JSON, null is a field that is not set, and 1.0 is 1."""
    check_types(body, {"x": allowed})


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ("x", EXTRA),
        ([], EXTRA),
        (5, EXTRA),
        (True, EXTRA),
        ({"buffer_words": "Hang on"}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": {"a": 1}}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": [1]}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": [None]}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": ["Hang on", " "]}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": ["x"] * (PHRASES_LIMIT + 1)}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": ["x" * (PHRASE_LIMIT_CHARS + 1)]}, f"{EXTRA}.buffer_words"),
        ({"buffer_words_after_ms": "1500"}, f"{EXTRA}.buffer_words_after_ms"),
        ({"buffer_words_after_ms": True}, f"{EXTRA}.buffer_words_after_ms"),
        ({"buffer_words_after_ms": -1}, f"{EXTRA}.buffer_words_after_ms"),
        ({"buffer_words_after_ms": 10**20}, f"{EXTRA}.buffer_words_after_ms"),
        ({"buffer_words_after_ms": [1]}, f"{EXTRA}.buffer_words_after_ms"),
        ({"language": 5}, f"{EXTRA}.language"),
        ({"language": ["de"]}, f"{EXTRA}.language"),
        ({"language": False}, f"{EXTRA}.language"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_wrong_setting_in_the_extra_body_is_refused_by_name(extra: Any, param: str) -> None:
    """The error names the setting with its place in the extra body."""
    with pytest.raises(InvalidRequest, match=f"'{param}' must be") as caught:
        read_extra({EXTRA: extra})
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (None, Extra()),
        ({}, Extra()),
        ({"buffer_words": None, "buffer_words_after_ms": None, "language": None}, Extra()),
        (
            {"buffer_words": [], "buffer_words_after_ms": 0, "language": ""},
            Extra(buffer_words=(), buffer_words_after_ms=0),
        ),
        (
            {"buffer_words": ["Hang on"], "buffer_words_after_ms": 60_000.0, "language": "de"},
            Extra(buffer_words=("Hang on",), buffer_words_after_ms=60_000, language="de"),
        ),
        ({"unknown": {"nested": [1, None]}, "Language": 5, "": 0}, Extra()),
        ({"conversation_id": 5}, Extra(conversation_id="5")),
        ({"system__conversation_id": "conv_1"}, Extra(conversation_id="conv_1")),
        ({"conversation_id": "c" * 65}, Extra(conversation_id="c" * ID_LIMIT_CHARS)),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_settings_in_the_extra_body_are_read(extra: Any, expected: Extra) -> None:
    """Nulls and unknown keys set nothing; `raw` keeps everything for agents."""
    got = read_extra({EXTRA: extra})
    assert got.raw == (extra or {})
    names = ("buffer_words", "buffer_words_after_ms", "language", "conversation_id")
    assert [getattr(got, name) for name in names] == [getattr(expected, name) for name in names]


@pytest.mark.parametrize(("answers", "single"), [(1, True), (2, False)])
def test_a_request_for_one_answer_is_single(answers: int, single: bool) -> None:
    """Only a single answer's tool calls are held back and checked."""
    assert ParsedRequest({}, stream=True, model="m", answers=answers).single is single
