"""A long pause in mid-answer, covered by buffer words once a turn.

Where a model stops after a sentence, to think or to write a call, the caller hears nothing, and
may take it for a dropped line. Knows time and what was spoken; nothing of why the model pauses.
"""

from __future__ import annotations

import asyncio

from completions.dialects.dialect import Writer
from completions.speech.buffer_words import BUFFER_WORDS_LIMIT
from completions.speech.sentences import ends_sentence
from completions.turn.plan import Plan
from completions.turn.response import ResponseSender

SPEECH_CHARS_PER_S = 15.0
"""About 160 English words a minute: a pause begins when the words before it have been spoken."""
LOOK_S = 0.5
"""How often to look for a pause: a chunk costs nothing, a pause is noticed this much later."""


class PauseCover:
    """Covers one pause of a streamed turn; `start` it at an answer's first words."""

    def __init__(self, plan: Plan, writer: Writer, response: ResponseSender) -> None:
        self._plan = plan
        self._record = plan.record
        self._writer = writer
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._pieces = 0
        self._last_seen_at = 0.0
        self._spoken_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._covered = False
        self.writing: asyncio.Task[None] | None = None
        """Buffer words on their way; await `written` before anything else is written."""

    def start(self) -> None:
        """Begin to look for a pause, if one may be covered in this turn."""
        plan = self._plan
        may_cover = plan.speaks and plan.pause_after_s and not self._covered
        if may_cover and self._timer is None and self._record.buffer_words < BUFFER_WORDS_LIMIT:
            self._count_new(self._loop.time())
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def stop(self) -> None:
        """Stop looking; buffer words on their way still leave."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abandon(self) -> None:
        """Stop everything: the turn is over, and nobody may be there to take what is written."""
        self.stop()
        if self.writing is not None:
            self.writing.cancel()

    async def written(self) -> None:
        """Return once the buffer words have left: what follows must not overtake them.

        Raises:
            OSError: the caller is gone.
        """
        writing, self.writing = self.writing, None
        if writing is not None:
            await writing

    def _count_new(self, now: float) -> None:
        """Note how long the words that have come since the last look will be spoken."""
        new = sum(map(len, self._record.words[self._pieces :]))
        self._pieces, self._last_seen_at = len(self._record.words), now
        self._spoken_until = max(self._spoken_until, now) + new / SPEECH_CHARS_PER_S

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        record, now = self._record, self._loop.time()
        if len(record.words) != self._pieces:
            self._count_new(now)
            return
        after_s = self._plan.pause_after_s
        if now - max(self._last_seen_at, self._spoken_until) < after_s:
            return
        if not ends_sentence(record.text):
            return
        phrase = self._plan.next_buffer_words(record.buffer_words, record.last_buffer_words)
        self._timer.cancel()
        self._timer = None
        if phrase is not None:
            self._covered = True
            record.buffer_words += 1
            record.last_buffer_words = phrase
            space = "" if record.text[-1:].isspace() else " "
            # Written by a task of its own: the turn waits for the model.
            out = self._writer.text(space + phrase)
            self.writing = asyncio.create_task(self._response.write(out))
