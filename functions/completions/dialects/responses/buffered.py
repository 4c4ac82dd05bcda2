"""Writes one buffered Responses answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from completions.dialects.deltas import Call
from completions.dialects.request import ParsedRequest
from completions.dialects.responses.ids import new_id
from completions.dialects.responses.output import (
    OUTPUT_TEXT,
    REASONING_TEXT,
    OutputItem,
    finished_response,
    new_call,
    new_message,
    new_reasoning,
    new_response,
)
from completions.dialects.responses.required_fields import REQUIRED_FIELDS
from completions.dialects.split_characters import read_json
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
    """Return one response: the upstream's (`sse`) with text and calls replaced, or a made-up one.

    `usage` counts the tokens, in either API's shape.
    """
    received = read_json(sse.data) if sse else {}
    received = received if isinstance(received, dict) else {}
    response, received_items = new_response(request), received.get("output")
    if isinstance(received_items, list):
        lacking = {name for name in REQUIRED_FIELDS if received.get(name) is None}
        response |= {name: one for name, one in received.items() if name not in lacking}
    output = [item for item in received_items or () if isinstance(item, dict)]
    items = [
        {"id": new_id("reasoning"), "summary": [], **item}
        if item.get("type") == "reasoning"
        else item
        for item in output
        if item.get("type") not in {"message", "function_call"}
    ]
    if reasoning and not any(item.get("type") == "reasoning" for item in items):
        reasoning_item = OutputItem(new_reasoning())
        reasoning_item.add_part(REASONING_TEXT).pieces.append(reasoning)
        items.insert(0, reasoning_item.as_json("completed"))
    items += _message([item for item in output if item.get("type") == "message"], text)
    for call in calls:
        same_call = (item for item in output if item.get("call_id") == call.id)
        item = {**new_call(call), **next(same_call, {}), "name": call.name}
        items.append({**item, "arguments": call.arguments, "status": "completed"})
    return to_json(finished_response(response, finish, items, usage))


def _message(received: Sequence[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return the answer's message, if it has one; the upstream's refusals stay refusals."""
    parts = [
        part for item in received for part in item.get("content") or () if isinstance(part, dict)
    ]
    content = [part for part in parts if part.get("type") == "refusal"]
    if text and text not in {part.get("refusal") for part in content}:
        message = OutputItem(new_message())
        message.add_part(OUTPUT_TEXT).pieces.append(text)
        content = message.as_json("completed", {"content": parts})["content"] + content
    if not content:
        return []
    head = received[0] if received else {}
    return [{**new_message(), **head, "status": "completed", "content": content}]
