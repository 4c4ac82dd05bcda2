"""Arguments that a model wrapped again, and objects that only look wrapped."""

from __future__ import annotations

from typing import Any

import pytest

from completions.tools.wrapped_arguments import unwrapped

INNER = {"people": 4, "when": "19:00"}
DESCRIBED: dict[str, Any] = {"people": {"type": "integer"}, "when": {"type": "string"}}


@pytest.mark.parametrize(
    "arguments",
    [
        {"arguments": INNER},
        {"parameters": INNER},
        {"input": INNER},
        {"args": INNER},
        {"properties": INNER},
        {"book_table": INNER},
        {"arguments": '{"people": 4, "when": "19:00"}'},
        {"name": "book_table", "arguments": INNER},
        {"name": "Book-Table", "parameters": INNER, "type": "function", "id": "call_1"},
        {"type": "function", "function": {"name": "book_table", "arguments": INNER}},
        {"function": "book_table", "arguments": {"input": INNER}},
    ],
    ids=str,
)
def test_wrapped_arguments_are_found(arguments: dict[str, Any]) -> None:
    """Models wrap them under several names, beside the tool's name, or in several layers."""
    assert unwrapped(arguments, "book_table", DESCRIBED) == INNER


@pytest.mark.parametrize(
    ("arguments", "properties"),
    [
        (INNER, DESCRIBED),
        ({}, DESCRIBED),
        ({"arguments": INNER}, {"arguments": {}}),
        ({"arguments": INNER, "name": "book_table"}, {"name": {}}),
        ({"arguments": INNER, "people": 4}, DESCRIBED),
        ({"arguments": INNER, "input": INNER}, DESCRIBED),
        ({"arguments": INNER, "name": "cancel"}, DESCRIBED),
        ({"arguments": INNER, "note": "x"}, DESCRIBED),
        ({"arguments": [INNER]}, DESCRIBED),
        ({"arguments": "four"}, DESCRIBED),
        ({"table": INNER}, DESCRIBED),
    ],
    ids=str,
)
def test_objects_that_only_look_wrapped_stay(
    arguments: dict[str, Any], properties: dict[str, Any]
) -> None:
    """A property of that name, other keys beside it, or another tool's name leave it unclear."""
    assert unwrapped(arguments, "book_table", properties) is arguments


def test_layers_have_a_limit() -> None:
    """No model means a hundred."""
    arguments: dict[str, Any] = INNER
    for _ in range(100):
        arguments = {"arguments": arguments}
    assert unwrapped(arguments, "book_table", DESCRIBED) != INNER
