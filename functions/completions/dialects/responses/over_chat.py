"""Turns a Responses request into a Chat Completions request, for upstreams without `/responses`.

Follows OpenAI's migration guide field by field (platform.openai.com/docs/guides/
migrate-to-responses). Leaves out what only a server with a memory can do and has no counterpart:
`previous_response_id`, stored items, built-in tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from completions.dialects.deltas import arguments_text
from completions.dialects.responses.input import flat_tool, input_items, message_text

_SAME_IN_BOTH = (
    "elevenlabs_extra_body",
    "model",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "stream",
    "temperature",
    "top_p",
    "user",
    "user_id",
)


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request as a Chat Completions body; `body` has passed `responses.parse`."""
    chat = {name: body[name] for name in _SAME_IN_BOTH if body.get(name) is not None}
    chat["messages"] = _messages(body)
    limit = body.get("max_output_tokens") or body.get("max_tokens")
    if limit is not None:
        chat["max_tokens"] = limit
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    if reasoning.get("effort") is not None:
        chat["reasoning_effort"] = reasoning["effort"]
    if text.get("verbosity") is not None:
        chat["verbosity"] = text["verbosity"]
    if text.get("format"):
        chat["response_format"] = _response_format(text["format"])
    tools = [flat_tool(tool) for tool in body.get("tools") or ()]
    functions = [_nested_tool(tool) for tool in tools if tool["type"] == "function"]
    if functions:
        chat["tools"] = functions
        if (choice := _tool_choice(body.get("tool_choice"))) is not None:
            chat["tool_choice"] = choice
    return chat


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    for item in input_items(body):
        match item["type"]:
            case "message":
                # Servers without `/responses` do not know this newer role.
                role = "system" if item["role"] == "developer" else item["role"]
                messages.append({"role": role, "content": _content(item)})
            case "function_call":
                _add_call(messages, item)
            case "function_call_output":
                output = item.get("output")
                if isinstance(output, list):
                    output = "\n".join(part["text"] for part in output if part.get("text"))
                content = arguments_text(output)
                messages.append(
                    {"role": "tool", "tool_call_id": item["call_id"], "content": content}
                )
    # Empty if the request is chained or names a stored prompt: we cannot read its history.
    return messages or [{"role": "system", "content": ""}]


def _add_call(messages: list[dict[str, Any]], item: Mapping[str, Any]) -> None:
    """Add a call to the assistant's last message, so that text and calls in a row are one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    signed = {"extra_content": item["extra_content"]} if item.get("extra_content") else {}
    messages[-1].setdefault("tool_calls", []).append(
        {
            **signed,
            "id": item["call_id"],
            "type": "function",
            "function": {
                "name": item["name"],
                "arguments": arguments_text(item.get("arguments")),
            },
        }
    )


def _content(message: Mapping[str, Any]) -> Any:
    """Return text as a string, which every server takes, and parts only for more than text."""
    content = message.get("content")
    if not isinstance(content, list) or message["role"] == "assistant":
        return message_text(message)
    parts = list(_parts(content))
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _parts(content: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for part in content:
        match part.get("type"):
            case "input_image" if part.get("image_url"):
                image = {"url": part["image_url"], "detail": part.get("detail") or "auto"}
                yield {"type": "image_url", "image_url": image}
            case "input_audio":
                yield {"type": "input_audio", "input_audio": part.get("input_audio")}
            case "input_file":
                names = ("file_id", "file_data", "filename")
                yield {"type": "file", "file": {n: part[n] for n in names if part.get(n)}}
            case _ if part.get("text"):
                yield {"type": "text", "text": part["text"]}


def _nested_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = {name: value for name, value in tool.items() if name != "type"}
    return {"type": "function", "function": function}


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    choice = flat_tool(choice or {})
    if choice.get("name"):
        return {"type": "function", "function": {"name": choice["name"]}}
    # For example "allowed_tools", whose `mode` says how freely the model may choose.
    return choice.get("mode")


def _response_format(text_format: Mapping[str, Any]) -> dict[str, Any]:
    kind = text_format.get("type")
    if kind != "json_schema":
        return {"type": kind}
    schema = {name: value for name, value in text_format.items() if name != "type"}
    return {"type": kind, "json_schema": schema}
