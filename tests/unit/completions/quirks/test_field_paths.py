"""Paths of fields: a request without the field at a path."""

from __future__ import annotations

from typing import Any

import pytest

from completions.quirks.field_paths import fields_without

PROPERTIES = {"default": {"type": "string", "default": "x"}}
FUNCTION = {"name": "t", "strict": True, "parameters": {"properties": PROPERTIES}}
BODY: dict[str, Any] = {
    "model": "m",
    "stream_options": {"include_usage": True},
    "seed": 1,
    "reasoning_effort": "low",
    "reasoning": {"effort": "low", "summary": "auto"},
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u", "name": "bob"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "extra_content": {}}]},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
}


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("seed", None),
        ("stream_options.include_usage", None),
        ("reasoning_effort=low", None),
        ("reasoning.effort=low", {"summary": "auto"}),
        ("reasoning.effort=high", {"effort": "low", "summary": "auto"}),
        ("reasoning_effort=high", "low"),
        ("messages[tool].name", BODY["messages"]),
        ("nothing.of.this", None),
        ("seed.x", 1),
    ],
)
def test_the_field_at_a_path_is_left_out(path: str, kept: Any) -> None:
    """Nothing else changes, and the given request stays the same."""
    before = repr(BODY)
    body = fields_without(BODY, [path])
    top = path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0].split("=", maxsplit=1)[0]
    assert body.get(top) == kept
    assert {**BODY, top: body.get(top)} == {**body, top: body.get(top)}
    assert repr(BODY) == before


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("tools[].function.strict", "'strict': True, "),
        ("messages[user].name", ", 'name': 'bob'"),
        ("messages[].name", ", 'name': 'bob'"),
        ("messages[].tool_calls[].extra_content", ", 'extra_content': {}"),
    ],
)
def test_a_field_in_a_list_is_left_out_of_each_item(path: str, gone: str) -> None:
    """The rest of the items is unchanged."""
    assert repr(fields_without(BODY, [path])) == repr(BODY).replace(gone, "")


def test_a_keyword_is_left_out_of_every_schema() -> None:
    """A property of the same name is kept."""
    (tool,) = fields_without(BODY, ["tools[].function.parameters.**.default"])["tools"]
    assert tool["function"]["parameters"]["properties"] == {"default": {"type": "string"}}
