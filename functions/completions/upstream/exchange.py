"""One request to a model: when it was sent and answered, and what the answer said of itself.

Moments are the event loop's time, in seconds. Knows no bytes and no HTTP; whoever sends the request
and reads the answer fills it in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from completions.settings import Candidate


@dataclass(slots=True, eq=False)
class Exchange:
    """One request to a model, and what came back."""

    candidate: Candidate
    source: int = 0
    """The attempt that it belongs to; an attempt that learns from a refusal makes several."""
    hedge: bool = False
    """True if it was sent beside a slow request, not after a failed one."""
    sent_at: float | None = None
    """When it had a connection to go out on; keys had been read by then."""
    on_written: Callable[[], None] | None = None
    """Called when the request has been written to its connection, once or more often."""
    headers_at: float | None = None
    model: str = ""
    """As the answer names it."""
    usage: dict[str, Any] | None = None
