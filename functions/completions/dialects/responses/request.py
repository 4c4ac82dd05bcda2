"""Reads a Responses request and prepares it for an upstream.

Fields: platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from completions.dialects.deltas import arguments_text
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
from completions.dialects.responses.clean_items import clean_items, paired_items
from completions.dialects.responses.input import check_items, flat_tool, input_items, message_text
from completions.dialects.responses.previous_responses import (
    check_chain,
    is_chained,
    thoughts_by_id,
)
from completions.errors import InvalidRequest

KNOWN_FIELDS = frozenset(
    [
        "context_management",
        "conversation",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ]
)
"""The fields of OpenAI's API. No other field reaches an upstream: strict ones answer 400 to it.

NOTE: not `background`: such an answer is fetched later, from a path that we do not serve.
"""

_TYPES: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "input": (str, list),
    "instructions": (str,),
    "stream": (bool,),
    "stream_options": (dict,),
    "store": (bool,),
    "tools": (list,),
    "tool_choice": (str, dict),
    "text": (dict,),
    "text.format": (dict,),
    "reasoning": (dict,),
    "metadata": (dict,),
    "max_output_tokens": (int, float),
    "max_tokens": (int, float),
    "max_tool_calls": (int, float),
    "temperature": (int, float),
    "top_p": (int, float),
    "parallel_tool_calls": (bool,),
    "previous_response_id": (str,),
    "user_id": (str, int),
}


def parse(body: dict[str, Any]) -> ParsedRequest:
    """Read a request body; fields that we do not use are not checked.

    Raises:
        InvalidRequest: a field cannot be understood; the error names it.
        ChainNotFound: it continues a history that nobody has.
    """
    check_types(body, _TYPES)
    text_format = (body.get("text") or {}).get("format")
    check_types({"text.format": text_format}, _TYPES)
    format_type = (text_format or {}).get("type") or "text"
    items = input_items(body)
    check_items(items)
    chained = is_chained(body, items)
    if chained:
        check_chain(body, items)
    if not items and not body.get("instructions") and not chained and not body.get("prompt"):
        raise InvalidRequest("'input' must be a string or a list of items.", param="input")
    stream = bool(body.get("stream"))
    texts = [(item.get("role"), message_text(item)) for item in items]
    last_user = max((i for i, (role, _) in enumerate(texts) if role == "user"), default=-1)
    since_user = texts[last_user + 1 :]
    return ParsedRequest(
        body=body,
        stream=stream,
        model=body.get("model") or "",
        speakable=stream and format_type == "text",
        plain=format_type == "text",
        wants_usage=True,
        chained=chained,
        by_id=chained or thoughts_by_id(body, items),
        roles=tuple(_roles(body, items)),
        user_text=texts[last_user][1] if last_user >= 0 else "",
        # The upstream may hold the user message of a chained request.
        user_spoke=texts[last_user][1].strip() != SILENCE if last_user >= 0 else chained,
        assistant_spoke_since=any(
            role == "assistant" and text.strip() for role, text in since_user
        ),
        after_tool_result=bool(items) and items[-1].get("type") == "function_call_output",
        assistant_texts=tuple(text for role, text in texts if role == "assistant" and text),
        calls=tuple(
            PastCall(
                item["name"],
                arguments_text(item.get("arguments"), "{}"),
                recent=position > last_user,
            )
            for position, item in enumerate(items)
            if item.get("type") == "function_call"
        ),
        tools=_tools(body.get("tools") or []),
        extra=read_extra(body),
    )


def _roles(body: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    if body.get("instructions"):
        yield "system"
    for item in items:
        if isinstance(role := item.get("role"), str):
            yield role
        elif item.get("type") in {"function_call", "function_call_output"}:
            yield "assistant" if item["type"] == "function_call" else "tool"


def _tools(tools: Iterable[Any]) -> dict[str, Tool]:
    offered: dict[str, Tool] = {}
    for position, tool in enumerate(tools):
        where = f"tools[{position}]"
        if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict | None):
            raise InvalidRequest(f"'{where}' must be an object.", param=where)
        flat = flat_tool(tool)
        if flat.get("type") != "function":
            continue
        if not isinstance(flat.get("name"), str) or not flat["name"]:
            raise InvalidRequest(f"'{where}.name' must be a string.", param=f"{where}.name")
        parameters = flat.get("parameters")
        offered[flat["name"]] = Tool(
            flat["name"],
            str(flat.get("description") or ""),
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
    """Return the clean request: known fields, no nulls, no limits below 1."""
    body = {
        name: value
        for name, value in request.body.items()
        if value is not None and name in KNOWN_FIELDS
    }
    # Voice platforms send `max_tokens` to either API.
    limit = body.pop("max_output_tokens", request.body.get("max_tokens"))
    most = min(max_tokens or TOKEN_LIMIT, TOKEN_LIMIT)
    if limit is not None and limit > 0:
        body["max_output_tokens"] = int(min(limit, most)) or 1
    elif max_tokens:
        body["max_output_tokens"] = most
    if body.get("max_tool_calls", 1) <= 0:
        del body["max_tool_calls"]
    if body.get("tools"):
        body["tools"] = [flat_tool(tool) for tool in body["tools"]]
        if isinstance(body.get("tool_choice"), dict):
            body["tool_choice"] = flat_tool(body["tool_choice"])
    else:
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(name, None)
    # Here a response is stored unless the caller says otherwise.
    metadata = as_metadata(body.pop("metadata", None))
    if metadata and extra_body.get("store", body.get("store")) is not False:
        body["metadata"] = metadata
    items = input_items(body)
    added: dict[str, Any] = {}
    if items:
        by_id = request.by_id and extra_body.get("store") is not False
        cleaned = list(clean_items(items, clean_if_spoken(clean, request), by_id=by_id))
        # We do not know which calls and results of a chained history the upstream holds.
        body["input"] = cleaned if request.chained else paired_items(cleaned)
    if not body.get("input") and not request.chained and "prompt" not in body:
        # The first turn of a call, before anybody spoke. OpenAI's API requires an input.
        body["input"] = [_message("system", body.pop("instructions", ""))]
    body["stream"] = request.stream
    body["model"] = model or request.model
    # `include_usage`, an option of Chat Completions, would be refused.
    options = body.pop("stream_options", {})
    if request.stream and "include_obfuscation" in options:
        body["stream_options"] = {"include_obfuscation": options["include_obfuscation"]}
    if (user := request.body.get("user_id")) not in (None, ""):
        added["safety_identifier"] = safety_identifier(str(user))
    added["prompt_cache_key"] = request.extra.conversation_id or cache_key(
        body.get("instructions"),
        [item for item in body.get("input") or () if item.get("role") in ("system", "developer")],
        body.get("tools"),
    )
    added = {name: value for name, value in added.items() if name not in body}
    added |= extra_body
    return Prepared({**body, **added}, frozenset(added))


def _message(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text}


def with_feedback(body: dict[str, Any], answer: str, feedback: str) -> dict[str, Any]:
    """Return the request with the assistant's `answer` (if any) and `feedback` appended."""
    spoken = [_message("assistant", answer)] if answer.strip() else []
    return {**body, "input": [*input_items(body), *spoken, _message("user", feedback)]}
