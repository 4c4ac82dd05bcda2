"""Cover a long pause after words with buffer words: one pause a turn.

When a model stops after a sentence, to think or to write a call, or when another answer is asked
for, the caller hears nothing and may think that the line dropped. Knows time and what was spoken,
not why there is silence.
"""

from __future__ import annotations

import asyncio
import math

from completions.dialects.dialect import Writer
from completions.speech.buffer_words import BUFFER_WORDS_LIMIT
from completions.speech.sentences import ends_sentence, spoken_after
from completions.turn.plan import SECOND_BUFFER_WORDS_S, Plan
from completions.turn.response import ResponseSender

SPEECH_CHARS_PER_S = 15.0
"""About 160 English words a minute: a pause begins when the words before it have been spoken."""
LOOK_S = 0.5
"""Interval between checks; a pause is noticed at most this late, and chunks cost nothing."""


class PauseCover:
    """Covers one pause of a streamed turn. `start` it after words, `stop` it at the turn's end."""

    def __init__(self, plan: Plan, writer: Writer, response: ResponseSender) -> None:
        self._plan = plan
        self._record = plan.record
        self._writer = writer
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._pieces = 0
        self._last_seen_at = 0.0
        self._spoken_until = 0.0
        self._timer: asyncio.Handle | None = None
        self._covered_at: float | None = None
        self._between_answers = False

    def start(self, *, between_answers: bool = False) -> None:
        """Begin to look for a pause, if one may be covered in this turn.

        Between two answers our words may follow anything; otherwise only a whole sentence.
        """
        plan = self._plan
        self._between_answers = between_answers
        if (
            plan.fails_in_words
            and plan.pause_after_s
            and self._timer is None
            and self._record.words
        ):
            self._count_new(self._loop.time())
            self._look_again()

    def stop(self) -> None:
        """Stop looking; buffer words that are being sent still leave."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)

    def _look(self, passes: int = 3) -> None:
        record, now = self._record, self._loop.time()
        if len(record.words) != self._pieces or self._response.sending:
            self._count_new(now)
        elif now >= self._due_at():
            if passes:
                # The process may have been paused: read what is in the socket first.
                self._timer = self._loop.call_soon(self._look, passes - 1)
                return
            self._cover(now)
        self._look_again()

    def _count_new(self, now: float) -> None:
        """Note how long it takes to speak the words that came since the last look.

        Time does not count while the caller is slow to take what is sent.
        """
        new = sum(map(len, self._record.words[self._pieces :]))
        self._pieces, self._last_seen_at = len(self._record.words), now
        self._spoken_until = max(self._spoken_until, now) + new / SPEECH_CHARS_PER_S

    def _due_at(self) -> float:
        """Return when words of ours are due, by the same rule as at a turn's start."""
        if self._record.buffer_words_count >= BUFFER_WORDS_LIMIT:
            return math.inf
        pause_at = max(self._last_seen_at, self._spoken_until)
        if self._covered_at is None:
            return pause_at + self._plan.pause_after_s
        return self._covered_at + SECOND_BUFFER_WORDS_S if pause_at < self._covered_at else math.inf

    def _cover(self, now: float) -> None:
        record = self._record
        if not (self._between_answers or ends_sentence(record.text)):
            return
        phrase = self._plan.next_buffer_words(record.buffer_words_count, record.last_buffer_words)
        if phrase is None:
            return
        words = spoken_after(record.text, phrase)
        if self._covered_at is not None:
            words = phrase  # After other buffer words, which end in their own pause.
        elif separator := words.removesuffix(phrase):
            # Part of what was said, so that what comes next is not set apart again.
            record.words.append(separator)
            self._pieces += 1
        self._covered_at = now
        record.said_buffer_words(phrase, now)
        # Not awaited, because the turn waits for a model.
        self._response.write_in_background(self._writer.text(words))
