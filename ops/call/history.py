"""What the platform keeps of a call, and the request that it makes of it, in either API.

Entries are chat messages, in the order of events; the Responses API's items are made from them. The
heard part of an answer is kept. Shapes: what ElevenLabs sends (docs and reports, 2026-11). Knows no
time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ops.call.agent import Agent, Tool
from ops.doctor.strict_reader import Call

SILENCE = "..."
"""What the platform writes if the caller says nothing."""


class History:
    """One call's messages."""

    def __init__(self, first_message: str = "") -> None:
        self.messages: list[dict[str, Any]] = []
        if first_message:
            self.messages.append({"role": "assistant", "content": first_message})

    def caller(self, text: str) -> None:
        """Add what the caller said."""
        self.messages.append({"role": "user", "content": text})

    def agent(self, heard: str, calls: Sequence[Call] = ()) -> None:
        """Add the heard part of an answer, and its calls; an empty answer adds nothing."""
        heard = heard.strip()
        if not heard and not calls:
            return
        message: dict[str, Any] = {"role": "assistant", "content": heard or None}
        if calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in calls
            ]
        self.messages.append(message)

    def result(self, call_id: str, content: str) -> None:
        """Add a tool's result at this point of the call."""
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})


def request(agent: Agent, tools: Sequence[Tool], history: History) -> dict[str, Any]:
    """Return the body of the next post."""
    body: dict[str, Any] = {"model": agent.model, "stream": True}
    if agent.api_type == "responses":
        body |= {"instructions": agent.prompt, "input": _items(history.messages)}
        if tools:
            body["tools"] = [{"type": "function", **_function(tool)} for tool in tools]
        limit = "max_output_tokens"
    else:
        system = {"role": "system", "content": agent.prompt}
        body["messages"] = [system, *history.messages]
        if tools:
            body["tools"] = [{"type": "function", "function": _function(tool)} for tool in tools]
        limit = "max_tokens"
    if agent.max_tokens is not None:
        body[limit] = agent.max_tokens
    if agent.temperature is not None:
        body["temperature"] = agent.temperature
    if agent.user_id:
        body["user_id"] = agent.user_id
    if agent.extra_body is not None:
        body["elevenlabs_extra_body"] = dict(agent.extra_body)
    return body


def _function(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }


def _items(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for message in messages:
        role, text = message["role"], message["content"]
        if role == "tool":
            call_id = message["tool_call_id"]
            items.append({"type": "function_call_output", "call_id": call_id, "output": text})
            continue
        if text is not None:
            kind = "output_text" if role == "assistant" else "input_text"
            items.append({"role": role, "content": [{"type": kind, "text": text}]})
        items.extend(
            {"type": "function_call", "call_id": call["id"], **call["function"]}
            for call in message.get("tool_calls", ())
        )
    return items
