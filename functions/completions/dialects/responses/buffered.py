"""Writes one buffered Responses answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from completions.dialects.deltas import Call
from completions.dialects.request import ParsedRequest
from completions.dialects.responses.output import (
    OUTPUT_TEXT,
    REASONING_TEXT,
    Item,
    ended,
    new_call,
    new_message,
    new_reasoning,
    new_response,
)
from completions.sse import ServerSentEvent


def buffered(
    request: ParsedRequest,
    sse: ServerSentEvent | None,
    *,
    text: str,
    reasoning: str,
    calls: Sequence[Call],
    finish: str,
    usage: Mapping[str, Any] | None = None,
) -> bytes:
    """One buffered response: the upstream's with its words and calls replaced.

    Without a frame it is made up from nothing but `usage`, whichever API counted it.
    """
    theirs = from_json(sse.data) if sse else {}
    theirs = theirs if isinstance(theirs, dict) else {}
    response, old = new_response(request), theirs.get("output")
    if isinstance(old, list):
        response = {**response, **theirs}
    output = [item for item in old or () if isinstance(item, dict)]
    items = [item for item in output if item.get("type") not in {"message", "function_call"}]
    if reasoning and not any(item.get("type") == "reasoning" for item in items):
        thought = Item(new_reasoning())
        thought.add_part(REASONING_TEXT).words.append(reasoning)
        items.insert(0, thought.shown("completed"))
    items += _message([item for item in output if item.get("type") == "message"], text)
    for call in calls:
        olds = (item for item in output if item.get("call_id") == call.id)
        made = {**new_call(call), **next(olds, {}), "name": call.name}
        items.append({**made, "arguments": call.arguments, "status": "completed"})
    return to_json(ended(response, finish, items, usage))


def _message(olds: Sequence[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """The one message of the answer; a refusal in the upstream's stays what it is."""
    parts = [part for old in olds for part in old.get("content") or () if isinstance(part, dict)]
    content = [part for part in parts if part.get("type") == "refusal"]
    if text and text not in {part.get("refusal") for part in content}:
        spoken = Item(new_message())
        spoken.add_part(OUTPUT_TEXT).words.append(text)
        content = spoken.shown("completed", {"content": parts})["content"] + content
    if not content:
        return []
    head = olds[0] if olds else new_message()
    return [{**head, "status": "completed", "content": content}]
