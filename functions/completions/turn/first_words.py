"""The wait for an answer's first words: buffer words, an early start, the end of the budget.

The turn awaits the answer itself and the timers run beside it, so that words pass through no extra
task or queue. Knows time and what was heard, not who answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from completions.dialects.deltas import Chunk
from completions.dialects.dialect import Writer
from completions.errors import UpstreamTimeout
from completions.race.timeouts import TICK_S
from completions.speech.buffer_words import BUFFER_WORDS_LIMIT
from completions.turn.answer import Answer
from completions.turn.plan import SECOND_BUFFER_WORDS_S, Plan
from completions.turn.response import ResponseSender

START_AFTER_S = 0.002
"""Start the response this long after the request was written, unless the model answers first."""
_PASSES = 8
"""Passes through the event loop that words may need and still beat a timer of the same moment."""


class FirstWords:
    """Reads a turn's answers until something is audible. One per turn."""

    def __init__(self, plan: Plan, writer: Writer, response: ResponseSender) -> None:
        self._plan = plan
        self._record = plan.record
        self._writer = writer
        self._response = response
        self._loop = asyncio.get_running_loop()
        self.budget_ends = plan.budget_ends
        """When something must be audible (loop time); None for no limit."""
        self._buffer_words_left = True
        self._answer: Answer | None = None
        """The answer that the turn waits for, if any."""
        self._limit = asyncio.timeout(None)
        self._timer: asyncio.Handle | None = None
        self._lost: BaseException | None = None
        """Why something written during the wait could not be sent to the caller."""
        if plan.starts_early:
            plan.requests.on_written = self._note_asked

    async def next(
        self, answer: Answer, batches: AsyncGenerator[list[Chunk], None]
    ) -> list[Chunk] | None:
        """Return the answer's next batch; the turn's timers run until something is audible.

        Raises:
            UpstreamTimeout: the budget ended.
            OSError: the caller is gone.
            CompletionsError: as the answer does.
        """
        self._answer = answer
        self._set_timer()
        try:
            async with asyncio.timeout(None) as self._limit:
                return await anext(batches, None)
        except TimeoutError:
            if not self._limit.expired():
                raise
            raise self._lost or UpstreamTimeout("No model answered in time.") from None
        finally:
            self._answer = None
            if self._timer is not None:
                self._timer.cancel()

    # The response's start.

    def _note_asked(self) -> None:
        self._loop.call_later(START_AFTER_S, self._start)

    def _start(self) -> None:
        """Start the response while the model works: less is left to do at its first words."""
        if self._answer is not None and not self._response.started:
            self._response.write_in_background(b"").add_done_callback(self._is_sent)

    # Time.

    def _set_timer(self) -> None:
        moments = (self._buffer_words_due_at(), self.budget_ends)
        moment = min((moment for moment in moments if moment is not None), default=None)
        self._timer = None if moment is None else self._loop.call_at(moment, self._on_time)

    def _buffer_words_due_at(self) -> float | None:
        first = self._plan.buffer_words_due_at
        answer = self._answer
        spoken = (answer is not None and answer.speaking) or self._record.words
        if first is None or not self._buffer_words_left or spoken:
            return None
        return first + SECOND_BUFFER_WORDS_S * self._record.buffer_words_count

    def _on_time(self, passes: int = _PASSES) -> None:
        if passes:
            self._timer = self._loop.call_soon(self._on_time, passes - 1)
            return
        now = self._loop.time() + TICK_S
        if self.budget_ends is not None and self.budget_ends <= now:
            self._give_up()
            return
        at = self._buffer_words_due_at()
        if at is not None and at <= now:
            self._say_buffer_words()
        self._set_timer()

    def _say_buffer_words(self) -> None:
        record = self._record
        phrase = self._plan.next_buffer_words(record.buffer_words_count, record.last_buffer_words)
        if phrase is None:
            # Nothing to say: the timer must not fire again.
            self._buffer_words_left = False
            return
        record.said_buffer_words(phrase, self._loop.time())
        self._buffer_words_left = record.buffer_words_count < BUFFER_WORDS_LIMIT
        if self._answer is not None:
            self._answer.follows_buffer_words(phrase)
        sending = self._response.write_in_background(self._writer.buffer_words(phrase))
        sending.add_done_callback(self._is_sent)

    def _is_sent(self, sending: asyncio.Task[None]) -> None:
        if self._answer is not None and not sending.cancelled() and (lost := sending.exception()):
            self._lost = lost
            self._give_up()

    def _give_up(self) -> None:
        if not self._limit.expired():
            self._limit.reschedule(self._loop.time())
