"""Reads a Chat Completions request and prepares it for an upstream.

Field names and shapes: platform.openai.com/docs/api-reference/chat and, for what voice platforms
add, their documentation on custom LLMs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from completions.dialects.chat.clean_messages import clean_messages
from completions.dialects.dialect import (
    TOKEN_LIMIT,
    Prepared,
    as_metadata,
    cache_key,
    clean_if_spoken,
    safety_identifier,
)
from completions.dialects.request import (
    SILENCE,
    ParsedRequest,
    PastCall,
    Tool,
    check_types,
    read_extra,
)
from completions.errors import InvalidRequest

KNOWN_FIELDS = frozenset(
    [
        "audio",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
"""The fields of OpenAI's API. No other field reaches an upstream: strict ones answer 400 to it.

NOTE: `functions`, which `tools` replaced in 2023, is missing: nothing here reads their calls.
"""
_TOOL_KEYS = frozenset({"type", "function", "cache_control"})
"""The keys of a function tool; the last one is Anthropic's, through gateways."""

_TYPES: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "messages": (list,),
    "stream": (bool,),
    "stream_options": (dict,),
    "tools": (list,),
    "n": (int,),
    "max_tokens": (int, float),
    "max_completion_tokens": (int, float),
    "temperature": (int, float),
    "response_format": (dict,),
    "modalities": (list,),
    "user_id": (str, int),
}


def parse(body: dict[str, Any]) -> ParsedRequest:
    """Read a request body; fields that nothing here needs are not checked.

    Raises:
        InvalidRequest: A field cannot be understood; the error names it.
    """
    check_types(body, _TYPES)
    messages: list[dict[str, Any]] = body.get("messages") or []
    if not messages:
        raise InvalidRequest("'messages' must be a list of at least one message.", param="messages")
    for position, message in enumerate(messages):
        _check_message(message, f"messages[{position}]")
    stream = bool(body.get("stream"))
    answers = max(1, int(body.get("n") or 1))
    format_type = (body.get("response_format") or {}).get("type") or "text"
    text_only = set(map(str, body.get("modalities") or ["text"])) == {"text"}
    last_user = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    since_user = messages[last_user + 1 :]
    return ParsedRequest(
        body=body,
        stream=stream,
        model=body.get("model") or "",
        answers=answers,
        speakable=stream and answers == 1 and text_only and format_type == "text",
        plain=text_only and format_type == "text",
        wants_usage=(body.get("stream_options") or {}).get("include_usage") is True,
        roles=tuple(message["role"] for message in messages),
        user_text=message_text(messages[last_user]) if last_user >= 0 else "",
        user_spoke=last_user >= 0 and message_text(messages[last_user]).strip() != SILENCE,
        assistant_spoke_since=any(
            message["role"] == "assistant" and message_text(message).strip()
            for message in since_user
        ),
        after_tool_result=messages[-1]["role"] in {"tool", "function"},
        assistant_texts=tuple(
            text for m in messages if m["role"] == "assistant" and (text := message_text(m))
        ),
        calls=tuple(_past_calls(messages, last_user)),
        tools=_tools(body.get("tools") or []),
        extra=read_extra(body),
    )


def _check_message(message: Any, where: str) -> None:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InvalidRequest(f"'{where}' must be an object with a 'role'.", param=where)
    if not isinstance(message.get("content"), str | list | None):
        name = f"{where}.content"
        raise InvalidRequest(f"'{name}' must be a string, a list of parts or null.", param=name)
    if not isinstance(message.get("tool_calls"), list | None):
        name = f"{where}.tool_calls"
        raise InvalidRequest(f"'{name}' must be a list.", param=name)


def message_text(message: Mapping[str, Any]) -> str:
    """Return a message's text, whether its content is a text, a list of parts or null."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = (part.get("text") for part in content or () if isinstance(part, dict))
    return "".join(text for text in parts if isinstance(text, str))


def _past_calls(messages: Sequence[Mapping[str, Any]], last_user: int) -> Iterable[PastCall]:
    for position, message in enumerate(messages):
        for call in message.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                yield PastCall(
                    str(function.get("name")),
                    str(function.get("arguments")),
                    recent=position > last_user,
                )


def _tools(tools: Iterable[Any]) -> dict[str, Tool]:
    offered: dict[str, Tool] = {}
    for position, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(tool, dict) or not isinstance(function, dict | None):
            where = f"tools[{position}]"
            raise InvalidRequest(f"'{where}' must be an object with a 'function'.", param=where)
        if function and isinstance(name := function.get("name"), str):
            parameters = function.get("parameters")
            offered[name] = Tool(
                name,
                str(function.get("description") or ""),
                parameters if isinstance(parameters, dict) else {},
            )
    return offered


def prepare(
    request: ParsedRequest,
    *,
    model: str,
    extra_body: Mapping[str, Any],
    clean: Callable[[str], str],
    max_tokens: int = 0,
) -> Prepared:
    """Return the clean request: known fields, no nulls, no limits below 1, usage asked for."""
    body = {
        name: value
        for name, value in request.body.items()
        if value is not None and name in KNOWN_FIELDS
    }
    most = min(max_tokens or TOKEN_LIMIT, TOKEN_LIMIT)
    limits = ("max_tokens", "max_completion_tokens")
    for limit in limits:
        if limit in body:
            if body[limit] > 0:
                body[limit] = max(1, int(min(body[limit], most)))
            else:
                del body[limit]
    if max_tokens and not body.keys() & {*limits}:
        # The older name: every server knows it, and a model that refuses it is asked again
        # with the newer one.
        body["max_tokens"] = most
    if not body.get("tools"):
        # Strict upstreams refuse an empty list of tools, and these fields without tools.
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(name, None)
    else:
        body["tools"] = [_known_tool(tool) for tool in body["tools"]]
    # OpenAI refuses it where nothing is stored. What platforms put there is not for a model to
    # see, and may hold a telephone number.
    metadata = as_metadata(body.pop("metadata", None))
    if metadata and extra_body.get("store", body.get("store")) is True:
        body["metadata"] = metadata
    messages = clean_messages(body["messages"], clean_if_spoken(clean, request))
    body["messages"] = messages or [{"role": "system", "content": ""}]
    body["stream"] = request.stream
    body["model"] = model or request.model
    added: dict[str, Any] = {}
    if request.stream:
        added["stream_options"] = {**body.pop("stream_options", {}), "include_usage": True}
    else:
        body.pop("stream_options", None)
    if (user := request.body.get("user_id")) not in (None, ""):
        added["safety_identifier"] = safety_identifier(str(user))
    added["prompt_cache_key"] = request.extra.conversation_id or cache_key(
        [m for m in body["messages"] if m["role"] in {"system", "developer"}], body.get("tools")
    )
    added = {name: value for name, value in added.items() if name not in body}
    added |= extra_body
    return Prepared({**body, **added}, frozenset(added))


def _known_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool without a platform's additions to its function: servers, messages."""
    if "function" not in tool or tool.keys() <= _TOOL_KEYS:
        return tool
    return {name: value for name, value in tool.items() if name in _TOOL_KEYS}


def with_feedback(body: dict[str, Any], answer: str, feedback: str) -> dict[str, Any]:
    """Return the request with the assistant's `answer` (if any) and `feedback` appended."""
    spoken = [{"role": "assistant", "content": answer}] if answer.strip() else []
    return {**body, "messages": [*body["messages"], *spoken, {"role": "user", "content": feedback}]}
