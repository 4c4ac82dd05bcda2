"""When a candidate that has failed may be asked again.

One per turn, shared by its races, so a failure in one race counts in the next. Moments are the
event loop's time, in seconds. Knows failures and times, not requests.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from completions.errors import CompletionsError
from completions.settings import Candidate

RETRY_WAITS_S = (0.25, 0.8)
"""How long a candidate that failed is left alone, the first time and after that.

Both end more than a second after the first failure: an upstream that restarts, or that a balancer
has just taken out, is back by then.
"""
JITTER = 0.25
"""A wait is up to this fraction of a second longer: turns that failed together must not come back
together."""


@dataclass(slots=True)
class _Failures:
    first_at: float
    count: int = 0
    not_before: float = 0.0


class Waits:
    """One turn's waits. Create it inside the event loop; without `waits_s` there are none."""

    def __init__(self, waits_s: Sequence[float] = ()) -> None:
        self._waits_s = waits_s
        self._jitter = random.uniform(0.0, JITTER)  # noqa: S311 - nothing secret
        self._loop = asyncio.get_running_loop()
        self._failures: dict[Candidate, _Failures] = {}

    def failed(self, candidate: Candidate, error: CompletionsError) -> None:
        """Leave alone a candidate that has just failed; its `Retry-After` may prolong the wait."""
        now = self._loop.time()
        failures = self._failures.setdefault(candidate, _Failures(now))
        failures.count += 1
        wait_s = self._waits_s[min(failures.count, len(self._waits_s)) - 1] if self._waits_s else 0
        failures.not_before = now + self._jittered(max(wait_s, error.retry_after_s or 0.0))

    def ready_at(self, candidate: Candidate, *, last: bool) -> float:
        """Return when a candidate may be asked; a past moment means now.

        The `last` request of a turn is not spent on a blip that has just begun: it comes
        no earlier than the third of three requests would.
        """
        failures = self._failures.get(candidate)
        if failures is None:
            return 0.0
        if not last:
            return failures.not_before
        return max(failures.not_before, failures.first_at + self._jittered(sum(self._waits_s)))

    def _jittered(self, wait_s: float) -> float:
        return wait_s + self._jitter * min(wait_s, 1.0)
