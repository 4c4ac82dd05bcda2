"""When a race has waited long enough for a candidate."""

from __future__ import annotations

from completions.immutable import immutable
from completions.race.attempts import Attempt

LINGER_S = 0.5
"""How long to wait for usage and the terminator after the finish."""
TICK_S = 0.001
"""Timers may fire this much early: the event loop's clock is no finer than its scheduler."""


@immutable
class Timeouts:
    """The race's timers, in seconds; 0 disables one."""

    hedge_s: float = 0.0
    first_token_s: float = 0.0
    reasoning_s: float = 0.0
    stall_s: float = 0.0

    def late_at(self, attempt: Attempt) -> float | None:
        """Return when an attempt becomes late (loop time); None if it never does or already is."""
        if attempt.over or attempt.late:
            return None
        seconds = self.reasoning_s if attempt.reasoning else self.first_token_s
        return attempt.timeout_base + seconds if seconds else None


def lingers_until(attempt: Attempt) -> float | None:
    """Return how long (loop time) an answer that finished without a word may take to terminate."""
    if attempt.over or attempt.finished_at is None:
        return None
    return attempt.finished_at + LINGER_S
