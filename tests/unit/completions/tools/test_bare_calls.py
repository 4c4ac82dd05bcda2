"""Answers that consist of a call of an offered tool, without marks."""

from __future__ import annotations

import pytest

from completions.tools.bare_calls import bare_call, may_be_bare

OFFERED = {"book_table", "end_call"}
BARE = [
    '{"name": "book_table", "parameters": {"people": 4}}',
    '  {\n "name" : "book_table",\n "arguments": {"people": 4}}\n',
    '[{"name": "book_table", "arguments": {}}]',
    '{"type": "function", "name": "book_table", "parameters": {}}',
    '{"type": "function", "function": {"name": "book_table", "arguments": "{}"}}',
    '{"function": "book_table", "arguments": {}}',
    '{"tool_calls": [{"name": "book_table"}]}',
    '{"arguments": {"people": 4}, "name": "book_table"}',
    '```json\n{"name": "book_table", "arguments": {}}\n```',
    '```\n{"name": "book_table", "arguments": {}}\n```',
    '{"name": "functions.book_table", "arguments": {}}',
    '{"name": "book_table", "parameters": {"people": 4}',
    'functools[{"name": "book_table", "arguments": {}}]',
    'book_table({"people": 4})',
    "book_table(people=4)",
    "[book_table(people=4), end_call()]",
    "print(default_api.book_table(people=4))",
    "functions.book_table(people=4)",
]
WORDS = [
    "Say {name} first.",
    "[1] or [2]?",
    "[laughs] Yes.",
    '{"open": "until six"}',
    '{"names": ["Bo"]}',
    '{"name": "Bo", "people": 4',
    "```python\nx = 1\n```",
    "book a table (for four)",
    "books are here",
    "functools is a module.",
    "print it (twice)",
    "Yes.",
]


@pytest.mark.parametrize("text", BARE)
def test_a_call_that_is_the_whole_answer_is_recognised(text: str) -> None:
    """Each beginning of it may be one, so it is held back."""
    for end in range(1, len(text) + 1):
        assert may_be_bare(text[:end], OFFERED)
    call = bare_call(text, OFFERED)
    assert call is not None
    assert call.name.split(".")[-1] == "book_table"


@pytest.mark.parametrize("text", WORDS)
def test_words_are_not_held_back(text: str) -> None:
    """The second word at the latest shows that they are words."""
    assert not may_be_bare(text, OFFERED)
    assert bare_call(text, OFFERED) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "cancel_everything", "arguments": {}}',
        '{"name": "book_table", "arguments": {}} I have booked it.',
        "book_table(people=4) is done.",
        "book_table(",
        '{"name": "Bo"}',
    ],
)
def test_other_answers_of_that_form_are_spoken(text: str) -> None:
    """Calls of tools that are not offered, and calls followed by words, are not calls."""
    assert bare_call(text, OFFERED) is None
