"""Which models failed lately, and are asked last for a while.

One per execution environment, shared by its turns; it holds nothing of a single turn. Knows
failures and times, not requests.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from completions.causes import Cause
from completions.errors import CompletionsError
from completions.settings import Candidate

STRIKES = 2
"""After this many failures in a row the model is asked last …"""
COOLING_S = 30.0
"""… for this long. A `Retry-After` counts at once, for as long as it says."""
COOLING_LIMIT_S = 60.0
"""For a `Retry-After` of the first failure; each further one doubles it, up to ten times."""


@dataclass(slots=True)
class _Failures:
    in_a_row: int = 0
    cooling_since: float = 0.0
    cooling_s: float = 0.0


class Health:
    """The recent failures of each configured candidate.

    Times are wall clock, so that a freeze counts.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._failures: defaultdict[Candidate, _Failures] = defaultdict(_Failures)

    def order(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Return the candidates in the order to ask them: cooling ones last, else as configured."""
        now = self._clock()
        return sorted(candidates, key=lambda one: self._is_cooling(self._failures[one], now))

    def answered(self, candidate: Candidate) -> None:
        """Forget earlier failures: this candidate spoke first."""
        failures = self._failures[candidate]
        failures.in_a_row, failures.cooling_s = 0, 0.0

    def failed(self, candidate: Candidate, error: CompletionsError | None = None) -> None:
        """Count a failure; no error means that the candidate was late.

        A refusal that only this request would get does not count.
        """
        refused = error is not None and not error.transient and error.status < 500
        if refused and error and error.cause is not Cause.CREDIT:
            return  # But an empty account refuses every request.
        failures = self._failures[candidate]
        failures.in_a_row += 1
        wait_s = error.retry_after_s if error else None
        if wait_s is None and failures.in_a_row >= STRIKES:
            wait_s = COOLING_S
        if wait_s:
            limit_s = COOLING_LIMIT_S * min(2 ** (failures.in_a_row - 1), 10)
            failures.cooling_since = self._clock()
            failures.cooling_s = min(wait_s, limit_s)

    @staticmethod
    def _is_cooling(failures: _Failures, now: float) -> bool:
        # A clock that was set back must not cool a model for that long.
        return 0 <= now - failures.cooling_since < failures.cooling_s
