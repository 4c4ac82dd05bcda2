"""One model answer on its way to the caller: relayed, filtered, its calls held until whole.

A turn that asks again makes a new one for each answer. Knows what a chunk becomes on the wire, but
no time, and not how a turn ends.
"""

from __future__ import annotations

import asyncio
from typing import Any

from completions.dialects.deltas import (
    CallPart,
    Chunk,
    Delta,
    Done,
    Finish,
    Other,
    Reasoning,
    Refusal,
    Rewrite,
    Text,
    Usage,
)
from completions.dialects.dialect import Writer
from completions.dialects.obfuscation import without_padding
from completions.dialects.request import ParsedRequest
from completions.errors import UpstreamUnavailable
from completions.speech.buffer_words import RepeatFilter
from completions.speech.sentences import spoken_after
from completions.tools.held_calls import HeldCalls, Judgement
from completions.turn.record import TurnRecord


class Answer:
    """One answer. Feed it chunks with `pass_on`, then `flush` once; `calls` are for the end."""

    def __init__(self, request: ParsedRequest, writer: Writer, record: TurnRecord) -> None:
        self._request = request
        self._writer = writer
        self._record = record
        self._single = request.single
        self._loop = asyncio.get_running_loop()
        self.audible = False
        """True once the caller has heard the model's words or got something unspoken of it."""
        self.speaking = False
        """True once the model has sent text, though all of it may still be a copy of ours."""
        self._has_spoken = False
        self.calls = HeldCalls(request.tools)
        self.finish = ""
        self.done = False
        """True once the terminator has come."""
        self.usage: dict[str, Any] | None = None
        self._copy: RepeatFilter | None = None

    def follows_buffer_words(self, phrase: str) -> None:
        """Remove a copy of `phrase`, which was just spoken, if the model begins with it."""
        self._copy = RepeatFilter(phrase)

    @property
    def is_nothing(self) -> bool:
        """True if no word and no call came, or only a copy of our own buffer words."""
        return self._single and not self.audible and not self.calls

    def pass_on(self, chunk: Chunk) -> bytes:
        """Return what to send for a chunk; calls and the finish are held until the end."""
        if not self._single:
            return self._pass_on_raw(chunk)
        if not self.audible and self._record.words:
            chunk = self._set_apart(chunk)
        deltas = chunk.deltas
        if len(deltas) == 1 and type(word := deltas[0]) is Text and self._copy is None:
            # The common chunk comes first, for speed.
            if self._has_spoken:
                self._record.words.append(word.text)
            elif word.text:
                self._note_spoken(word.text)
            return self._writer.relay(chunk) if chunk.sse else self._written(word)
        if any(isinstance(delta, CallPart) for delta in deltas):
            self.calls.add(chunk)
            rest = tuple(delta for delta in deltas if not isinstance(delta, CallPart))
            if not rest:
                return b""
            chunk = Chunk(chunk.sse, rest, unchanged=False, source=chunk.source)
        if self._copy is not None:
            chunk = self._without_copy(chunk, self._copy)
        for delta in chunk.deltas:
            if (isinstance(delta, Text) and delta.text) or isinstance(delta, Refusal):
                self._note_spoken(delta.text)
            elif isinstance(delta, Finish):
                self.finish = delta.reason
            elif isinstance(delta, Done):
                self.done = True
            elif isinstance(delta, Usage):
                self.usage = delta.usage
            elif isinstance(delta, Other):
                self.note_output()
        if chunk.sse is not None:
            return self._writer.relay(chunk)
        return b"".join(self._written(delta) for delta in chunk.deltas)

    def flush(self) -> bytes:
        """Return the text that was held as a possible copy of our buffer words."""
        rest = self._copy.flush() if self._copy else ""
        self._copy = None
        if not rest:
            return b""
        self._note_spoken(rest)
        return self._writer.text(rest)

    def judge_calls(self) -> Judgement:
        """Check the held calls against the tools of the request."""
        return self.calls.judge(self._record.text)

    def drop_unfinished_calls(self) -> None:
        """Keep the calls that are already whole, because the answer was cut."""
        self.calls = self.calls.complete_calls()

    def note_output(self) -> None:
        """Note that the caller gets something of the model's."""
        if not self.audible:
            self.audible = True
            self._record.model_spoke(self._loop.time())

    def _pass_on_raw(self, chunk: Chunk) -> bytes:
        """Pass on one of several answers (`n` > 1) unchanged: checking them is the caller's job."""
        if chunk.sse and chunk.sse.data and not chunk.sse.raw:
            raise UpstreamUnavailable("The upstream does not stream several answers.")
        self.audible = True
        only_usage = chunk.deltas and all(isinstance(delta, Usage) for delta in chunk.deltas)
        self.done = Done() in chunk.deltas
        if chunk.sse is None or self.done or chunk.deltas == (Rewrite(),):
            return b""
        return (
            b"" if only_usage and not self._request.wants_usage else without_padding(chunk.sse.raw)
        )

    def _written(self, delta: Delta) -> bytes:
        if isinstance(delta, Text | Refusal):
            return self._writer.text(delta.text) if delta.text else b""
        if isinstance(delta, Reasoning):
            return self._writer.reasoning(delta.text)
        return b""

    def _note_spoken(self, text: str) -> None:
        self._has_spoken = True
        self._record.words.append(text)
        if self._record.first_spoken_at is None:
            self._record.spoke(self._loop.time())
        if not self.audible:
            self.note_output()

    def _set_apart(self, chunk: Chunk) -> Chunk:
        """Return the first words of a further answer, separated from what was heard before."""
        for position, delta in enumerate(chunk.deltas):
            if isinstance(delta, Text) and delta.text.strip():
                text = spoken_after(self._record.text, delta.text)
                deltas = (*chunk.deltas[:position], Text(text), *chunk.deltas[position + 1 :])
                unchanged = chunk.unchanged and text == delta.text
                return Chunk(chunk.sse, deltas, unchanged, chunk.source)
        return chunk

    def _without_copy(self, chunk: Chunk, copy: RepeatFilter) -> Chunk:
        deltas: list[Delta] = []
        for delta in chunk.deltas:
            if isinstance(delta, Text):
                self.speaking = True
                if text := copy.feed(delta.text):
                    deltas.append(Text(text))
            elif isinstance(delta, Finish | Done):
                deltas += [Text(rest)] if (rest := copy.flush()) else []
                deltas.append(delta)
            else:
                deltas.append(delta)
        unchanged = chunk.unchanged and tuple(deltas) == chunk.deltas
        return Chunk(chunk.sse, tuple(deltas), unchanged, chunk.source)
