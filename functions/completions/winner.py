"""The winner's answer, read to its end: by its terminator, its finish, a cut or a stall.

What has arrived together is handed on together. Knows nothing of who else might answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Self

from completions.attempts import SILENCE, Attempt, Event, is_done
from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.said import Done, Failure, Finish, Said, Text

LINGER_S = 0.5
"""After a finish frame: so long we wait for usage and the terminator."""
TICK_S = 0.001
"""Timers may fire this much early, as the event loop's clock is no finer than its scheduler."""
_AGAIN_S = 0.1


async def read_on(
    winner: Attempt, events: asyncio.Queue[Event], *, stall_s: float, answers: int
) -> AsyncGenerator[list[Said], None]:
    """Everything from the winner's first frame (`winner.held`) on.

    `stall_s` 0 waits for ever; of `answers` in one stream each has a finish, and the last one is
    the end. Raises the CompletionsError that cut the answer off, after all that came before it.
    """
    batch, end = winner.held, None
    finishes, news = 0, True
    with _Watchdog(lambda: _ring(events)) as watchdog:
        while True:
            # Keep-alives do not hide a stall, and nothing after the finish prolongs it.
            news = finishes < answers and any(said.alive for said in batch)
            winner.held = batch
            heard, ended, failure = _until_end(batch)
            finishes += ended
            finished = finishes >= answers
            yield heard
            if failure is not None:
                raise failure
            if winner.closed or is_done(heard[-1:]):
                return
            if end is not None:
                events.put_nowait(end)
            while True:
                if news:
                    watchdog.allow(LINGER_S if finished else stall_s)
                attempt, more, error = await events.get()
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


def _more(winner: Attempt, events: asyncio.Queue[Event], batch: list[Said]) -> Event | None:
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


def _until_end(batch: list[Said]) -> tuple[list[Said], int, CompletionsError | None]:
    """What came before the terminator, or before the upstream said that it failed; and why.

    Between them how many answers finished in it.
    """
    finishes = 0
    for position, said in enumerate(batch):
        for delta in said.deltas:
            kind = type(delta)
            if kind is Text:
                continue  # The common one, apart for its speed.
            if kind is Finish:
                finishes += 1
            elif isinstance(delta, Failure):
                return batch[:position], finishes, delta.error
            elif kind is Done:
                return batch[: position + 1], finishes, None
    return batch, finishes, None


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
        elif not self._ring():
            self._look_at(self._loop.time() + _AGAIN_S)
