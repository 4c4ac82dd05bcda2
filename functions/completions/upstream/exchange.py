"""One request to a model: when it was sent and answered, how it ended, its model and its usage.

Moments are the event loop's time, in seconds. Knows no bytes and no HTTP: the code that sends the
request and reads the answer fills it in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from completions.errors import CompletionsError, UpstreamUnavailable
from completions.settings import Candidate


@dataclass(slots=True, eq=False)
class Exchange:
    """One request to a model, and what came back."""

    candidate: Candidate
    source: int = 0
    """The attempt that it belongs to; an attempt that learns from a refusal has several."""
    hedge: bool = False
    """True if it was sent beside a slow request, not after a failed one."""
    first: bool = False
    """True for the first request of a question; an agent may ask several questions."""
    sent_at: float | None = None
    """When it had a connection; keys had been read by then."""
    on_written: Callable[[], None] | None = None
    """Called when the request has been written to its connection, once or more often."""
    headers_at: float | None = None
    first_word_at: float | None = None
    """When the first word came, or the first part of a call."""
    finished: bool = False
    """True once the answer has said why it ended."""
    ended_at: float | None = None
    """When it finished, failed, or was given up."""
    error_code: str = ""
    """The code of the failure that ended it."""
    model: str = ""
    """The model that the answer names."""
    usage: dict[str, Any] | None = None

    def speaks(self) -> None:
        """Note that the first word has come."""
        now = asyncio.get_running_loop().time()
        # Of an answer that came in one piece, the finish was read first.
        self.first_word_at = now if self.ended_at is None else min(now, self.ended_at)

    def finishes(self) -> None:
        """Note that an answer is whole; where several come in one stream, the last one counts."""
        self.finished = True
        self.ended_at = asyncio.get_running_loop().time()

    def ends(self, error: CompletionsError | None, *, whole: bool, by_itself: bool) -> None:
        """Note that nothing more is read; what follows a finish is not a failure.

        `whole` says that the terminator has come, `by_itself` that the API ended the stream.
        """
        if self.finished:
            return
        self.ended_at = asyncio.get_running_loop().time()
        if error is not None:
            self.error_code = error.code
        elif whole:
            self.finished = True
        elif by_itself:
            self.error_code = UpstreamUnavailable.code
