"""Tool schemas without what some APIs refuse."""

from __future__ import annotations

from typing import Any

from completions.quirks.tool_schemas import with_enums_of_text, without_keyword

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "default": {"type": "string", "default": "x", "enum": ["x", "y"]},
        "many": {"type": "array", "items": {"type": "integer", "enum": [2, 4], "default": {}}},
        "any": {"anyOf": [{"enum": ["a", 1], "description": "Which?"}]},
    },
}


def test_a_keyword_is_removed_at_any_depth() -> None:
    """A property of the same name stays."""
    schema = without_keyword(SCHEMA, "default")
    assert schema["properties"]["default"] == {"type": "string", "enum": ["x", "y"]}
    assert schema["properties"]["many"]["items"] == {"type": "integer", "enum": [2, 4]}
    assert without_keyword(SCHEMA, "additionalProperties").keys() == {"type", "properties"}


def test_an_enum_of_other_types_moves_into_the_description() -> None:
    """This holds for both dialects; an enum of strings stays, and nothing else changes."""
    nested = {"tools": [{"type": "function", "function": {"name": "t", "parameters": SCHEMA}}]}
    flat = {"tools": [{"type": "function", "name": "t", "parameters": SCHEMA}]}
    before = repr(nested)
    (one,) = with_enums_of_text(nested)["tools"]
    (other,) = with_enums_of_text(flat)["tools"]
    assert one["function"]["parameters"] == other["parameters"]
    told = other["parameters"]["properties"]
    assert told["default"] == SCHEMA["properties"]["default"]
    assert told["many"]["items"]["description"] == "One of: 2, 4."
    assert told["any"] == {"anyOf": [{"description": "Which? One of: a, 1."}]}
    assert repr(nested) == before


def test_tools_without_such_an_enum_are_left_alone() -> None:
    """The same object is returned, so it does not count as repaired."""
    for tools in ([], ["x"], [{"type": "web_search"}], [{"function": {"name": "t"}}], None):
        body = {"tools": tools}
        assert with_enums_of_text(body) is body
