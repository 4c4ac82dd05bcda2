"""Writes one buffered chat completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from completions.dialects.chat.writer import ChatWriter, with_extra
from completions.dialects.deltas import Call
from completions.dialects.request import ParsedRequest
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
    """Return one completion: the upstream's with its text and calls replaced, or a made-up one."""
    answer = dict(read_json(sse.data)) if sse else {}
    own = ChatWriter(request).identity
    kept = {name: answer[name] for name in own if type(answer.get(name)) is type(own[name])}
    answer = {**answer, **own, **kept, "object": "chat.completion"}
    choices = answer.get("choices") or [{}]
    choice = next((one for one in choices if one.get("index") == 0), choices[0])
    message = dict(choice.get("message") or {}, role="assistant", content=text or None)
    message.pop("reasoning", None)
    received = message.pop("tool_calls", None) or ()
    message.pop("function_call", None)
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = [_call(call, received) for call in calls]
    answer["choices"] = [dict(choice, index=0, message=message, finish_reason=finish)]
    if usage:
        answer.setdefault("usage", usage)
    return to_json(answer)


def _call(call: Call, received: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a call with the upstream's own additions, such as Gemini's signature."""
    same = next((one for one in received if one.get("id") == call.id), {})
    function = {"name": call.name, "arguments": call.arguments}
    own = {"id": call.id, "type": "function", "function": function, **with_extra(call)}
    return {**same, **own}
