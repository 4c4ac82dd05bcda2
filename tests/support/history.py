"""Conversations as a voice platform keeps them, for either API, and as a model got them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from completions.dialects import chat
from tests.support.ways import Way

Messages = Sequence[Mapping[str, Any]]


def of(way: Way, messages: Messages) -> dict[str, Any]:
    """Return the fields of a request with this history, given as chat messages."""
    if way.dialect is chat:
        return {"messages": list(messages)}
    return {"input": [item for message in messages for item in _items(message)]}


def _items(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        output = {"call_id": message["tool_call_id"], "output": message["content"]}
        return [{"type": "function_call_output", **output}]
    items: list[dict[str, Any]] = []
    if message.get("content"):
        items.append({"role": message["role"], "content": message["content"]})
    items += (
        {"type": "function_call", "call_id": call["id"], **call["function"]}
        for call in message.get("tool_calls") or ()
    )
    return items


def called(name: str, arguments: str, call_id: str = "call_0", content: Any = None) -> Any:
    """Return an assistant's message that calls a tool."""
    function = {"name": name, "arguments": arguments}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


def result(content: str, call_id: str = "call_0") -> dict[str, Any]:
    """Return a call's result, as the platform sends it."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def texts(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return role (or type) and text of each message of an upstream request."""
    messages = body["messages"] if "messages" in body else body["input"]
    return [(one.get("role") or one["type"], _text(one)) for one in messages]


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
