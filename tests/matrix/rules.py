"""What strict model APIs refuse in a request apart from its history, in their words.

`tests.support.strict_servers` has the rules for histories. From documentation and public reports,
not tried against any provider.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.matrix.refusals import Refused
from tests.support import histories, strict_servers

Body = Mapping[str, Any]
Rule = Callable[[Body], Refused | None]

FIELDS = {
    *("model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature"),
    *("top_p", "presence_penalty", "frequency_penalty", "stop", "seed", "logprobs", "top_logprobs"),
    *("logit_bias", "n", "tools", "tool_choice", "parallel_tool_calls", "response_format", "user"),
    *("reasoning_effort", "store", "metadata", "prompt_cache_key", "prompt_cache_retention"),
    *("safety_identifier", "service_tier", "verbosity", "messages"),
    # Of the Responses API.
    *("input", "instructions", "max_output_tokens", "text", "include", "reasoning", "truncation"),
}
"""What OpenAI documents."""
SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "stop")
MESSAGE_KEYS = {"role", "content", "name", "tool_calls", "tool_call_id"}
FIELD = "property '{0}' is unsupported"
PYDANTIC = "Extra inputs are not permitted, field: '{0}'"


def messages_of(body: Body) -> list[dict[str, Any]]:
    """Return the history as messages, in either API."""
    if "messages" in body:
        return list(body["messages"])
    told: list[dict[str, Any]] = []
    if body.get("instructions"):
        told.append({"role": "system", "content": body["instructions"]})
    items = body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        if item.get("type") == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            told.append({"role": "assistant", "content": "", "tool_calls": [call]})
        elif item.get("type") == "function_call_output":
            output = {"tool_call_id": item["call_id"], "content": item["output"]}
            told.append({"role": "tool", "name": "x", **output})
        elif "role" in item:
            told.append({"role": item["role"], "content": item["content"]})
    return told


def history(server: str) -> Rule:
    """Return the rules of this server's histories."""

    def refuses(body: Body) -> Refused | None:
        if not (told := messages_of(body)):
            return Refused("messages: at least one message is required")
        words = strict_servers.first_refusal(server, told)
        if words is None:
            return None
        return Refused(words, code="3280" if words.startswith("Tool call id") else None)

    return refuses


def in_order(body: Body) -> Refused | None:
    """Refuse what every API refuses as a history."""
    found = (
        [one for one in histories.faults(body["messages"]) if not one.startswith("unknown keys")]
        if "messages" in body
        else histories.item_faults(body["input"])
    )
    return Refused(f"Invalid request: {found[0]}.") if found else None


def fields(
    *refused: str, words: str = FIELD, at_once: bool = False, code: str | None = None
) -> Rule:
    """Refuse these fields and all undocumented ones, one by one or `at_once`."""

    def refuses(body: Body) -> Refused | None:
        found = [name for name in body if name in refused or name not in FIELDS]
        if not found:
            return None
        found = found if at_once else found[:1]
        return Refused("\n".join(map(words.format, found)), tuple(found), code)

    return refuses


def reasoning(body: Body) -> Refused | None:
    """OpenAI's reasoning models, one field at a time."""
    if "max_tokens" in body:
        words = "Unsupported parameter: 'max_tokens' is not supported with this model. "
        instead = "Use 'max_completion_tokens' instead."
        return Refused(words + instead, ("max_tokens",), "unsupported_parameter")
    for name in (*SAMPLING, "parallel_tool_calls"):
        if name in body:
            words = f"Unsupported parameter: '{name}' is not supported with this model."
            return Refused(words, (name,), "unsupported_parameter")
    return None


def without_tools(body: Body) -> Refused | None:
    """An empty list of tools, or tool settings without tools: OpenAI, Mistral."""
    if body.get("tools") == []:
        return Refused("Invalid 'tools': empty array.", ("tools",), "empty_array")
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and "tools" not in body:
            words = f"Invalid value for '{name}': it is only allowed when 'tools' are specified."
            return Refused(words, (name,))
    return None


def metadata(body: Body) -> Refused | None:
    """OpenAI's chat completions."""
    if "metadata" in body and not body.get("store"):
        return Refused(
            "The 'metadata' parameter is only allowed when 'store' is enabled.", ("metadata",)
        )
    return None


def strict_tools(body: Body) -> Refused | None:
    """Servers like Mistral's, about strict schemas."""
    for at, tool in enumerate(body.get("tools") or ()):
        if "strict" in tool.get("function", ()):
            path = f"tools[{at}].function.strict"
            return Refused(PYDANTIC.format(path), (path,))
    return None


def keys(also: Sequence[str] = (), words: str = FIELD, *, names: bool = True) -> Rule:
    """Refuse unusual keys of messages except `also`, and users' names unless `names`."""

    def refuses(body: Body) -> Refused | None:
        for at, message in enumerate(body.get("messages", ())):
            for key in message:
                named = key == "name" and message["role"] == "user" and not names
                if named or key not in {*MESSAGE_KEYS, *also}:
                    path = f"messages[{at}].{key}"
                    shown = f"messages.{at}.{key}" if words == FIELD else path
                    return Refused(words.format(shown), (path,))
            for place, call in enumerate(message.get("tool_calls") or ()):
                if "extra_content" in call and "extra_content" not in also:
                    path = f"messages[{at}].tool_calls[{place}].extra_content"
                    return Refused(words.format(path), (path,))
        return None

    return refuses


def unsigned(body: Body) -> Refused | None:
    """Gemini 3 wants a signature in the first call of each step since the last user's turn."""
    told = messages_of(body)
    last = max((at for at, one in enumerate(told) if one["role"] == "user"), default=-1)
    for one in told[last + 1 :]:
        for call in (one.get("tool_calls") or ())[:1]:
            signature = json.dumps(call.get("extra_content") or {})
            if "thought_signature" not in signature:
                words = "Function call is missing a thought_signature in functionCall parts."
                return Refused(words)
    return None


def odd_enums(body: Body) -> Refused | None:
    """Gemini takes enums of texts only."""
    for at, tool in enumerate(body.get("tools") or ()):
        schema = (tool.get("function") or tool)["parameters"]
        for one in schema.get("properties", {}).values():
            if any(not isinstance(value, str) for value in one.get("enum", ())):
                where = (
                    f"tools[0].function_declarations[{at}].parameters.properties[0].value.enum[0]"
                )
                return Refused(f"Invalid value at '{where}' (TYPE_STRING), 1")
    return None


def unreasoned(body: Body) -> Refused | None:
    """DeepSeek's thinking models want their reasoning back once a tool was called."""
    told = messages_of(body)
    if any(one.get("tool_calls") for one in told):
        for one in told:
            if one["role"] == "assistant" and "reasoning_content" not in one:
                words = (
                    "The `reasoning_content` in the thinking mode must be passed back to the API."
                )
                return Refused(words)
    return None


def thinking_buffered(body: Body) -> Refused | None:
    """DashScope's thinking models refuse buffered requests."""
    if not body.get("stream") and body.get("enable_thinking") is not False:
        return Refused("parameter.enable_thinking must be set to false for non-streaming calls")
    return None


def dark_names(body: Body) -> Refused | None:
    """Servers that name the refused field in camel case: xAI behind a gateway."""
    for name, shown in (("frequency_penalty", "frequencyPenalty"), ("stop", "stop")):
        if name in body:
            return Refused(f"Argument not supported on this model: {shown}")
    return None
