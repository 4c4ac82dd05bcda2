"""Finds and removes keywords in the JSON Schemas of tools as they go up.

Knows schemas within requests of either dialect, not what is checked against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_OF_NAMES = frozenset({"properties", "$defs", "definitions", "patternProperties"})
"""Objects whose keys are names, not keywords."""
_OF_VALUES = frozenset({"default", "enum", "const", "examples"})
"""Keywords that hold values, not schemas."""


def schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas within it."""
    if isinstance(schema, list):
        for one in schema:
            yield from schemas_in(one)
    elif isinstance(schema, dict):
        yield schema
        for name, value in schema.items():
            if name in _OF_NAMES and isinstance(value, dict):
                yield from schemas_in(list(value.values()))
            elif name not in _OF_VALUES:
                yield from schemas_in(value)


def changed(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return the schema with `change` applied to it and to all schemas within it."""
    if isinstance(schema, list):
        return [changed(one, change) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _OF_NAMES and isinstance(value, dict):
            inner[name] = {key: changed(one, change) for key, one in value.items()}
        else:
            inner[name] = value if name in _OF_VALUES else changed(value, change)
    return change(inner)


def without_keyword(schema: Any, keyword: str) -> Any:
    """Return the schema without a keyword, wherever it appears."""
    return changed(
        schema, lambda one: {name: value for name, value in one.items() if name != keyword}
    )


def with_enums_of_text(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request whose tools have only enums of strings; describe others in words.

    Gemini's schema has no other enums (ai.google.dev/api/caching, Schema).
    """
    tools = body.get("tools")
    if not isinstance(tools, list):
        return body
    described = [_with_described_enums(tool) for tool in tools]
    return body if described == tools else {**body, "tools": described}


def _with_described_enums(tool: Any) -> Any:
    if not isinstance(tool, dict):
        return tool
    if isinstance(tool.get("function"), dict):
        return {**tool, "function": _with_described_enums(tool["function"])}
    if "parameters" not in tool:
        return tool
    return {**tool, "parameters": changed(tool["parameters"], _with_described_enum)}


def _with_described_enum(schema: dict[str, Any]) -> dict[str, Any]:
    values = schema.get("enum")
    of_text = schema.get("type", "string") == "string"
    if not isinstance(values, list) or (of_text and all(isinstance(one, str) for one in values)):
        return schema
    kept = {name: value for name, value in schema.items() if name != "enum"}
    words = f"{schema.get('description') or ''} One of: {', '.join(map(str, values))}."
    return {**kept, "description": words.strip()}
