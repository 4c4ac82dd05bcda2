"""What a chunk of an answer says: text, reasoning, pieces of tool calls, how it ends.

The same facts for every wire format. Knows neither the formats nor the turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from completions.dialects.error_objects import read_error
from completions.errors import CompletionsError, UpstreamRefused, UpstreamUnavailable
from completions.sse import ServerSentEvent


@dataclass(frozen=True, slots=True)
class Text:
    """Words to speak."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Words that must not be spoken: the model's thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The words in which the model declines to answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallPart:
    """A piece of tool call number `index`: the first names it, each adds to its `arguments`."""

    index: int
    """-1 where the server numbers no calls."""
    id: str | None
    name: str | None
    arguments: str
    nonstandard: bool = False
    """Not as the protocol defines it (arguments as an object), so not to be relayed."""
    extra_content: Mapping[str, Any] | None = field(default=None, hash=False)
    """What the model's API wants back with the call, such as Gemini's `thought_signature`
    (ai.google.dev, "Thought signatures"): kept as it came."""
    alone: bool = False
    """A whole call in one part, which continues none and is continued by none."""
    problem: str = ""
    """Why this call must not be carried out, to be told to the model."""


@dataclass(frozen=True, slots=True)
class Other:
    """An answer that is neither speech nor a function call, such as audio: relayed as it came."""


@dataclass(frozen=True, slots=True)
class Held:
    """Text that is held back, or taken out: it proves only that the model works."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Why the model stopped, in Chat Completions' terms: `stop`, `length`, `tool_calls`, …."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens used, in the shape of the dialect that was read."""

    usage: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The upstream reports in mid-stream that it failed."""

    error: CompletionsError


@dataclass(frozen=True, slots=True)
class Done:
    """The end of the stream."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The event's own bytes would mislead a strict client: what else it says is written anew."""


Delta = (
    Text | Reasoning | Refusal | CallPart | Other | Held | Finish | Usage | Failure | Done | Rewrite
)


@dataclass(slots=True)
class Chunk:
    """One SSE event of an answer and what it says; `sse` is None if it came over no wire."""

    sse: ServerSentEvent | None
    deltas: tuple[Delta, ...]
    unchanged: bool = True
    """The deltas are all that the event says, so its bytes may be relayed; filters clear this."""
    source: int = 0
    """The number of the upstream request it came from; each answer has an identity of its own."""


@dataclass(frozen=True, slots=True)
class Call:
    """A complete tool call; `arguments` is a JSON string."""

    id: str
    name: str
    arguments: str
    extra_content: Mapping[str, Any] | None = field(default=None, hash=False)
    """See `CallPart`."""


def arguments_text(arguments: Any, none: str = "") -> str:
    """Return a call's arguments, or its result, as JSON text; some send the object itself."""
    if isinstance(arguments, str):
        return arguments
    return none if arguments is None else to_json(arguments).decode()


def error_in(event: Mapping[str, Any], name: bytes) -> Any:
    """Return the error that a server-sent event of this name reports; None if it reports none.

    Servers put it where OpenAI does, or send it bare: under the event's name `error` (llama.cpp),
    as an object of that kind (vLLM) or of that type.
    """
    if error := event.get("error"):
        return error
    bare = name == b"error" or "error" in (event.get("object"), event.get("type"))
    if not bare or event.get("choices"):
        return None
    return {**event, "type": None} if event.get("type") == "error" else event


def upstream_failure(error: Any) -> CompletionsError:
    """Return our error for the error object of an SSE event, with the status that fits best."""
    if not isinstance(error, dict):
        failure = UpstreamUnavailable(f"The upstream failed in mid-answer: {error}")
        failure.quotes = True
        return failure
    code, parsed = error.get("code"), read_error(error)
    status = _STATUS_OF_CODE.get(str(code), 502)
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    return UpstreamRefused(
        parsed.message or "The upstream failed in mid-answer.",
        status=status,
        error_type=parsed.type,
        code=parsed.code or (str(code) if code else None),
        param=parsed.param,
        fields=parsed.fields,
    )


_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "content_filter": 400,
}
