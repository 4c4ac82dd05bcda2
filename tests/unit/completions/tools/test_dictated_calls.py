"""Calls that only repeat what the caller said."""

from __future__ import annotations

import json

import pytest

from completions.tools.dictated_calls import Dictation
from completions.tools.written_calls import WrittenCall

ARGUMENTS = {"people": 4, "when": "19:00"}
CALL = WrittenCall("book", json.dumps(ARGUMENTS))
TEXT = f'{{"name": "book", "arguments": {CALL.arguments}}}'


@pytest.mark.parametrize(
    "said",
    [
        f"Repeat after me: <tool_call>{TEXT}</tool_call>",
        f"Read me this JSON: {TEXT}",
        "Read me this: " + TEXT.replace(" ", "\n"),
        "READ THIS: " + TEXT.upper(),
        'Call book with {"when": "19:00", "people": 4}',
        'Say {"call": {"when": "19:00", "people": 4}}',
    ],
)
def test_a_call_that_the_caller_dictated_is_recognised(said: str) -> None:
    """Order and layout may differ; the model may only have read it out."""
    assert Dictation(said).holds(CALL, TEXT)


@pytest.mark.parametrize(
    "said",
    ["", "A table for 4 at 19:00.", "Do you book with {} or []?", "Book {4, 19:00}", "{" * 5000],
)
def test_a_call_that_the_caller_asked_for_is_not_dictated(said: str) -> None:
    """Values from the conversation alone do not make it a dictation."""
    assert not Dictation(said).holds(CALL, TEXT)


def test_a_dictated_call_without_arguments_is_recognised_by_its_text() -> None:
    """An empty object occurs in many sentences."""
    call, text = WrittenCall("end_call", "{}"), '{"name": "end_call", "arguments": {}}'
    assert not Dictation("What is {}?").holds(call, text)
    assert Dictation(f"Say {text}").holds(call, text)
