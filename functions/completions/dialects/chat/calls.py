"""Reads the tool calls in a delta or message, in the shapes that servers use.

Shapes: platform.openai.com/docs/api-reference/chat-streaming; servers leave out the index or the
id, number calls by text and send arguments as objects. `tools.held_calls` decides which parts make
one call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from completions.dialects.deltas import CallPart, Delta, arguments_text

_INDEX = re.compile(r"[0-9]{1,3}")


def read_calls(parts: Any, deltas: list[Delta], *, in_stream: bool) -> bool:
    """Add the parts of calls that say something.

    Returns True if one says nothing, or if they are not a list, which strict clients require.
    """
    odd = isinstance(parts, dict)
    for position, part in enumerate([parts] if odd else parts):
        # In a message a call's place is its number; in a stream the place means nothing.
        read = _call_part(part, -1 if in_stream else position)
        if read.id or read.name or read.arguments or read.extra_content:
            deltas.append(read)
        else:
            odd = True
    return odd


def _call_part(part: Mapping[str, Any], unnumbered: int) -> CallPart:
    function, index, call_id = part.get("function"), part.get("index"), part.get("id")
    nonstandard = "type" in part and not part["type"]
    if not function:
        # Name and arguments beside the id, as the Responses API has them, or neither. OpenAI's
        # SDK stops at a part without a function, and at a type of null.
        function, nonstandard = part, True
    name, arguments = function.get("name"), function.get("arguments")
    if type(arguments) is not str:
        nonstandard |= arguments is not None
        arguments = arguments_text(arguments)
    if type(index) is not int or index < 0:
        nonstandard |= isinstance(index, str)
        index = int(index) if isinstance(index, str) and _INDEX.fullmatch(index) else unnumbered
    if (call_id and type(call_id) is not str) or call_id == 0:
        call_id, nonstandard = str(call_id) if isinstance(call_id, int | float) else "", True
    if name and type(name) is not str:
        name = ""
    extra = part.get("extra_content")
    if extra and type(extra) is not dict:
        extra = None
    return CallPart(index, call_id or None, name or None, arguments, nonstandard, extra or None)
