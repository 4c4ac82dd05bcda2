"""Whom a race asks next, and when.

Knows the candidates, which of them are barred, and how long each is left alone. `race` judges what
happened to an attempt and what that means for the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from completions.errors import UpstreamUnavailable
from completions.race.attempts import Askable, Attempts
from completions.race.waits import Waits
from completions.settings import Candidate


class NextCandidate:
    """Chooses among the candidates of one race, and starts their attempts."""

    def __init__(
        self,
        question: Askable,
        candidates: Sequence[Candidate],
        attempts: Attempts,
        waits: Waits,
        *,
        ask_until: float,
        wait_limit_s: float,
    ) -> None:
        """Choose for a race with these attempts; the limits are explained in `Race`."""
        self._question = question
        self._candidates = candidates
        self._attempts = attempts
        self._waits = waits
        self._ask_until = ask_until
        self._wait_limit_s = wait_limit_s
        self.barred: set[Candidate] = set()
        self.waiting: tuple[float, Candidate] | None = None
        """Who will be asked later, and when (loop time)."""

    def ask_first(self, started_at: float, now: float) -> None:
        """Ask the first candidate that may be asked now; else wait for one.

        Raises:
            UpstreamUnavailable: there is not enough time to wait for any.
        """
        at, candidate = self._soonest(self._candidates, now)
        if at <= now:
            self._attempts.start(candidate, started_at)
        elif self._may_wait(at, now):
            self.waiting = (at, candidate)
        else:
            raise UpstreamUnavailable("Nobody can be asked again in time.")

    def ask_soonest(self, now: float, *, late_too: bool = True) -> None:
        """Ask the candidate that may be asked soonest, now or by a timer; none if that is too late.

        A late candidate is asked again only if `late_too` and there is no other.
        """
        empty = {one.candidate for one in self._attempts.all if one.empty}
        able = [one for one in self._candidates if one not in self.barred | empty]
        running = {one.candidate for one in self._attempts.all if not one.over}
        able = [one for one in able if one not in running] or (able if late_too else [])
        if not able or not self._question.can_ask:
            return
        at, candidate = self._soonest(able, now)
        if not self._may_wait(at, now):
            return
        if at <= now:
            self._attempts.start(candidate)
        else:
            self.waiting = (at, candidate)

    def ask_hedge(self) -> None:
        """Ask another candidate beside the first, if only the first was asked so far."""
        if len(self._attempts.all) == 1 and self.waiting is None:
            self._ask_least_asked(hedge=not self._attempts.all[0].over)

    def ask_beside_late(self, now: float) -> None:
        """Ask another candidate when all are late; they may still answer, so each is asked once.

        A lone candidate is asked twice.
        """
        at_most = 2 if len(self._candidates) == 1 else 1
        if not self._ask_least_asked(at_most=at_most, hedge=True) and self.waiting is None:
            self.ask_soonest(now, late_too=False)

    def end_wait(self) -> bool:
        """Ask the candidate that was waited for; return False if no request is left for it."""
        assert self.waiting is not None  # noqa: S101 - its time has come
        candidate, self.waiting = self.waiting[1], None
        if not self._question.can_ask:
            return False
        self._attempts.start(candidate)
        return True

    def _ask_least_asked(self, *, at_most: int = 3, hedge: bool = False) -> bool:
        """Ask the least asked candidate at once; return False if none is left."""
        if not self._question.can_ask:
            return False
        tries = [one.candidate for one in self._attempts.all]
        eligible = [
            one for one in self._candidates if one not in self.barred and tries.count(one) < at_most
        ]
        if eligible:
            self._attempts.start(min(eligible, key=tries.count), hedge=hedge)
        return bool(eligible)

    def _soonest(self, able: Sequence[Candidate], now: float) -> tuple[float, Candidate]:
        """Return who may be asked first, and when; the preferred one if several may be now."""
        last = self._question.requests_left == 1
        ready = [(max(self._waits.ready_at(one, last=last), now), one) for one in able]
        return min(ready, key=lambda one: one[0])

    def _may_wait(self, at: float, now: float) -> bool:
        return at <= self._ask_until and at - now <= self._wait_limit_s
