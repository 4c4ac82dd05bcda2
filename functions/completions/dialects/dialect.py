"""What every wire dialect can do: the only thing that a turn knows of wire formats.

The packages `chat` and `responses` implement `Dialect`: they read requests into `ParsedRequest`
and SSE events into deltas, and write SSE events from deltas. What both do alike with fields of
OpenAI's APIs (metadata, cache keys, limits) is here as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pydantic_core import to_json

from completions.dialects.deltas import Call, Chunk, Delta
from completions.dialects.request import ParsedRequest
from completions.errors import CompletionsError
from completions.immutable import immutable
from completions.sse import ServerSentEvent

TOKEN_LIMIT = 16_384
"""The largest limit we ask for: no voice answer is longer, and models refuse a limit above their
maximum."""


@immutable
class Prepared:
    """A clean request body for an upstream, and the names of the fields that we added to it."""

    body: dict[str, Any]
    added: frozenset[str] = frozenset()


class Writer(Protocol):
    """Writes one streamed answer under one id, `created` and model; each method returns bytes.

    The first call decides the stream's identity: `relay` adopts the upstream's, the other methods
    make one up. Later upstream events are rewritten only if their identity differs.
    """

    def relay(self, chunk: Chunk) -> bytes:
        """Write an upstream's SSE event: its own bytes if nothing has to change.

        Its finish and usage are kept for `end`, which writes them or better ones; a terminator
        is dropped. Events with pieces of a tool call come once the call is complete and valid.
        """
        ...

    def text(self, text: str) -> bytes:
        """Write words to speak."""
        ...

    def buffer_words(self, text: str) -> bytes:
        """Write buffer words: spoken, but not part of the answer that follows."""
        ...

    def reasoning(self, text: str) -> bytes:
        """Write reasoning: clients may show it but never speak it."""
        ...

    def call(self, call: Call) -> bytes:
        """Write a complete tool call in one piece, numbered after those already written."""
        ...

    def end(self, reason: str, usage: dict[str, Any] | None) -> bytes:
        """End the stream, once: write the finish, the usage if wanted, and the terminator."""
        ...

    def failure(self, error: CompletionsError) -> bytes:
        """End the stream with an error event that makes client SDKs raise, and the terminator."""
        ...


class Dialect(Protocol):
    """One wire format. A stateless module or object."""

    @property
    def optional(self) -> bool:
        """True if an upstream may lack this endpoint; we then ask it over chat completions."""
        ...

    @property
    def path(self) -> str:
        """The path below an upstream's base URL, such as `/chat/completions`."""
        ...

    def parse(self, body: dict[str, Any]) -> ParsedRequest:
        """Read a request body.

        Raises:
            InvalidRequest: A field cannot be understood; the error names it.
        """
        ...

    def prepare(
        self,
        request: ParsedRequest,
        *,
        model: str,
        extra_body: Mapping[str, Any],
        clean: Callable[[str], str],
        max_tokens: int = 0,
    ) -> Prepared:
        """Return the request for an upstream, without fields that strict servers refuse.

        `clean` is applied to every assistant text of the history. Fields of `extra_body` override
        others. `max_tokens` caps the caller's limit and replaces a missing one; 0 does neither.
        """
        ...

    def with_feedback(self, body: dict[str, Any], answer: str, feedback: str) -> dict[str, Any]:
        """Return the request with the assistant's `answer` (if any) and `feedback` appended."""
        ...

    def as_chat(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return a request's body as a Chat Completions body, or None if it already is one.

        For upstreams without this dialect (all have `/chat/completions`), and for agents.
        """
        ...

    def reader(
        self, request: ParsedRequest | None = None
    ) -> Callable[[ServerSentEvent], tuple[Delta, ...]]:
        """Return a function that reads the SSE events of one answer, in order, into deltas.

        It returns no deltas for comments, keep-alives and, within a stream, events that it cannot
        understand; it never raises. An event without `raw` bytes is a complete JSON answer that was
        not streamed. Where the `request` is for one answer, it reads only one.
        """
        ...

    def writer(self, request: ParsedRequest) -> Writer:
        """Return a writer for one streamed answer."""
        ...

    def buffered(
        self,
        request: ParsedRequest,
        sse: ServerSentEvent | None,
        *,
        text: str,
        reasoning: str,
        calls: Sequence[Call],
        finish: str,
        usage: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return one JSON answer: the upstream's (`sse`) with its text and calls replaced.

        Without `sse` the answer is made up; `usage` then counts the tokens, in either API's shape.
        """
        ...


def safety_identifier(user: str) -> str:
    """Return a stable, opaque `safety_identifier` (OpenAI) for a platform's `user_id`."""
    return hashlib.sha256(user.encode()).hexdigest()[:32]


SPOKEN_LIMIT_CHARS = 128 * 1024
"""Two hours of one voice without a pause: no history with more assistant text was spoken."""


def clean_if_spoken(clean: Callable[[str], str], request: ParsedRequest) -> Callable[[str], str]:
    """Return `clean`, or a function that changes nothing if the history is too long to be spoken.

    `clean` searches every assistant text for some two hundred phrases. A caller may send 6 MB,
    which would block the event loop, and with it every other turn, for a second.
    """
    # Each text has a fixed cost, about that of a short sentence.
    chars = sum(len(text) + 64 for text in request.assistant_texts)
    return clean if chars <= SPOKEN_LIMIT_CHARS else str


METADATA_PAIRS, METADATA_NAME_CHARS, METADATA_TEXT_CHARS = 16, 64, 512
"""OpenAI's limits (platform.openai.com/docs/api-reference/chat/create, `metadata`)."""


def as_metadata(value: Any) -> dict[str, str] | None:
    """Return the metadata that OpenAI's API accepts, texts within its limits, or None.

    Platforms put numbers and objects there, which it would refuse.
    """
    if not isinstance(value, dict):
        return None
    texts = {
        name: one if isinstance(one, str) else to_json(one).decode()
        for name, one in value.items()
        if one is not None
    }
    kept = [
        (name, text)
        for name, text in texts.items()
        if len(name) <= METADATA_NAME_CHARS and len(text) <= METADATA_TEXT_CHARS
    ]
    return dict(kept[:METADATA_PAIRS]) or None


def cache_key(*parts: Any) -> str:
    """Return a `prompt_cache_key` for requests that share `parts` (system prompt, tools)."""
    return hashlib.sha256(to_json(parts)).hexdigest()[:32]
