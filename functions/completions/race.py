"""Who answers: a race between the candidates of a turn.

A candidate is *committed* by its first spoken word or tool call: it wins, the others are
cancelled, and nothing of a candidate is handed on before it wins. Everything else it may send
(headers, roles, empty deltas, keep-alives) proves nothing; streamed reasoning proves life.
Knows time and candidates; what words mean to a caller is the turn's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol, Self

from completions.dialect import (
    CallPart,
    Done,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Said,
    Text,
)
from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.observability import log
from completions.settings import Candidate
from completions.speech import has_words
from completions.standing import Standing, retry_after_s

LINGER_S = 0.5
"""After a finish frame: so long we wait for usage and the terminator."""
DRAIN_S = 0.1
"""After the terminator: so long we read on, since a connection read to its end can be reused."""
PATIENT_RETRY_S = 2.0
"""A lone upstream's 429 is worth waiting for if it asks for no more than this."""
CANCEL_S = 0.5
"""So long we wait for a cancelled attempt to close what it opened."""
QUEUE_BATCHES = 64
TICK_S = 0.001
"""Timers may fire this much early, as the event loop's clock is no finer than its scheduler."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The race's timers in seconds; 0 turns one off."""

    hedge_s: float = 0.0
    first_token_s: float = 0.0
    reasoning_s: float = 0.0
    stall_s: float = 0.0


class Asking(Protocol):
    """What is needed of `question.Question`; a responder has one of its own."""

    @property
    def can_ask(self) -> bool:
        """Whether another attempt may be made."""
        ...

    def ask(self, candidate: Candidate, source: int, /) -> AsyncGenerator[list[Said], None]:
        """What the candidate says. Raises CompletionsError."""
        ...

    def again(self, said: str, note: str) -> Asking:
        """The same question after the answer `said`, with a `note` on what was wrong with it."""
        ...


class Silent(Exception):
    """The answer ended properly, without a word or a tool call.

    `reason` is the model's finish reason; `held` is what it sent all the same.
    """

    def __init__(self, candidate: Candidate, reason: str, held: list[Said]) -> None:
        super().__init__(reason)
        self.candidate = candidate
        self.reason = reason
        self.held = held


@dataclass(slots=True, eq=False)
class _Attempt:
    source: int
    candidate: Candidate
    patience_base: float
    held: list[Said] = field(default_factory=list)
    reasoning: bool = False
    late: bool = False
    over: bool = False
    finish: str = ""
    finished_at: float | None = None
    silent: bool = False
    closed: bool = False
    task: asyncio.Task[None] | None = None


_Event = tuple[_Attempt | None, list[Said] | None, CompletionsError | None]
_SILENCE: _Event = (None, None, None)
"""Nobody said anything for too long."""


