"""The Chat Completions dialect: reads a request, tells what a frame says, writes our own frames.

Field names and shapes: platform.openai.com/docs/api-reference/chat and, for what voice platforms
add, their documentation on custom LLMs. Knows nothing of time, retries or HTTP.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from completions.dialect import (
    Asked,
    CallPart,
    Delta,
    Done,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Text,
    Usage,
)
from completions.errors import (
    CompletionsError,
    InvalidRequest,
    UpstreamRefused,
    UpstreamUnavailable,
)
from completions.sse import Frame, encode

path = "/chat/completions"

PLATFORM_FIELDS = frozenset({"elevenlabs_extra_body", "user_id", "call", "phoneNumber", "customer"})
"""What voice platforms add to the request. Strict upstreams answer 400 to it."""

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
    "elevenlabs_extra_body": (dict,),
}
_JSON_NAMES = {str: "a string", list: "a list", bool: "true or false", dict: "an object"}


def ask(body: dict[str, Any]) -> Asked:
    """Reads a request; fields that nobody here needs are not judged."""
    for name, types in _TYPES.items():
        value = body.get(name)
        # bool is an int in Python, never in JSON.
        if value is not None and (
            not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        ):
            expected = _JSON_NAMES.get(types[0], "a number")
            raise InvalidRequest(f"'{name}' must be {expected}.", param=name)
    messages = body.get("messages")
    if not messages:
        raise InvalidRequest("'messages' must be a list of at least one message.", param="messages")
    for position, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            where = f"messages[{position}]"
            raise InvalidRequest(f"'{where}' must be an object with a 'role'.", param=where)
    return Asked(
        body=body,
        stream=bool(body.get("stream")),
        model=body.get("model") or "",
        roles=tuple(message["role"] for message in messages),
        extra=body.get("elevenlabs_extra_body") or {},
    )


def upstream_body(asked: Asked, *, model: str, extra_body: dict[str, Any]) -> dict[str, Any]:
    """The clean request: nulls, limits of 0 or less and what platforms added are taken out."""
    clean = {
        name: value
        for name, value in asked.body.items()
        if value is not None and name not in PLATFORM_FIELDS
    }
    for limit in ("max_tokens", "max_completion_tokens"):
        if limit in clean and clean[limit] <= 0:
            del clean[limit]
    if not clean.get("tools", True):
        del clean["tools"]
    if not asked.stream:
        clean.pop("stream_options", None)
    return {**clean, "model": model or asked.model, "stream": asked.stream, **extra_body}


def read(frame: Frame) -> tuple[Delta, ...]:
    """What a frame says; nothing for comments and keep-alives. Never raises."""
    if not frame.data:
        return ()
    if frame.data == b"[DONE]":
        return (Done(),)
    try:
        chunk = from_json(frame.data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        return (Failure(UpstreamUnavailable("The upstream sent a frame that is not JSON.")),)
    if chunk.get("error"):
        return (Failure(_upstream_error(chunk["error"])),)
    deltas: list[Delta] = []
    for choice in chunk.get("choices") or ():
        if isinstance(choice, dict):
            deltas += _read_choice(choice)
    if usage := chunk.get("usage"):
        deltas.append(Usage(usage))
    return tuple(deltas)


def _read_choice(choice: dict[str, Any]) -> list[Delta]:
    deltas: list[Delta] = []
    # An upstream that does not stream sends its whole `message`.
    delta = choice.get("delta") or choice.get("message") or {}
    if text := delta.get("reasoning_content") or delta.get("reasoning"):
        deltas.append(Reasoning(str(text)))
    if text := delta.get("content"):
        deltas.append(Text(str(text)))
    if text := delta.get("refusal"):
        deltas.append(Refusal(str(text)))
    for position, part in enumerate(delta.get("tool_calls") or ()):
        function = part.get("function") or {}
        deltas.append(
            CallPart(
                part.get("index", position),
                part.get("id"),
                function.get("name"),
                function.get("arguments") or "",
            )
        )
    if reason := choice.get("finish_reason"):
        deltas.append(Finish(reason))
    return deltas


def _upstream_error(error: Any) -> CompletionsError:
    if not isinstance(error, dict):
        return UpstreamUnavailable(f"The upstream failed in mid-answer: {error}")
    code = error.get("code")
    return UpstreamRefused(
        str(error.get("message") or "The upstream failed in mid-answer."),
        status=code if isinstance(code, int) and 400 <= code < 600 else 502,
        error_type=error.get("type"),
        code=str(code) if code else None,
        param=error.get("param"),
    )


def failure(error: CompletionsError) -> bytes:
    """OpenAI's error object as a frame: the official SDKs raise `APIError` on it."""
    return encode(to_json(error.body()))
