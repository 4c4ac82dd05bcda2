"""Writes one buffered chat completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from completions.dialects.chat.writer import ChatWriter
from completions.dialects.deltas import Call
from completions.dialects.request import ParsedRequest
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
    """Return one completion: the upstream's with its text and calls replaced, or one made up."""
    own = ChatWriter(request).identity | {"object": "chat.completion"}
    answer = dict(from_json(sse.data)) if sse else own
    choices = answer.get("choices") or [{"index": 0}]
    message = dict(choices[0].get("message") or {}, role="assistant", content=text or None)
    message.pop("reasoning", None)
    message.pop("tool_calls", None)
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
    answer["choices"] = [dict(choices[0], message=message, finish_reason=finish)]
    if usage:
        answer.setdefault("usage", usage)
    return to_json(answer)
