"""The winner's answer, read to its end: the terminator, the finish, a cut or a stall.

Passes on together what arrives together. Does not know who else might answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from enum import IntEnum
from typing import Any, Self

from completions.dialects.deltas import (
    CallPart,
    Chunk,
    Delta,
    Done,
    Failure,
    Finish,
    Held,
    Other,
    Reasoning,
    Refusal,
    Text,
)
from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.immutable import immutable
from completions.race.attempts import STALLED, Attempt, Event, end_of, is_done
from completions.race.timeouts import LINGER_S, TICK_S
from completions.speech.sentences import has_words

_LOOK_AGAIN_S = 0.1


@immutable
class SilenceLimits:
    """How long the winner may be silent, in seconds; 0 disables a limit."""

    stall_s: float = 0.0
    """Without a sign of life: the answer is cut."""
    unspoken_s: float = 0.0
    """With nothing but reasoning and pieces of calls: the answer is cut."""
    others_heard_at: Callable[[], float] = lambda: 0.0
    """When the caller last heard other words than the winner's: `unspoken_s` counts from there."""


async def read_on(
    winner: Attempt, events: asyncio.Queue[Event], *, silence_limits: SilenceLimits, answers: int
) -> AsyncGenerator[list[Chunk], None]:
    """Yield the answer from its first chunks (`winner.held`) on, in batches.

    If a stream has several `answers`, each has a finish, and the last finish is the end.

    Raises:
        CompletionsError: what cut the answer off, after everything that came before.
    """
    batch, end = winner.held, None
    finishes = 0
    direct = False

    def report() -> None:
        """Put a stall into the queue if the reader waits there: there is nothing else to read."""
        if winner.rest is None and events.empty():
            events.put_nowait(STALLED)

    with _Watchdog(report, silence_limits) as watchdog:
        while True:
            # Nothing after the finish prolongs the wait for the terminator.
            finished = finishes >= answers
            winner.held = batch
            heard, ended, life_sign, done, failure = _until_end(batch)
            finishes += ended
            yield heard
            if failure is not None:
                raise failure
            if winner.closed or done:
                return
            if end is not None:
                events.put_nowait(end)
            if not finished:
                if finishes >= answers:
                    watchdog.linger()
                else:
                    watchdog.saw(life_sign)
            while True:
                # Once its task has ended and all that it queued is read, no other event counts.
                direct = direct or (winner.rest is not None and events.empty())
                if direct and winner.rest is not None:
                    attempt, more, error = await watchdog.next_of(winner, winner.rest)
                else:
                    attempt, more, error = await events.get()
                if (attempt is winner and more != []) or (attempt is None and watchdog.expired):
                    break
                # Otherwise a loser's last event, or a stall while our caller was slow to read.
            if more is None:
                if finishes >= answers:
                    return
                if attempt is None:
                    error = UpstreamTimeout("The upstream fell silent in mid-answer.")
                raise error or UpstreamUnavailable("The upstream's answer broke off.")
            batch, end = more, None if direct else _more(winner, events, more)


def _more(winner: Attempt, events: asyncio.Queue[Event], batch: list[Chunk]) -> Event | None:
    """Add what has already come, so that a burst is one write; return the answer's end.

    Add nothing to a batch that has the terminator.
    """
    done = is_done(batch)
    while not done and not events.empty():
        event = events.get_nowait()
        attempt, more, _ = event
        if attempt is winner and more is None:
            return event
        if attempt is winner and more is not None:
            batch += more
            done = is_done(more)
    return None


class LifeSign(IntEnum):
    """What a batch proves about its model."""

    NONE = 0
    """Nothing: keep-alives, empty deltas, blanks."""
    UNSPOKEN = 1
    """It works: reasoning, pieces of calls, text that is held back."""
    SPOKEN = 2
    """It speaks, or ends."""


