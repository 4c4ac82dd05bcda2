"""Reads the input items and tools of a Responses request, in any of the shapes clients send.

Shapes: platform.openai.com/docs/api-reference/responses/create, `input` and `tools`; nested tools
are those of Chat Completions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from completions.dialects.responses.ids import is_buffer_words
from completions.errors import InvalidRequest


def input_items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the input as typed items, without our own buffer words, whole or by their ids.

    Anything that is not an object is left for `check_items` to refuse.
    """
    given = body.get("input") or []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return [
        _with_type(item) if isinstance(item, dict) else item
        for item in given
        if not (isinstance(item, dict) and is_buffer_words(item.get("id")))
    ]


def _with_type(item: dict[str, Any]) -> dict[str, Any]:
    """Return the item with its type, which is optional in OpenAI's API but not in other servers."""
    if item.get("type") is not None:
        return item
    reference = "id" in item and "role" not in item and "content" not in item
    return {**item, "type": "item_reference" if reference else "message"}


def check_items(items: Iterable[Any]) -> None:
    """Check the fields that this package reads.

    Raises:
        InvalidRequest: A field cannot be understood; the error names the first one.
    """
    for position, item in enumerate(items):
        where = f"input[{position}]"
        if not isinstance(item, dict):
            raise InvalidRequest(f"'{where}' must be an object.", param=where)
        match item["type"]:
            case "message":
                _check_string(item, "role", where)
                _check_content(item.get("content"), f"{where}.content")
            case "function_call":
                _check_string(item, "name", where)
                _check_string(item, "call_id", where)
            case "function_call_output":
                _check_string(item, "call_id", where)
                if isinstance(item.get("output"), list):
                    _check_content(item["output"], f"{where}.output")
            case str():
                pass  # A type for the upstream to judge.
            case _:
                _check_string(item, "type", where)


def _check_string(item: Mapping[str, Any], name: str, where: str) -> None:
    if not isinstance(item.get(name), str) or not item[name]:
        raise InvalidRequest(f"'{where}.{name}' must be a string.", param=f"{where}.{name}")


def _check_content(content: Any, where: str) -> None:
    if not isinstance(content, str | list | None):
        raise InvalidRequest(f"'{where}' must be a string, a list of parts or null.", param=where)
    for position, part in enumerate(content if isinstance(content, list) else ()):
        name = f"{where}[{position}]"
        if not isinstance(part, dict):
            raise InvalidRequest(f"'{name}' must be an object with a 'type'.", param=name)
        if not isinstance(part.get("text"), str | None):
            raise InvalidRequest(f"'{name}.text' must be a string.", param=f"{name}.text")


def message_text(item: Mapping[str, Any]) -> str:
    """Return the text of a message; empty for other items."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) and item.get("type") == "message" else ()
    return "".join(part.get("text") or "" for part in parts)


def flat_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool, or a tool choice, in the flat form of the Responses API."""
    flat = {name: value for name, value in tool.items() if name != "function" and value is not None}
    nested = tool.get("function")
    flat.setdefault("type", "function")
    return {**flat, **nested} if isinstance(nested, dict) else flat
