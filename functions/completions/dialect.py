"""The seam between a turn and a wire dialect: what a request asks, what a frame says.

`chat` and `responses` read requests and frames into these facts and write frames from them.
Knows neither wire format; the turn knows nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from completions.errors import CompletionsError
from completions.sse import Frame


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


@dataclass(frozen=True, slots=True)
class Finish:
    """The model's own end: `stop`, `length`, `tool_calls`, `content_filter`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that were used, in the dialect's own shape."""

    usage: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The upstream says in mid-stream that it failed."""

    error: CompletionsError


@dataclass(frozen=True, slots=True)
class Done:
    """The terminator: nothing follows."""


Delta = Text | Reasoning | Refusal | CallPart | Finish | Usage | Failure | Done


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as the turn must understand it. `body` is the caller's, decoded."""

    body: dict[str, Any]
    stream: bool
    model: str
    roles: tuple[str, ...] = ()
    """The roles of the history, in order: what a log may tell of a conversation."""
    extra: dict[str, Any] = field(default_factory=dict)
    """`elevenlabs_extra_body`. It comes from the client: never a ground for authorisation."""


class Dialect(Protocol):
    """One wire format."""

    @property
    def path(self) -> str:
        """The upstream's path below its base URL, `/chat/completions`."""
        ...

    def ask(self, body: dict[str, Any]) -> Asked:
        """Reads a request. Raises InvalidRequest that names the field."""
        ...

    def upstream_body(
        self, asked: Asked, *, model: str, extra_body: dict[str, Any]
    ) -> dict[str, Any]:
        """The clean request for an upstream: nothing that strict servers refuse."""
        ...

    def read(self, frame: Frame) -> tuple[Delta, ...]:
        """What a frame says; nothing for comments and keep-alives. Never raises."""
        ...

    def failure(self, error: CompletionsError) -> bytes:
        """A frame that makes client SDKs raise."""
        ...
