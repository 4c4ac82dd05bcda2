"""Reads what a delta or message says of tool calls, in the shapes that servers give it.

Shapes: platform.openai.com/docs/api-reference/chat-streaming; servers leave out the index or the
id, number calls by text and send arguments as objects. Which parts make one call is for
`tools.held_calls` to decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from completions.dialects.deltas import CallPart, Delta


def read_calls(parts: Any, deltas: list[Delta], *, in_stream: bool) -> bool:
    """Add the parts of calls that say something; return True if one says nothing."""
    odd = False
    for position, part in enumerate([parts] if isinstance(parts, dict) else parts):
        # In a message a call is numbered by its place; in a stream the place means nothing.
        read = _call_part(part, -1 if in_stream else position)
        if read.id or read.name or read.arguments or read.extra_content:
            deltas.append(read)
        else:
            odd = True
    return odd


def _call_part(part: Mapping[str, Any], unnumbered: int) -> CallPart:
    function, index, call_id = part.get("function"), part.get("index"), part.get("id")
    nonstandard = False
    if not function:
        # Name and arguments beside the id, as the Responses API has them; mostly neither.
        function, nonstandard = part, "name" in part or "arguments" in part
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(arguments, str):
        nonstandard |= arguments is not None
        arguments = "" if arguments is None else to_json(arguments).decode()
    if type(index) is not int or index < 0:
        digits = isinstance(index, str) and index.isascii() and index.isdecimal()
        index = int(index) if digits and len(index) < 4 else unnumbered  # type: ignore[arg-type]
        nonstandard |= digits
    if not isinstance(call_id, str | None):
        # Zero is an id, too.
        call_id, nonstandard = _as_text(call_id), True
    extra = part.get("extra_content")
    return CallPart(
        index,
        call_id or None,
        name if isinstance(name, str) and name else None,
        arguments,
        nonstandard,
        extra if isinstance(extra, dict) and extra else None,
    )


def _as_text(number: Any) -> str:
    return str(number) if isinstance(number, int | float) else ""
