"""The seam between a turn and a wire dialect: what every dialect can do.

`chat` and `responses` read requests and frames into the facts of `asked` and `said`, and write
frames from them. Knows neither wire format; the turn knows nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_core import to_json

from completions.dialects.deltas import Call, Chunk, Delta
from completions.dialects.request import ParsedRequest
from completions.errors import CompletionsError
from completions.sse import ServerSentEvent

TOKEN_LIMIT = 16_384
"""A voice answer is never longer; larger limits are refused by models that allow no more."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A clean request for an upstream, and the names of the fields that we added to it."""

    body: dict[str, Any]
    added: frozenset[str] = frozenset()


class Writer(Protocol):
    """Writes one answer. Keeps one id, one `created`, one model; every method returns bytes.

    The first method called decides whose identity the stream has: `relay` adopts the upstream's,
    the others make one. Later frames are re-written to match, and only then.
    """

    def relay(self, chunk: Chunk) -> bytes:
        """The upstream's frame: its own bytes where nothing has to change.

        A finish or usage in it is kept for `end`, which writes it or a better one; a terminator
        is dropped. The frames of a tool call come here once the call is whole and valid.
        """
        ...

    def text(self, text: str) -> bytes:
        """Words to be spoken."""
        ...

    def buffer_words(self, text: str) -> bytes:
        """Buffer words: spoken, and no part of the answer that follows."""
        ...

    def reasoning(self, text: str) -> bytes:
        """Words that are shown and never spoken."""
        ...

    def call(self, call: Call) -> bytes:
        """A whole tool call in one delta, numbered after the ones already written."""
        ...

    def end(self, reason: str, usage: dict[str, Any] | None) -> bytes:
        """Everything that ends the stream, exactly once: finish, usage if wanted, terminator."""
        ...

    def failure(self, error: CompletionsError) -> bytes:
        """An error frame that makes client SDKs raise, and the terminator."""
        ...


class Dialect(Protocol):
    """One wire format. A module or an object; stateless."""

    @property
    def path(self) -> str:
        """The upstream's path below its base URL, `/chat/completions`."""
        ...

    def parse(self, body: dict[str, Any]) -> ParsedRequest:
        """Reads a request. Raises InvalidRequest that names the field."""
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
        """The clean request for an upstream: nothing that strict servers refuse.

        `clean` is applied to every assistant text of the history. Fields of `extra_body` win.
        `max_tokens` bounds the answer, and is its limit where the caller sets none; 0 does neither.
        """
        ...

    def with_feedback(self, body: dict[str, Any], answer: str, feedback: str) -> dict[str, Any]:
        """The same request continued: the assistant said `said` (may be empty), then `note`."""
        ...

    def as_chat(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return a parsed request's `body` as Chat Completions has it; None if it is that already.

        Every upstream has `/chat/completions`, and agents are shown its shapes.
        """
        ...

    def reader(self) -> Callable[[ServerSentEvent], tuple[Delta, ...]]:
        """For one answer: a function that tells what each of its frames says, in order.

        Nothing for comments and keep-alives. Never raises. A frame without `raw` is a whole JSON
        answer.
        """
        ...

    def writer(self, request: ParsedRequest) -> Writer:
        """For one streamed answer."""
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
        """One buffered JSON answer: the upstream's (`frame`) with its words and calls replaced.

        Without a frame it is made up from nothing but `usage`, in whatever API's shape.
        """
        ...


def safety_identifier(user: str) -> str:
    """OpenAI's `safety_identifier` for a platform's `user_id`: stable, and tells nothing."""
    return hashlib.sha256(user.encode()).hexdigest()[:32]


def cache_key(*parts: Any) -> str:
    """A `prompt_cache_key` for requests that share these parts (system prompt, tools)."""
    return hashlib.sha256(to_json(parts)).hexdigest()[:32]
