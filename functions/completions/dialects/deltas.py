"""What a chunk of an answer says: text, reasoning, pieces of tool calls, how it ends.

The same facts for every wire format. Knows neither the formats nor the turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from completions.errors import CompletionsError
from completions.immutable import immutable
from completions.sse import ServerSentEvent


@dataclass(slots=True, unsafe_hash=True)
class Text:
    """Words to speak. Treat it as frozen: declaring it so makes it twice as slow to build."""

    text: str


@immutable
class Reasoning:
    """Words that must not be spoken: the model's thinking."""

    text: str


@immutable
class Refusal:
    """The words in which the model declines to answer."""

    text: str


@immutable
class CallPart:
    """A piece of tool call `index`: the first names the call, each adds to its `arguments`."""

    index: int
    """-1 where the server does not number calls."""
    id: str | None
    name: str | None
    arguments: str
    nonstandard: bool = False
    """True if it breaks the protocol (arguments as an object) and must not be relayed."""
    extra_content: Mapping[str, Any] | None = field(default=None, hash=False)
    """What the model's API wants back with the call, such as Gemini's `thought_signature`
    (ai.google.dev, "Thought signatures"): kept as it came."""
    alone: bool = False
    """True for a whole call in one part: it neither continues another nor is continued."""
    problem: str = ""
    """Why this call must not be carried out, in words for the model."""


@immutable
class Other:
    """An answer that is neither speech nor a function call, such as audio: relayed as it came."""


@immutable
class Held:
    """Text that is held back or removed; it proves that the model is working."""


@immutable
class Finish:
    """Why the model stopped, in Chat Completions' terms: `stop`, `length`, `tool_calls`, …."""

    reason: str


@immutable
class Usage:
    """The tokens used, in the shape of the dialect that was read."""

    usage: dict[str, Any]


@immutable
class Failure:
    """The upstream reports mid-stream that it failed."""

    error: CompletionsError


@immutable
class Done:
    """The end of the stream."""


@immutable
class Rewrite:
    """The event's own bytes would mislead a strict client: write its other deltas anew."""


Delta = (
    Text | Reasoning | Refusal | CallPart | Other | Held | Finish | Usage | Failure | Done | Rewrite
)


@dataclass(slots=True)
class Chunk:
    """One SSE event of an answer and what it says; `sse` is None if it came over no wire."""

    sse: ServerSentEvent | None
    deltas: tuple[Delta, ...]
    unchanged: bool = True
    """True if the deltas are all that the event says: then its bytes may be relayed."""
    source: int = 0
    """The number of the attempt it came from; each answer has its own identity."""


@immutable
class Call:
    """A complete tool call; `arguments` is a JSON string."""

    id: str
    name: str
    arguments: str
    extra_content: Mapping[str, Any] | None = field(default=None, hash=False)
    """See `CallPart`."""


def text_in(chunks: Iterable[Chunk], *kinds: type[Text | Refusal | Reasoning]) -> str:
    """Return the text of all deltas of these kinds."""
    return "".join(
        delta.text for chunk in chunks for delta in chunk.deltas if isinstance(delta, kinds)
    )


def arguments_text(arguments: Any, none: str = "") -> str:
    """Return a call's arguments, or its result, as JSON text; some clients send the object."""
    if isinstance(arguments, str):
        return arguments
    return none if arguments is None else to_json(arguments).decode()
