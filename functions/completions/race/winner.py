"""The winner's answer, read to its end: by its terminator, its finish, a cut or a stall.

What has arrived together is handed on together. Knows nothing of who else might answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Self

from completions.dialects.deltas import Chunk, Done, Failure, Finish, Text
from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.race.attempts import SILENCE, Attempt, Event, is_done, next_of

LINGER_S = 0.5
"""After a finish frame: so long we wait for usage and the terminator."""
TICK_S = 0.001
"""Timers may fire this much early, as the event loop's clock is no finer than its scheduler."""
_AGAIN_S = 0.1


async def read_on(
    winner: Attempt, events: asyncio.Queue[Event], *, stall_s: float, answers: int
) -> AsyncGenerator[list[Chunk], None]:
    """Everything from the winner's first frame (`winner.held`) on.

    `stall_s` 0 waits for ever; of `answers` in one stream each has a finish, and the last one is
    the end. Raises the CompletionsError that cut the answer off, after all that came before it.
    """
    batch, end = winner.held, None
    finishes, news = 0, True
    with _Watchdog(lambda: winner.rest is None and _ring(events)) as watchdog:
        while True:
            # Keep-alives do not hide a stall, and nothing after the finish prolongs it.
            unfinished = finishes < answers
            winner.held = batch
            heard, ended, alive, done, failure = _until_end(batch)
            news = unfinished and alive
            finishes += ended
            finished = finishes >= answers
            yield heard
            if failure is not None:
                raise failure
            if winner.closed or done:
                return
            if end is not None:
                events.put_nowait(end)
            while True:
                if news:
                    watchdog.allow(LINGER_S if finished else stall_s)
                if winner.rest is None or not events.empty():
                    attempt, more, error = await events.get()
                else:
                    attempt, more, error = await watchdog.bounds(next_of(winner))
                if attempt is winner or (attempt is None and watchdog.expired):
                    break
                # Else a loser's last words, or it rang while our own caller was slow to read.
            if more is None:
                if finished:
                    return
                if attempt is None:
                    error = UpstreamTimeout("The upstream fell silent in mid-answer.")
                raise error or UpstreamUnavailable("The upstream's answer broke off.")
            batch, end = more, _more(winner, events, more)


def _more(winner: Attempt, events: asyncio.Queue[Event], batch: list[Chunk]) -> Event | None:
    """Adds what else is here already: one write for a burst. The answer's end is handed back.

    A batch that holds the terminator is not added to.
    """
    if events.empty():
        return None
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


def _until_end(batch: list[Chunk]) -> tuple[list[Chunk], int, bool, bool, CompletionsError | None]:
    """What came before the terminator, or before the upstream said that it failed; and why.

    Between them how many answers finished in it, whether it was more than keep-alives, and whether
    the terminator was there.
    """
    finishes, alive = 0, False
    for position, chunk in enumerate(batch):
        alive = alive or chunk.alive
        for delta in chunk.deltas:
            kind = type(delta)
            if kind is Text:
                continue  # The common one, apart for its speed.
            if kind is Finish:
                finishes += 1
            elif isinstance(delta, Failure):
                return batch[:position], finishes, alive, False, delta.error
            elif kind is Done:
                return batch[: position + 1], finishes, alive, True, None
    return batch, finishes, alive, False, None


def _ring(events: asyncio.Queue[Event]) -> bool:
    """Tells of silence; not while there is something to read."""
    if not events.empty():
        return False
    events.put_nowait(SILENCE)
    return True


class _Watchdog:
    """Rings when nothing was allowed for too long. A word costs an assignment, not a timer."""

    def __init__(self, ring: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ring = ring
        self._limit_s = 0.0
        self._ends_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._rang = False

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
            self._look_at(self._ends_at)

    async def bounds(self, event: Coroutine[Any, Any, Event]) -> Event:
        """The event, or SILENCE when the allowance is used up: the wait for it is cancelled."""
        task = self._waiting = asyncio.current_task()
        assert task is not None  # noqa: S101 - who awaits is one
        cancelling = task.cancelling()
        try:
            return await event
        except asyncio.CancelledError:
            # As asyncio's own time-outs tell their cancellation from everybody else's.
            if self._rang and task.uncancel() <= cancelling:
                return SILENCE
            raise
        finally:
            self._waiting = None

    @property
    def expired(self) -> bool:
        """Whether the allowance is used up."""
        return self._loop.time() + TICK_S >= self._ends_at

    def _look_at(self, moment: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._look) if self._limit_s else None

    def _look(self) -> None:
        self._timer = None
        if not self.expired:
            self._look_at(self._ends_at)
        elif self._waiting is not None:
            self._rang = self._waiting.cancel()
        elif not self._ring():
            self._look_at(self._loop.time() + _AGAIN_S)
