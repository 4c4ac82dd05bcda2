"""Who answers: a race between the candidates of a turn.

A candidate is *committed* by its first spoken word or tool call: it wins, the others are
cancelled, and nothing of a candidate is handed on before it wins. Everything else it may send
(headers, roles, empty deltas, keep-alives) proves nothing; streamed reasoning proves life.
Knows time and candidates; not what words mean to a caller.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from completions.dialects.deltas import (
    CallPart,
    Chunk,
    Done,
    Failure,
    Finish,
    Other,
    Reasoning,
    Refusal,
    Text,
)
from completions.errors import ChainNotFound, CompletionsError, UpstreamUnavailable
from completions.observability import log
from completions.race.attempts import Askable, Attempt, Attempts
from completions.race.health import Health
from completions.race.winner import LINGER_S, TICK_S, Silences, read_on
from completions.settings import Candidate
from completions.speech.sentences import has_words

RETRY_WAITS_S = (0.25, 0.8)
"""How long a candidate that failed is left alone, the first time and after that.

The second wait ends more than a second after the first failure: an upstream that restarts, or
that a balancer has just taken out, is back by then.
"""
JITTER = 0.25
"""A wait is up to this fraction of a second longer: turns that failed together must not come back
together."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The race's timers, in seconds; 0 disables one."""

    hedge_s: float = 0.0
    first_token_s: float = 0.0
    reasoning_s: float = 0.0
    stall_s: float = 0.0
    retry_waits_s: tuple[float, ...] = ()
    """Before a candidate that failed is asked again: first, then; empty asks at once."""


