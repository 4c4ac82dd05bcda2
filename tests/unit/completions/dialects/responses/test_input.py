"""Items and tools of a Responses request, in every shape that clients send."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.responses.input import flat_tool, input_items, message_text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        ("", []),
        ("Hi", [{"type": "message", "role": "user", "content": "Hi"}]),
        ([{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Hi"}]),
        ([{"id": "msg_1"}], [{"id": "msg_1", "type": "item_reference"}]),
        ([{"type": "x", "id": "1"}], [{"type": "x", "id": "1"}]),
        (["Hi"], ["Hi"]),
    ],
    ids=repr,
)
def test_every_input_becomes_typed_items(given: Any, expected: list[Any]) -> None:
    """A string is a user's message, and a bare id refers to a stored item."""
    assert input_items({"input": given}) == [
        {"type": "message", **item} if isinstance(item, dict) else item for item in expected
    ]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"type": "message", "content": "Hi"}, "Hi"),
        ({"type": "message", "content": [{"text": "H"}, {"image_url": "u"}, {"text": "i"}]}, "Hi"),
        ({"type": "message", "content": None}, ""),
        ({"type": "reasoning", "content": [{"text": "Hm."}]}, ""),
    ],
    ids=repr,
)
def test_the_text_of_a_message_is_joined(item: dict[str, Any], text: str) -> None:
    """Parts without text and items other than messages add nothing."""
    assert message_text(item) == text


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "f", "strict": None},
        {"name": "f"},
        {"type": "function", "function": {"name": "f"}},
    ],
    ids=repr,
)
def test_a_tool_is_flattened(tool: dict[str, Any]) -> None:
    """Both APIs' shapes become this one, without nulls."""
    assert flat_tool(tool) == {"type": "function", "name": "f"}