def _until_end(
    batch: list[Chunk],
) -> tuple[list[Chunk], int, LifeSign, bool, CompletionsError | None]:
    """Cut a batch at the terminator, or where the upstream says that it failed.

    Return the chunks before it, how many answers finish in them, what they prove, whether the
    terminator came, and the failure.
    """
    finishes, life_sign = 0, LifeSign.NONE
    for position, chunk in enumerate(batch):
        for delta in chunk.deltas:
            if type(delta) is Text:  # The common delta comes first, for speed.
                if life_sign is not LifeSign.SPOKEN and has_words(delta.text):
                    life_sign = LifeSign.SPOKEN
            elif type(delta) is Finish:
                finishes += 1
            elif isinstance(delta, Failure):
                return batch[:position], finishes, life_sign, False, delta.error
            elif type(delta) is Done:
                return batch[: position + 1], finishes, life_sign, True, None
            elif isinstance(delta, Refusal | Other):
                life_sign = LifeSign.SPOKEN
            elif life_sign is LifeSign.NONE and _is_work(delta):
                life_sign = LifeSign.UNSPOKEN
    return batch, finishes, life_sign, False, None


def _is_work(delta: Delta) -> bool:
    if isinstance(delta, Reasoning):
        return has_words(delta.text)
    if isinstance(delta, Held):
        return True
    return isinstance(delta, CallPart) and bool(delta.name or delta.arguments.strip())


class _Watchdog:
    """Report a stall. A batch costs two assignments: the deadline is computed when a timer fires.

    Signs of life only move it later, so they never need a new timer.
    """

    def __init__(self, report: Callable[[], None], silence_limits: SilenceLimits) -> None:
        self._loop = asyncio.get_running_loop()
        self._report = report
        self._silence_limits = silence_limits
        self._alive_at = self._spoken_at = self._loop.time()
        self._end: float | None = None
        """The deadline once the answer has finished, which nothing moves."""
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._watches = False
        """False until the first batch has been read: no timer is set before the first words."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end = math.inf
        self._look_at(math.inf)

    def saw(self, life_sign: LifeSign) -> None:
        """Note what a batch has proved."""
        if life_sign is LifeSign.SPOKEN:
            self._alive_at = self._spoken_at = self._loop.time()
        elif life_sign is LifeSign.UNSPOKEN:
            self._alive_at = self._loop.time()
        if not self._watches:
            self._watches = True
            self._look_at(self._ends_at)

    def linger(self) -> None:
        """Give a finished answer a moment for its terminator."""
        self._watches = True
        self._end = self._loop.time() + LINGER_S
        self._look_at(self._end)

    async def next_of(self, winner: Attempt, rest: AsyncGenerator[list[Chunk], None]) -> Event:
        """Read the winner's next event, or return STALLED when the deadline cancels the wait.

        `rest` is the winner's: the rest of an answer that was handed over.
        """
        task = self._waiting = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - coroutines are awaited in tasks
        cancelling = task.cancelling()
        try:
            return winner, await anext(rest), None
        except asyncio.CancelledError as error:
            # asyncio's time-outs tell their own cancellation from others in the same way.
            if self._cancelled and task.uncancel() <= cancelling:
                return STALLED
            if task.cancelling() > cancelling:
                raise
            return end_of(winner, error)
        except Exception as error:
            return end_of(winner, error)
        finally:
            self._waiting = None

    @property
    def expired(self) -> bool:
        """True once the deadline has passed."""
        return self._loop.time() + TICK_S >= self._ends_at

    @property
    def _ends_at(self) -> float:
        if self._end is not None:
            return self._end
        stall_s, unspoken_s = self._silence_limits.stall_s, self._silence_limits.unspoken_s
        ends_at = self._alive_at + stall_s if stall_s else math.inf
        if unspoken_s:
            heard_at = max(self._spoken_at, self._silence_limits.others_heard_at())
            ends_at = min(ends_at, heard_at + max(unspoken_s, stall_s))
        return ends_at

    def _look_at(self, moment: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._look) if moment < math.inf else None

    def _look(self) -> None:
        self._timer = None
        self._report_if_expired(passes=3)

    def _report_if_expired(self, passes: int) -> None:
        if self._timer is not None:
            return  # The answer has finished meanwhile.
        if not self.expired:
            self._look_at(self._ends_at)
        elif passes:
            # The process may have been paused: read what is in the socket first.
            self._loop.call_soon(self._report_if_expired, passes - 1)
        elif self._waiting is not None:
            self._cancelled = self._waiting.cancel()
        else:
            self._report()
            self._look_at(self._loop.time() + _LOOK_AGAIN_S)