class EmptyAnswer(Exception):
    """An answer ended properly, without a word or a tool call.

    `reason` is the model's finish reason; `held` are the chunks that it sent all the same.
    """

    def __init__(self, candidate: Candidate, reason: str, held: list[Chunk]) -> None:
        super().__init__(reason)
        self.candidate = candidate
        self.reason = reason
        self.held = held


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
        ends_at: float | None = None,
        wait_limit_s: float = math.inf,
        cut: Candidate | None = None,
    ) -> None:
        """Prepare a race; the first candidate's time-outs count from `started_at` (loop time).

        No answer is of use after `ends_at` (loop time), and no candidate is waited for longer
        than `wait_limit_s`.
        `cut` is the candidate whose answer broke off just now: it is asked again only after a
        wait. Without `words_only` any text commits at a clean end: JSON may hold no letter.
        `answers` is how many come in one stream (`n`): each has a finish, the last is the end.
        """
        self._question = question
        self._candidates = candidates
        self._health = health
        self._timeouts = timeouts
        self._started_at = started_at
        self._words_only = words_only
        self._answers = answers
        self._ends_at = math.inf if ends_at is None else ends_at
        self._wait_limit_s = wait_limit_s
        self._cut = cut
        self._hedges = timeouts.hedge_s > 0
        self._attempts = Attempts(question, first_source)
        self._errors: list[CompletionsError] = []
        self._barred: set[Candidate] = set()
        self._failures: defaultdict[Candidate, int] = defaultdict(int)
        self._not_before: dict[Candidate, float] = {}
        self._jitter = random.uniform(0.0, JITTER)  # noqa: S311 - nothing secret
        self._retry: tuple[float, Candidate] | None = None
        self._loop = asyncio.get_running_loop()
        self.winner: Candidate | None = None

    @property
    def barred(self) -> frozenset[Candidate]:
        """Candidates that have refused in a way that asking again would not change."""
        return frozenset(self._barred)

    @property
    def next_source(self) -> int:
        """The number for the first request of a race that follows this one."""
        return self._attempts.next_source

    async def answer(self) -> AsyncGenerator[list[Chunk], None]:
        """Yield the winner's answer, from its first chunk on, as many chunks as arrived together.

        Raises:
            EmptyAnswer: an answer ended properly, without a word or a call.
            CompletionsError: before the first item, the best reason why nobody answered; after it,
                what cut the winner off.
        """
        try:
            self._begin()
            winner = await self._winner()
            self.winner = winner.candidate
            self._health.answered(winner.candidate)
            self._attempts.hand_over(winner)
            rest = read_on(
                winner,
                self._attempts.events,
                silences=Silences(self._timeouts.stall_s, self._timeouts.reasoning_s),
                answers=self._answers,
            )
            async with aclosing(rest) as batches:
                async for batch in batches:
                    yield batch
        except CompletionsError as error:
            if self.winner is not None:
                self._health.failed(self.winner, error)
            raise
        finally:
            await self._attempts.close()

    # Before somebody wins.

    def _begin(self) -> None:
        first = self._candidates[0]
        if first == self._cut and self._timeouts.retry_waits_s:
            self._failures[first] += 1
            self._retry = (self._loop.time() + self._wait_s(first, None), first)
        else:
            self._attempts.start(first, self._started_at)

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
            won = self._on_close(attempt, error) if batch is None else self._commits(attempt, batch)
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
                elif isinstance(delta, Finish):
                    attempt.finish = delta.reason
                    attempt.finished_at = attempt.finished_at or self._loop.time()
                elif isinstance(delta, Failure):
                    self._on_end(attempt, delta.error)
                    return False
                elif isinstance(delta, Done):
                    return self._on_empty(attempt)
        return False

    def _on_empty(self, attempt: Attempt) -> bool:
        """End an answer without a word; return True if it is one all the same."""
        if self._has_text(attempt):
            return True
        self._on_end(attempt, None)
        return False

    def _on_close(self, attempt: Attempt, error: CompletionsError | None) -> bool:
        """Handle the end of a connection without a terminator; return True if it is an answer."""
        attempt.closed = True
        if attempt.finish:
            # Whatever happened to the connection, the model had ended.
            return self._on_empty(attempt)
        error = error or UpstreamUnavailable(
            "The upstream closed the connection without an answer."
        )
        self._on_end(attempt, error)
        return False

    def _has_text(self, attempt: Attempt) -> bool:
        """Return True if an answer without a letter or digit is one all the same."""
        return not self._words_only and any(
            isinstance(delta, Text) and delta.text.strip()
            for chunk in attempt.held
            for delta in chunk.deltas
        )

    def _on_end(self, attempt: Attempt, error: CompletionsError | None) -> None:
        """End an attempt that did not win; raise if that was the last one."""
        attempt.over = True
        attempt.empty = error is None
        if error is not None:
            if attempt.task and not attempt.closed:
                # It said that it failed, but keeps the connection open.
                attempt.task.cancel()
            self._errors.append(error)
            if not attempt.late or error.retry_after_s is not None:
                # An attempt counts as one failure.
                self._health.failed(attempt.candidate, error)
            self._on_failure(attempt.candidate, error)
        self._fail_if_alone()

    def _fail_if_alone(self) -> None:
        """Raise when nobody is left to wait for.

        Raises:
            EmptyAnswer: an answer was empty.
            CompletionsError: all failed; the error that says best why.
        """
        if any(not other.over for other in self._attempts.all) or self._retry:
            return
        if empty := [one for one in self._attempts.all if one.empty]:
            raise EmptyAnswer(empty[-1].candidate, empty[-1].finish, empty[-1].held)
        transient = [one for one in self._errors if one.transient]
        raise transient[-1] if transient else self._errors[0]

    def _on_failure(self, candidate: Candidate, error: CompletionsError) -> None:
        """Ask another candidate at once, the same one after a wait; nobody while one is in time."""
        self._failures[candidate] += 1
        self._not_before[candidate] = self._loop.time() + self._wait_s(candidate, error)
        if not error.transient:
            self._barred.add(candidate)
        falls_over = (
            error.transient
            or error.status in {401, 403, 404, 502, 503}
            or isinstance(error, ChainNotFound)
        )
        if falls_over and all(one.over or one.late for one in self._attempts.all):
            self._ask_next()

    def _ask_next(self, *, late_too: bool = True) -> None:
        """Ask who may be asked soonest, now or by a timer; nobody if that is of no use.

        One that is late is asked again only if `late_too`, and only if there is nobody else.
        """
        now = self._loop.time()
        empty = {one.candidate for one in self._attempts.all if one.empty}
        able = [one for one in self._candidates if one not in self._barred | empty]
        running = {one.candidate for one in self._attempts.all if not one.over}
        able = [one for one in able if one not in running] or (able if late_too else [])
        if not able or not self._question.can_ask:
            return
        candidate = min(able, key=lambda one: self._not_before.get(one, now))
        at = self._not_before.get(candidate, now)
        if at >= self._ends_at or at - now > self._wait_limit_s:
            return
        if at <= now:
            self._attempts.start(candidate)
        else:
            self._retry = (at, candidate)

    def _wait_s(self, candidate: Candidate, error: CompletionsError | None) -> float:
        """Return how long to leave alone a candidate that has failed just now."""
        waits = self._timeouts.retry_waits_s
        wait_s = waits[min(self._failures[candidate], len(waits)) - 1] if waits else 0.0
        asked_for_s = error.retry_after_s if error else None
        wait_s = max(wait_s, asked_for_s or 0.0)
        return wait_s + self._jitter * min(wait_s, 1.0)

    # Time.

    def _next_moment(self) -> float | None:
        moments = [
            moment
            for one in self._attempts.all
            for moment in (self._timeout_at(one), self._linger_ends(one))
            if moment is not None
        ]
        if self._retry:
            moments.append(self._retry[0])
        if self._hedges:
            moments.append(self._started_at + self._timeouts.hedge_s)
        return min(moments, default=None)

    def _linger_ends(self, attempt: Attempt) -> float | None:
        """Return until when an answer that finished without a word may get its terminator."""
        if attempt.over or attempt.finished_at is None:
            return None
        return attempt.finished_at + LINGER_S

    def _timeout_at(self, attempt: Attempt) -> float | None:
        if attempt.over or attempt.late:
            return None
        timeouts = self._timeouts
        seconds = timeouts.reasoning_s if attempt.reasoning else timeouts.first_token_s
        return attempt.timeout_base + seconds if seconds else None

    def _on_time(self) -> Attempt | None:
        """Do what is due now; return the winner if an answer has lingered too long and is one."""
        now = self._loop.time() + TICK_S
        for attempt in list(self._attempts.all):
            ends_at = self._linger_ends(attempt)
            if ends_at is not None and ends_at <= now and self._on_empty(attempt):
                return attempt
        if self._retry and self._retry[0] <= now:
            candidate, self._retry = self._retry[1], None
            if self._question.can_ask:
                self._attempts.start(candidate)
            else:
                self._fail_if_alone()
        if self._hedges and self._started_at + self._timeouts.hedge_s <= now:
            self._hedges = False
            if len(self._attempts.all) == 1 and not self._retry:
                self._start_next(hedge=not self._attempts.all[0].over)
        for attempt in list(self._attempts.all):
            ends_at = self._timeout_at(attempt)
            if ends_at is not None and ends_at <= now:
                attempt.late = True
                if now - attempt.started_at >= self._timeouts.first_token_s:
                    # Else the time was lost before it was asked, which is not its fault.
                    self._health.failed(attempt.candidate)
                log.info("candidate.late", candidate=attempt.candidate.key)
                if all(one.over or one.late for one in self._attempts.all):
                    # A late one may still answer: each is asked once, a lone one twice.
                    at_most = 2 if len(self._candidates) == 1 else 1
                    if not self._start_next(at_most=at_most, hedge=True) and not self._retry:
                        self._ask_next(late_too=False)
        return None

    def _start_next(self, *, at_most: int = 3, hedge: bool = False) -> bool:
        """Ask at once the candidate that was asked least; return False if none is left."""
        if not self._question.can_ask:
            return False
        tries = [one.candidate for one in self._attempts.all]
        eligible = [
            one
            for one in self._candidates
            if one not in self._barred and tries.count(one) < at_most
        ]
        if eligible:
            self._attempts.start(min(eligible, key=tries.count), hedge=hedge)
        return bool(eligible)