class _Watchdog:
    """Rings when nothing was allowed for too long. A word costs an assignment, not a timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._limit_s = 0.0
        self._ends_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer:
            self._timer.cancel()

    def allow(self, limit_s: float) -> None:
        """So many seconds from now; 0 is for ever."""
        self._ends_at = self._loop.time() + limit_s
        if limit_s != self._limit_s or self._timer is None:
            self._limit_s = limit_s
            self._arm()

    @property
    def expired(self) -> bool:
        """Whether the allowance is used up."""
        return self._loop.time() + TICK_S >= self._ends_at

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._ends_at, self._look) if self._limit_s else None

    def _look(self) -> None:
        self._timer = None
        if self.expired:
            self._ring()
        else:
            self._arm()


class Race:
    """One run over the candidates. Iterate `answer` once, inside `aclosing`."""

    def __init__(
        self,
        question: Asking,
        candidates: Sequence[Candidate],
        standing: Standing,
        patience: Patience,
        *,
        started_at: float,
        first_source: int = 0,
        words_only: bool = True,
        answers: int = 1,
    ) -> None:
        """`started_at` is loop time: the first candidate's patience counts from there.

        `words_only` false lets any text commit at a clean end: JSON may hold no letter.
        `answers` come in one stream (`n`): each has a finish, and the last one is the end.
        """
        self._question = question
        self._candidates = candidates
        self._standing = standing
        self._patience = patience
        self._started_at = started_at
        self._source = first_source
        self._words_only = words_only
        self._answers = answers
        self._hedges = patience.hedge_s > 0
        self._attempts: list[_Attempt] = []
        self._errors: list[CompletionsError] = []
        self._barred: set[Candidate] = set()
        self._retry: tuple[float, Candidate] | None = None
        self._events: asyncio.Queue[_Event] = asyncio.Queue(QUEUE_BATCHES)
        self._loop = asyncio.get_running_loop()
        self.winner: Candidate | None = None

    @property
    def next_source(self) -> int:
        """The number for the first request of a race that follows this one."""
        return self._source

    async def answer(self) -> AsyncGenerator[list[Said], None]:
        """The winner's answer, from its first frame on.

        Raises Silent, or the CompletionsError that says best why nobody answered; after the first
        item, what cut the winner off.
        """
        try:
            self._start(self._candidates[0], self._started_at)
            winner = await self._winner()
            self.winner = winner.candidate
            self._standing.answered(winner.candidate)
            held, failure = _until_failure(winner.held)
            yield held
            if failure is not None:
                raise failure
            async with aclosing(self._rest_of(winner)) as rest:
                async for batch in rest:
                    yield batch
        finally:
            await self._close()

    # Before somebody wins.

    async def _winner(self) -> _Attempt:
        while True:
            event = await self._next_event(self._next_moment())
            if event is None:
                self._on_time()
                continue
            attempt, batch, error = event
            if attempt is None or attempt.over:
                continue
            won = self._on_close(attempt, error) if batch is None else self._commits(attempt, batch)
            if won:
                await self._cancel([other for other in self._attempts if other is not attempt])
                return attempt

    def _commits(self, attempt: _Attempt, batch: list[Said]) -> bool:
        attempt.held += batch
        for said in batch:
            for delta in said.deltas:
                if isinstance(delta, CallPart):
                    return True
                if isinstance(delta, Text | Refusal):
                    if has_words(delta.text):
                        return True
                elif isinstance(delta, Reasoning):
                    attempt.reasoning = True
                elif isinstance(delta, Finish):
                    attempt.finish = delta.reason
                    attempt.finished_at = attempt.finished_at or self._loop.time()
                elif isinstance(delta, Failure):
                    self._on_end(attempt, delta.error)
                    return False
                elif isinstance(delta, Done):
                    return self._on_silence(attempt)
        return False

    def _on_silence(self, attempt: _Attempt) -> bool:
        """The answer is over, and no word was in it. True if it is one all the same."""
        if self._has_text(attempt):
            return True
        self._on_end(attempt, None)
        return False

    def _on_close(self, attempt: _Attempt, error: CompletionsError | None) -> bool:
        """The connection is at its end, without a terminator."""
        attempt.closed = True
        if attempt.finish:
            # Whatever happened to the connection: the model had ended.
            return self._on_silence(attempt)
        error = error or UpstreamUnavailable(
            "The upstream closed the connection without an answer."
        )
        self._on_end(attempt, error)
        return False

    def _has_text(self, attempt: _Attempt) -> bool:
        """Whether an answer without a letter or digit is one all the same."""
        return not self._words_only and any(
            isinstance(delta, Text) and delta.text.strip()
            for said in attempt.held
            for delta in said.deltas
        )

    def _on_end(self, attempt: _Attempt, error: CompletionsError | None) -> None:
        """An attempt ended without winning. Raises when nobody is left to wait for."""
        attempt.over = True
        attempt.silent = error is None
        if error is not None:
            if attempt.task and not attempt.closed:
                # It said that it failed, and keeps the connection open.
                attempt.task.cancel()
            self._errors.append(error)
            self._standing.failed(attempt.candidate, error)
            self._on_failure(attempt.candidate, error)
        if any(not other.over for other in self._attempts) or self._retry:
            return
        if silent := [one for one in self._attempts if one.silent]:
            raise Silent(silent[-1].candidate, silent[-1].finish, silent[-1].held)
        transient = [one for one in self._errors if one.transient]
        raise transient[-1] if transient else self._errors[0]

    def _on_failure(self, candidate: Candidate, error: CompletionsError) -> None:
        """Errors move on at once, unless somebody else is in time already."""
        wait_s = retry_after_s(error)
        lone = len(self._candidates) == 1
        if error.status == 429 and lone and wait_s is not None and wait_s <= PATIENT_RETRY_S:
            if self._question.can_ask:
                # Jittered, so that turns refused together do not come back together.
                at = self._loop.time() + wait_s * random.uniform(1.0, 1.25)  # noqa: S311
                self._retry = (at, candidate)
            return
        if not error.transient or error.status == 429:
            self._barred.add(candidate)
        falls_over = error.transient or error.status in {401, 403, 404, 502, 503}
        if falls_over and all(one.over or one.late for one in self._attempts):
            self._start_next()

    # Time.

    def _next_moment(self) -> float | None:
        moments = [
            moment
            for one in self._attempts
            for moment in (self._patience_ends(one), self._linger_ends(one))
            if moment is not None
        ]
        if self._retry:
            moments.append(self._retry[0])
        if self._hedges:
            moments.append(self._started_at + self._patience.hedge_s)
        return min(moments, default=None)

    def _linger_ends(self, attempt: _Attempt) -> float | None:
        """Until when an answer that finished without a word may still get its terminator."""
        if attempt.over or attempt.finished_at is None:
            return None
        return attempt.finished_at + LINGER_S

    def _patience_ends(self, attempt: _Attempt) -> float | None:
        if attempt.over or attempt.late:
            return None
        patience = self._patience
        seconds = patience.reasoning_s if attempt.reasoning else patience.first_token_s
        return attempt.patience_base + seconds if seconds else None

    def _on_time(self) -> None:
        now = self._loop.time() + TICK_S
        if self._retry and self._retry[0] <= now:
            candidate, self._retry = self._retry[1], None
            self._start(candidate, self._loop.time())
        if self._hedges and self._started_at + self._patience.hedge_s <= now:
            self._hedges = False
            if len(self._attempts) == 1:
                self._start_next()
        for attempt in list(self._attempts):
            ends_at = self._patience_ends(attempt)
            if ends_at is not None and ends_at <= now:
                attempt.late = True
                self._standing.failed(attempt.candidate)
                log.info("candidate.late", candidate=attempt.candidate.key)
                if all(one.over or one.late for one in self._attempts):
                    # Who is late may still come: each is asked once, a lone one twice.
                    self._start_next(at_most=2 if len(self._candidates) == 1 else 1)

    # Attempts.

    def _start_next(self, *, at_most: int = 3) -> None:
        """Asks the candidate that was asked least, in order; nobody when none is left."""
        if not self._question.can_ask:
            return
        asked = [one.candidate for one in self._attempts]
        eligible = [
            one
            for one in self._candidates
            if one not in self._barred and asked.count(one) < at_most
        ]
        if eligible:
            self._start(min(eligible, key=asked.count), self._loop.time())

    def _start(self, candidate: Candidate, patience_base: float) -> None:
        attempt = _Attempt(self._source, candidate, patience_base)
        self._source += 1
        self._attempts.append(attempt)
        attempt.task = asyncio.create_task(self._run(attempt))

    async def _run(self, attempt: _Attempt) -> None:
        error: CompletionsError | None = None
        try:
            answer = self._question.ask(attempt.candidate, attempt.source)
            async with aclosing(answer) as batches:
                async for batch in batches:
                    await self._events.put((attempt, batch, None))
        except CompletionsError as failure:
            error = failure
        except (Exception, asyncio.CancelledError):
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            # A bug in here, or in somebody's responder (which may have cancelled a task of its
            # own and waited for it), must not leave a caller in silence.
            log.exception("candidate.crashed", candidate=attempt.candidate.key)
            error = UpstreamUnavailable("The answer could not be made; the reason is in the log.")
        await self._events.put((attempt, None, error))

    # The winner.

    async def _rest_of(self, winner: _Attempt) -> AsyncGenerator[list[Said], None]:
        finishes = _finishes(winner.held)
        finished, news = finishes >= self._answers, True
        with _Watchdog(self._loop, self._ring) as watchdog:
            while not winner.closed and not _is_done(winner.held):
                if news:
                    watchdog.allow(LINGER_S if finished else self._patience.stall_s)
                attempt, batch, error = await self._events.get()
                if attempt is not winner and attempt is not None:
                    continue
                if attempt is None and not watchdog.expired:
                    continue  # It rang while our own caller was slow to read.
                if batch is None:
                    if finished:
                        return
                    if attempt is None:
                        error = UpstreamTimeout("The upstream fell silent in mid-answer.")
                    error = error or UpstreamUnavailable("The upstream's answer broke off.")
                    self._standing.failed(winner.candidate, error)
                    raise error
                end = self._more(winner, batch)
                # Keep-alives do not hide a stall, and nothing that follows the finish prolongs it.
                news = not finished and any(said.frame is None or said.frame.data for said in batch)
                finishes += _finishes(batch)
                finished = finishes >= self._answers
                winner.held = batch
                heard, failure = _until_failure(batch)
                yield heard
                if failure is not None:
                    self._standing.failed(winner.candidate, failure)
                    raise failure
                if end is not None:
                    self._events.put_nowait(end)

    def _ring(self) -> None:
        if self._events.empty():
            self._events.put_nowait(_SILENCE)

    def _more(self, winner: _Attempt, batch: list[Said]) -> _Event | None:
        """Adds what else is here already: one write for a burst. The answer's end is handed back.

        A batch that holds the terminator is not added to.
        """
        done = _is_done(batch)
        while not done and not self._events.empty():
            event = self._events.get_nowait()
            attempt, more, _ = event
            if attempt is winner and more is None:
                return event
            if attempt is winner and more is not None:
                batch += more
                done = _is_done(more)
        return None

    async def _next_event(self, until: float | None) -> _Event | None:
        """The next event, or None at the moment `until`."""
        if not self._events.empty() or until is None:
            return await self._events.get()
        try:
            async with asyncio.timeout_at(until):
                return await self._events.get()
        except TimeoutError:
            # An answer that is here already beats a timer of the same moment.
            for _ in range(3):
                await asyncio.sleep(0)
            return None if self._events.empty() else self._events.get_nowait()

    async def _close(self) -> None:
        winner = [one for one in self._attempts if _is_done(one.held) and one.task]
        if winner and (task := winner[0].task):
            await asyncio.wait({task}, timeout=DRAIN_S)
        await self._cancel(self._attempts)

    async def _cancel(self, attempts: list[_Attempt]) -> None:
        tasks = [one.task for one in attempts if one.task and not one.task.done()]
        for one in attempts:
            one.over = True
        for task in tasks:
            task.cancel()
        if tasks:
            _, stubborn = await asyncio.wait(tasks, timeout=CANCEL_S)
            if stubborn:
                # A responder that will not be stopped must not hold its caller.
                log.warning("candidate.stubborn", attempts=len(stubborn))


def _finishes(batch: list[Said]) -> int:
    return sum(isinstance(delta, Finish) for said in batch for delta in said.deltas)


def _is_done(batch: list[Said]) -> bool:
    return any(isinstance(delta, Done) for said in batch for delta in said.deltas)


def _until_failure(batch: list[Said]) -> tuple[list[Said], CompletionsError | None]:
    """What came before the upstream said that it failed, and that failure."""
    for position, said in enumerate(batch):
        for delta in said.deltas:
            if isinstance(delta, Failure):
                return batch[:position], delta.error
    return batch, None
