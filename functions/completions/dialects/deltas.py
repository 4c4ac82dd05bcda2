"""What a frame of an answer says: words, reasoning, pieces of tool calls, its end.

The same facts whatever wire they came over. Knows neither wire nor turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from completions.errors import CompletionsError, UpstreamRefused, UpstreamUnavailable
from completions.sse import ServerSentEvent


@dataclass(frozen=True, slots=True)
class Text:
    """Words to be spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Words that must not be spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model declines, in words of its own."""

    text: str


@dataclass(frozen=True, slots=True)
class CallPart:
    """A piece of tool call number `index`: the first one names it, all add to `arguments`."""

    index: int
    id: str | None
    name: str | None
    arguments: str
    nonstandard: bool = False
    """Not as the protocol defines it (arguments as an object), so not to be relayed."""


@dataclass(frozen=True, slots=True)
class Other:
    """An answer of a kind that is neither spoken nor judged here: it is relayed as it came."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The model's own end, in Chat Completions' words: `stop`, `length`, `tool_calls`, …."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that were used, in the shape of the dialect that was read."""

    usage: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The upstream says in mid-stream that it failed."""

    error: CompletionsError


@dataclass(frozen=True, slots=True)
class Done:
    """The terminator: nothing follows."""


Delta = Text | Reasoning | Refusal | CallPart | Other | Finish | Usage | Failure | Done


@dataclass(slots=True)
class Chunk:
    """A frame and what it says. `frame` is None where nothing came over a wire.

    `plain` says that the deltas are what the frame holds, so that its bytes may be relayed;
    a filter that changes the deltas clears it.
    """

    sse: ServerSentEvent | None
    deltas: tuple[Delta, ...]
    plain: bool = True
    source: int = 0
    """Which upstream request of the turn it came from: each has an identity of its own."""
    alive: bool = True
    """False for comments and keep-alives, which prove nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """A whole tool call; `arguments` is one JSON string."""

    id: str
    name: str
    arguments: str


def upstream_failure(error: Any) -> CompletionsError:
    """OpenAI's error object, found in a frame, as an error of ours with the best status."""
    if not isinstance(error, dict):
        failure = UpstreamUnavailable(f"The upstream failed in mid-answer: {error}")
        failure.quotes = True
        return failure
    code = error.get("code")
    status = _STATUS_OF_CODE.get(str(code), 502)
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    return UpstreamRefused(
        str(error.get("message") or "The upstream failed in mid-answer."),
        status=status,
        error_type=str(error["type"]) if error.get("type") else None,
        code=str(code) if code else None,
        param=str(error["param"]) if error.get("param") else None,
    )


_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
}
