"""Who answers: a race between the candidates of a turn.

A candidate wins with its first spoken word or tool call (it is *committed*): the others are
cancelled. Nothing of a candidate is handed on before it wins. Anything else that it sends (headers,
roles, empty deltas, keep-alives) proves nothing; streamed reasoning proves life. Knows time and
candidates, not what words mean to a caller; `next_candidate` says whom to ask next.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from completions.causes import Cause
from completions.dialects.deltas import (
    CallPart,
    Chunk,
    Done,
    Failure,
    Finish,
    Held,
    Other,
    Reasoning,
    Refusal,
    Text,
)
from completions.errors import (
    ChainNotFound,
    CompletionsError,
    NotAsked,
    UpstreamUnavailable,
)
from completions.observability import log
from completions.race.attempts import Askable, Attempt, Attempts, EmptyAnswer
from completions.race.health import Health
from completions.race.misconfiguration import tell_owner
from completions.race.next_candidate import NextCandidate
from completions.race.timeouts import TICK_S, Timeouts, lingers_until
from completions.race.waits import Waits
from completions.race.winner import SilenceLimits, read_on
from completions.settings import Candidate
from completions.speech.sentences import has_words


class Race:
    """One run over the candidates. Iterate `answer` once, inside `aclosing`."""

    def __init__(
        self,
        question: Askable,
        candidates: Sequence[Candidate],
        health: Health,
        timeouts: Timeouts,
        *,
        started_at: float,
        first_source: int = 0,
        words_only: bool = True,
        answers: int = 1,
        waits: Waits | None = None,
        others_heard_at: Callable[[], float] = lambda: 0.0,
        ask_until: float = math.inf,
        wait_limit_s: float = math.inf,
    ) -> None:
        """Prepare a race; the first candidate's time-outs count from `started_at` (loop time).

        `waits` are the turn's; without them a candidate that failed is asked again at once.
        Nobody is asked again after `ask_until` (loop time), when the answer would come too late,
        and no wait is longer than `wait_limit_s`.
        `others_heard_at` returns when the caller last heard words that are not the model's (loop
        time): the limit on a model's silence counts from there.
        Without `words_only` any text commits at a clean end: JSON may have no letter.
        `answers` is their number in one stream (`n`): each has a finish, the last is the end.
        """
        self._health = health
        self._timeouts = timeouts
        self._started_at = started_at
        self._words_only = words_only
        self._answers = answers
        self._waits = waits or Waits()
        self._others_heard_at = others_heard_at
        self._hedges = timeouts.hedge_s > 0
        self._attempts = Attempts(question, first_source)
        self._next = NextCandidate(
            question,
            candidates,
            self._attempts,
            self._waits,
            ask_until=ask_until,
            wait_limit_s=wait_limit_s,
        )
        self._errors: list[CompletionsError] = []
        self._failed: set[Candidate] = set()
        self._loop = asyncio.get_running_loop()
        self.winner: Candidate | None = None

    @property
    def barred(self) -> frozenset[Candidate]:
        """Candidates that would refuse again if asked again."""
        return frozenset(self._next.barred)

    @property
    def failed(self) -> set[Candidate]:
        """Candidates that failed or were late, except the winner."""
        late = {one.candidate for one in self._attempts.all if one.late}
        return (self._failed | late) - {self.winner}

    @property
    def next_source(self) -> int:
        """The number for the first attempt of a race that follows this one."""
        return self._attempts.next_source

    async def answer(self) -> AsyncGenerator[list[Chunk], None]:
        """Yield the winner's answer from its first chunk on, in batches as the chunks arrived.

        Raises:
            EmptyAnswer: an answer ended properly, without a word or a call.
            CompletionsError: before the first item, the most telling reason why nobody answered;
                after it, what cut the winner off.
        """
        try:
            self._next.ask_first(self._started_at, self._loop.time())
            winner = await self._winner()
            self.winner = winner.candidate
            self._health.answered(winner.candidate)
            self._attempts.offer_to_reader(winner)
            rest = read_on(
                winner,
                self._attempts.events,
                silence_limits=SilenceLimits(
                    self._timeouts.stall_s, self._timeouts.reasoning_s, self._others_heard_at
                ),
                answers=self._answers,
            )
            async with aclosing(rest) as batches:
                async for batch in batches:
                    yield batch
        except CompletionsError as error:
            if self.winner is not None:
                self._health.failed(self.winner, error)
                tell_owner(self.winner, error)
                self._waits.failed(self.winner, error)
            raise
        finally:
            await self._attempts.close()

    # Before somebody wins.

    async def _winner(self) -> Attempt:
        winner = None
        while winner is None:
            event = await self._attempts.next_event(self._next_moment())
            if event is None:
                winner = self._on_time()
                continue
            attempt, batch, error = event
            if attempt is None or attempt.over:
                continue
            won = (
                self._wins_at_close(attempt, error)
                if batch is None
                else self._commits(attempt, batch)
            )
            winner = attempt if won else None
        await self._attempts.cancel(one for one in self._attempts.all if one is not winner)
        return winner

    def _commits(self, attempt: Attempt, batch: list[Chunk]) -> bool:
        attempt.held += batch
        for chunk in batch:
            for delta in chunk.deltas:
                if isinstance(delta, CallPart | Other):
                    return True
                if isinstance(delta, Text | Refusal):
                    if has_words(delta.text):
                        return True
                elif isinstance(delta, Reasoning):
                    attempt.reasoning |= has_words(delta.text)
                elif isinstance(delta, Held):
                    attempt.reasoning = True
                elif isinstance(delta, Finish):
                    attempt.finish = delta.reason
                    attempt.finished_at = attempt.finished_at or self._loop.time()
                elif isinstance(delta, Failure):
                    self._lose(attempt, delta.error)
                    return False
                elif isinstance(delta, Done):
                    return self._counts_as_answer(attempt)
        return False

    def _counts_as_answer(self, attempt: Attempt) -> bool:
        """Handle an answer that ended without a word; return True if it counts as one anyway."""
        if not self._words_only and attempt.has_text:
            return True
        self._lose(attempt, None)
        return False

    def _wins_at_close(self, attempt: Attempt, error: CompletionsError | None) -> bool:
        """Handle a connection that ended without a terminator; return True if it is an answer."""
        attempt.closed = True
        if attempt.finish:
            # The model had finished, whatever happened to the connection.
            return self._counts_as_answer(attempt)
        error = error or UpstreamUnavailable(
            "The upstream closed the connection without an answer."
        )
        self._lose(attempt, error)
        return False

    def _lose(self, attempt: Attempt, error: CompletionsError | None) -> None:
        """End an attempt that did not win; raise if that was the last one."""
        attempt.over = True
        attempt.empty = error is None
        if isinstance(error, NotAsked):
            # Another attempt has made the turn's last request at the same moment.
            self._attempts.all.remove(attempt)
            self._errors = self._errors or [error]
        elif error is not None:
            if attempt.task and not attempt.closed:
                # It reported a failure, but keeps the connection open.
                attempt.task.cancel()
            self._errors.append(error)
            tell_owner(attempt.candidate, error)
            if not attempt.late or error.retry_after_s is not None:
                # An attempt counts as one failure.
                self._health.failed(attempt.candidate, error)
            self._ask_instead(attempt.candidate, error)
            unasked = isinstance(error, ChainNotFound) and error.__cause__ is None
            if unasked and self._attempts.only_late(attempt.candidate):
                # Its only holder is late, and can no longer be asked for a chain: the caller can
                # help at once, by sending the whole history.
                raise error
        self._fail_if_alone()

    def _fail_if_alone(self) -> None:
        """Raise when nobody is left to wait for.

        Raises:
            EmptyAnswer: an answer was empty.
            CompletionsError: all failed; the error that says most about why.
        """
        if any(not other.over for other in self._attempts.all) or self._next.waiting:
            return
        if empty := [one for one in self._attempts.all if one.empty]:
            raise EmptyAnswer(empty[-1].candidate, empty[-1].finish, empty[-1].held)
        transient = [one for one in self._errors if one.transient]
        filtered = [one for one in self._errors if one.cause is Cause.FILTER]
        raise (transient[-1:] or filtered or self._errors)[0]

    def _ask_instead(self, candidate: Candidate, error: CompletionsError) -> None:
        """Ask another candidate at once, the same one after a wait; nobody while one is in time."""
        self._waits.failed(candidate, error)
        self._failed.add(candidate)
        if not error.transient:
            self._next.barred.add(candidate)
        if all(one.over or one.late for one in self._attempts.all):
            self._next.ask_soonest(self._loop.time())

    # Time.

    def _next_moment(self) -> float | None:
        moments = [
            moment
            for one in self._attempts.all
            for moment in (self._timeouts.late_at(one), lingers_until(one))
            if moment is not None
        ]
        if waiting := self._next.waiting:
            moments.append(waiting[0])
        if self._hedges:
            moments.append(self._started_at + self._timeouts.hedge_s)
        return min(moments, default=None)

    def _on_time(self) -> Attempt | None:
        """Do what is due now; return the winner if a finished answer has waited long enough."""
        now = self._loop.time() + TICK_S
        for attempt in list(self._attempts.all):
            ends_at = lingers_until(attempt)
            if ends_at is not None and ends_at <= now and self._counts_as_answer(attempt):
                return attempt
        waiting = self._next.waiting
        if waiting and waiting[0] <= now and not self._next.end_wait():
            self._fail_if_alone()
        if self._hedges and self._started_at + self._timeouts.hedge_s <= now:
            self._hedges = False
            self._next.ask_hedge()
        for attempt in list(self._attempts.all):
            ends_at = self._timeouts.late_at(attempt)
            if ends_at is not None and ends_at <= now:
                attempt.late = True
                if now - attempt.started_at >= self._timeouts.first_token_s:
                    # Otherwise the time was lost before it was asked, which is not its fault.
                    self._health.failed(attempt.candidate)
                log.info("candidate.late", candidate=attempt.candidate.key)
                if all(one.over or one.late for one in self._attempts.all):
                    self._next.ask_beside_late(self._loop.time())
        return None
