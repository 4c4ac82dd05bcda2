"""Reads the SSE events of a Chat Completions answer.

Shapes: platform.openai.com/docs/api-reference/chat-streaming, and what other servers send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from completions.dialects.deltas import (
    CallPart,
    Delta,
    Done,
    Failure,
    Finish,
    Other,
    Reasoning,
    Refusal,
    Text,
    Usage,
    upstream_failure,
)
from completions.errors import UpstreamUnavailable
from completions.sse import ServerSentEvent


def read(sse: ServerSentEvent) -> tuple[Delta, ...]:
    """Return what an SSE event says; nothing for comments and keep-alives. Never raises."""
    if not sse.data:
        return ()
    if sse.data == b"[DONE]":
        return (Done(),)
    try:
        body = from_json(sse.data)
        if error := body.get("error"):
            return (Failure(upstream_failure(error)),)
        deltas: list[Delta] = []
        for choice in body.get("choices") or ():
            _read_choice(choice, deltas)
        if usage := body.get("usage"):
            deltas.append(Usage(dict(usage)))
        if not sse.raw:
            deltas.append(Done() if body.get("choices") else _not_understood())
    except (ValueError, TypeError, AttributeError):
        return (_not_understood(),)
    return tuple(deltas)


def _not_understood() -> Failure:
    return Failure(UpstreamUnavailable("The upstream sent what is no chat completion."))


def _read_choice(choice: Mapping[str, Any], deltas: list[Delta]) -> None:
    # An answer that was not streamed has a `message` in place of the `delta`.
    delta: Mapping[str, Any] = choice.get("delta") or choice.get("message") or {}
    if text := delta.get("reasoning_content") or delta.get("reasoning"):
        deltas.append(Reasoning(str(text)))
    if content := delta.get("content"):
        if isinstance(content, str):
            deltas.append(Text(content))
        else:
            deltas.extend(_read_parts(content))
    if delta.get("audio"):
        deltas.append(Other())
    if text := delta.get("refusal"):
        deltas.append(Refusal(str(text)))
    for position, part in enumerate(delta.get("tool_calls") or ()):
        function = part.get("function") or {}
        index = part.get("index")
        # In a message a call is numbered by its place; in a stream the place means nothing.
        unnumbered = -1 if choice.get("delta") else position
        arguments = function.get("arguments")
        deltas.append(
            CallPart(
                index if isinstance(index, int) else unnumbered,
                part.get("id") or None,
                function.get("name") or None,
                arguments if isinstance(arguments, str) else _arguments_json(arguments),
                nonstandard=not isinstance(arguments, str | None),
            )
        )
    if error := choice.get("error"):
        deltas.append(Failure(upstream_failure(error)))
    if reason := choice.get("finish_reason"):
        deltas.append(Finish(str(reason)))


def _read_parts(content: Any) -> Iterable[Delta]:
    """Read content that is a list of parts, thinking among them, as some servers send it."""
    for part in content:
        if part.get("type") == "text":
            yield Text(str(part.get("text") or ""))
        elif part.get("type") == "thinking":
            yield from (Reasoning(str(t.get("text"))) for t in part.get("thinking") or ())


def _arguments_json(arguments: Any) -> str:
    """Return arguments as a JSON string; some servers send the object."""
    return "" if arguments is None else to_json(arguments).decode()
