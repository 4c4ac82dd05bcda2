"""One answer as it is heard: speech is separated from thoughts, marks, calls and repeats.

Takes deltas and returns deltas: what a model wrote into its text instead of a protocol field
becomes the delta of that field. Of the request it knows only what may be called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from completions.dialects.deltas import (
    CallPart,
    Delta,
    Done,
    Finish,
    Held,
    Reasoning,
    Refusal,
    Text,
)
from completions.dialects.request import ParsedRequest
from completions.speech.marks import MARK, may_hold_mark
from completions.speech.scanner import Scanner, without_marks
from completions.speech.text_parts import CallText, Part
from completions.tools.bare_calls import BARE_START, LIMIT_CHARS, bare_call, may_be_bare
from completions.tools.dictated_calls import Dictation
from completions.tools.loose_json import read_strictly
from completions.tools.written_calls import WrittenCall, looks_like_call, read_calls

REPEAT_CHARS = 40
"""A repeat of the whole answer is dropped from this length on; a shorter one may be meant."""
_BEGINNING_CHARS = 256
"""Enough of an answer to see whether it can be a call without marks."""
_BLANKS = 16
"""How much longer than its repeat a text may be: line ends around it do not count."""


class SpokenAnswer:
    """Hears one answer: pass all of its deltas to `hear`, in order."""

    def __init__(self, request: ParsedRequest, *, guess_chars: int = 0) -> None:
        """Prepare to hear one answer; for `guess_chars` see `Scanner`."""
        self._request = request
        self._offered = request.offered
        # A call is held back even where nothing may be called: nobody wants to hear it.
        calls = bool(self._offered) or request.speakable
        self._scanner = Scanner(calls=calls, guess_chars=guess_chars)
        self._dictation = Dictation(request.user_text)
        self._said: list[str] = []
        self._keep = self._said.append
        self._counted = self._said_chars = 0
        """How many pieces of `_said` have been counted, and their length."""
        self._repeat: list[str] = []
        """A repeat of all that was said, and blanks after it: dropped if the answer ends there."""
        self._bare: list[str] = []
        """Text that may be a call without marks, so far."""
        self._seeks_bare = self._may_be_bare = bool(self._offered) and request.plain
        self._called = False
        self._passes = False
        """True while any text is speech unless it holds the first character of a mark."""

    @property
    def guessing(self) -> bool:
        """See `Scanner.guessing`."""
        return self._scanner.guessing

    @property
    def began_inside(self) -> bool:
        """True if the answer began inside a thought, by a mark that the caller did not say."""
        return self._scanner.began_inside and not MARK.search(self._request.user_text)

    def hear(self, deltas: tuple[Delta, ...]) -> tuple[tuple[Delta, ...], bool]:
        """Return the deltas to deliver, and True if they are the ones that came."""
        if self._passes and len(deltas) == 1 and type(word := deltas[0]) is Text:
            text = word.text
            # The common chunk: build nothing, and do not call `may_hold_mark`.
            if (
                "<" not in text
                and "[" not in text
                and "`" not in text
                and "◁" not in text
                and "{" not in text
                and len(text) < REPEAT_CHARS
            ):
                self._keep(text)
                return deltas, True
        heard: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Text):
                heard += self._words(delta.text)
            elif isinstance(delta, Finish | Done):
                # An answer that ends by its limit, or with a call, may be a thought to its end.
                whole = not isinstance(delta, Finish) or delta.reason == "stop"
                heard += [*self._rest(whole=whole), delta]
            elif isinstance(delta, Refusal) and self._request.speakable:
                heard.append(Text(delta.text))
            else:
                if isinstance(delta, Reasoning):
                    self._scanner.saw_reasoning()
                self._called |= isinstance(delta, CallPart)
                heard.append(delta)
        held = self._may_be_bare or self._bare or self._repeat
        self._passes = self._scanner.spoke and self._scanner.passes and not held
        if heard == list(deltas):
            return deltas, True
        return tuple(heard) or (Held(),), False

    def _words(self, text: str) -> Iterator[Delta]:
        if self._repeat:
            if not text.strip():
                self._repeat.append(text)
                return
            yield from self._speech("".join(self._repeat))
            self._repeat.clear()
        if len(text) >= REPEAT_CHARS and self._is_repeat(text):
            self._repeat.append(text)
            return
        yield from self._parts(self._scanner.feed(text))

    def _rest(self, *, whole: bool) -> Iterator[Delta]:
        """Yield what was held back, now that the answer has ended."""
        self._repeat.clear()
        yield from self._parts(self._scanner.flush(whole=whole))
        text = "".join(self._bare)
        self._bare.clear()
        self._seeks_bare = self._may_be_bare = False
        if not text:
            return
        call = bare_call(text, self._offered)
        if call is None or self._dictation.holds(call, text):
            yield from self._speech(text)
        elif not self._called:
            problem = f"You wrote a call to '{call.name}' as text, which cannot be carried out."
            yield _part(call, problem)

    def _parts(self, parts: Iterable[Part]) -> Iterator[Delta]:
        for part in parts:
            if isinstance(part, Text):
                yield from self._speech(part.text)
            elif isinstance(part, CallText):
                yield from self._written(part)
            else:
                yield part

    def _speech(self, text: str) -> Iterator[Delta]:
        """Yield words to speak, unless they may still be a call without marks."""
        if not text:
            return
        if (self._may_be_bare and text.strip()) or self._bare:
            so_far = "".join((*self._bare, text))
            beginning = so_far.lstrip()[:_BEGINNING_CHARS]
            if len(so_far) <= LIMIT_CHARS and may_be_bare(beginning, self._offered):
                if not self._bare and (blanks := text[: -len(text.lstrip())]):
                    yield Text(blanks)
                self._bare.append(text if self._bare else text.lstrip())
                return
            text = so_far
            self._bare.clear()
            self._may_be_bare = False
            self._seeks_bare = self._seeks_bare and len(text) <= LIMIT_CHARS
        if self._seeks_bare and (start := self._bare_start(text)) < len(text):
            self._bare.append(text[start:])
            text = text[:start]
        if text:
            self._said.append(text)
            yield Text(text)

    def _bare_start(self, text: str) -> int:
        """Return where a line may begin a call without marks, or the text's length."""
        for found in BARE_START.finditer(text):
            start = found.start()
            before = text[:start] if start else "".join(self._said[-1:])
            new_line = before.rstrip(" \t")[-1:] in {"", "\n"}
            if new_line and may_be_bare(text[start : start + _BEGINNING_CHARS], self._offered):
                return start
        return len(text)

    def _written(self, written: CallText) -> Iterator[Delta]:
        """Yield the calls between two marks, or their words."""
        text, calls = written.text, read_calls(written.text)
        dictated = any(self._dictation.holds(call, text) for call in calls or [_UNREADABLE])
        if not self._offered:
            if dictated or not any(read_strictly(call.arguments) is not None for call in calls):
                yield from self._speech(without_marks(text))
        elif dictated or not (calls or looks_like_call(text)):
            yield from self._speech(without_marks(text))
        elif calls:
            self._called = True
            yield from map(_part, calls)
        else:
            yield _part(_UNREADABLE, "You wrote a tool call as text that cannot be read.")

    def _is_repeat(self, text: str) -> bool:
        """Return whether a text repeats all that was said so far, to the letter."""
        self._said_chars += sum(map(len, self._said[self._counted :]))
        self._counted = len(self._said)
        if not REPEAT_CHARS <= self._said_chars <= len(text) + _BLANKS or not self._scanner.passes:
            return False
        said = "".join(self._said).strip()
        if text.strip() != said and may_hold_mark(text):
            text = without_marks(text)  # Marks were removed the first time, too.
        return len(said) >= REPEAT_CHARS and text.strip() == said


_UNREADABLE = WrittenCall("", "")


def _part(call: WrittenCall, problem: str = "") -> CallPart:
    return CallPart(-1, None, call.name, call.arguments, alone=True, problem=problem)
