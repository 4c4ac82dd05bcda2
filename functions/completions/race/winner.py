"""The winner's answer, read to its end: the terminator, the finish, a cut or a stall.

What arrives together is handed on together. Knows nothing of who else might answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Self

from completions.dialects.deltas import Chunk, Done, Failure, Finish, Text
from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.race.attempts import STALLED, Attempt, Event, is_done, next_of

LINGER_S = 0.5
"""How long to wait for usage and the terminator after the finish."""
TICK_S = 0.001
"""Timers may fire this much early: the event loop's clock is no finer than its scheduler."""
_LOOK_AGAIN_S = 0.1


async def read_on(
    winner: Attempt, events: asyncio.Queue[Event], *, stall_s: float, answers: int
) -> AsyncGenerator[list[Chunk], None]:
    """Yield the answer from its first chunks (`winner.held`) on, in batches.

    `stall_s` bounds a silence, 0 disables that. Of several `answers` in one stream each has a
    finish, and the last finish is the end.

    Raises:
        CompletionsError: what cut the answer off, after all that came before it.
    """
    batch, end = winner.held, None
    finishes, news = 0, True
    with _Watchdog(lambda: winner.rest is None and _queue_stall(events)) as watchdog:
        while True:
            # Keep-alives do not hide a stall, and nothing after the finish prolongs the wait.
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
                    watchdog.restart(LINGER_S if finished else stall_s)
                if winner.rest is None or not events.empty():
                    attempt, more, error = await events.get()
                else:
                    attempt, more, error = await watchdog.bound(next_of(winner))
                if attempt is winner or (attempt is None and watchdog.expired):
                    break
                # Else a loser's last words, or a stall while our own caller was slow to read.
            if more is None:
                if finished:
                    return
                if attempt is None:
                    error = UpstreamTimeout("The upstream fell silent in mid-answer.")
                raise error or UpstreamUnavailable("The upstream's answer broke off.")
            batch, end = more, _more(winner, events, more)


def _more(winner: Attempt, events: asyncio.Queue[Event], batch: list[Chunk]) -> Event | None:
    """Add what else has come already, so that a burst is one write; return the answer's end.

    Nothing is added to a batch that holds the terminator.
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
    """Cut a batch at the terminator, or where the upstream says that it failed.

    Return the chunks before it, how many answers finish in them, whether they are more than
    keep-alives, whether the terminator came, and the failure.
    """
    finishes, alive = 0, False
    for position, chunk in enumerate(batch):
        alive = alive or chunk.alive
        for delta in chunk.deltas:
            kind = type(delta)
            if kind is Text:
                continue  # The common delta, apart for its speed.
            if kind is Finish:
                finishes += 1
            elif isinstance(delta, Failure):
                return batch[:position], finishes, alive, False, delta.error
            elif kind is Done:
                return batch[: position + 1], finishes, alive, True, None
    return batch, finishes, alive, False, None


def _queue_stall(events: asyncio.Queue[Event]) -> bool:
    """Put a stall into the queue, unless there is something to read; return whether it was put."""
    if not events.empty():
        return False
    events.put_nowait(STALLED)
    return True


class _Watchdog:
    """Report a stall. Restarting it costs an assignment, not a timer."""

    def __init__(self, report: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self._report = report
        self._limit_s = 0.0
        self._ends_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._cancelled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer:
            self._timer.cancel()

    def restart(self, limit_s: float) -> None:
        """Reset the deadline to `limit_s` seconds from now; 0 disables it."""
        self._ends_at = self._loop.time() + limit_s
        if limit_s != self._limit_s or self._timer is None:
            self._limit_s = limit_s
            self._look_at(self._ends_at)

    async def bound(self, event: Coroutine[Any, Any, Event]) -> Event:
        """Return the event, or STALLED when the deadline cancels the wait for it."""
        task = self._waiting = asyncio.current_task()
        assert task is not None  # noqa: S101 - coroutines are awaited in tasks
        cancelling = task.cancelling()
        try:
            return await event
        except asyncio.CancelledError:
            # As asyncio's own time-outs tell their cancellation from everybody else's.
            if self._cancelled and task.uncancel() <= cancelling:
                return STALLED
            raise
        finally:
            self._waiting = None

    @property
    def expired(self) -> bool:
        """True once the deadline has passed."""
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
            self._cancelled = self._waiting.cancel()
        elif not self._report():
            self._look_at(self._loop.time() + _LOOK_AGAIN_S)
