"""Split a model's text, as it comes, into speech, thoughts and calls written as text.

Knows what the marks do to the text between them, but no events, tools or time. The result does not
depend on how the text is cut into pieces.
"""

from __future__ import annotations

from enum import Enum, auto

from completions.dialects.deltas import Reasoning, Text
from completions.speech.marks import (
    MARK,
    Mark,
    Sense,
    may_hold_mark,
    meaning,
    spelling,
    unfinished_at,
)
from completions.speech.message_headers import read_header
from completions.speech.text_parts import CallText, Part, merge_neighbours

CALL_LIMIT_CHARS = 16 * 1024
"""Longest call written as text: a longer one might be words, held back for too long."""
HEADER_LIMIT_CHARS = 160
"""Longest role and channel (`assistant to=functions.name`): a longer text is not a header."""


def without_marks(text: str) -> str:
    """Return the speech in a whole text, without calls."""
    scanner = Scanner()
    parts = (*scanner.feed(text), *scanner.flush())
    return "".join(part.text for part in parts if isinstance(part, Text))


class _In(Enum):
    """What the current piece of text is."""

    SPEECH = auto()
    OVER = auto()
    """The model has spoken and now plays somebody else: nothing from here on is the answer."""
    THOUGHT = auto()
    CALL = auto()
    HEADER = auto()


class Scanner:
    """Splits one answer's text; `feed` it in pieces, then `flush` once.

    An unclosed thought lasts to the end. Marks are never spoken.

    NOTE: the chat templates of some models open the thought in the prompt, so their answers start
    inside it and have only the mark that closes it. By then the text before it has passed as
    speech: only the mark is removed, and `began_inside` is set. A caller who remembers that about a
    model passes `guess_chars`: that much of the next answer's beginning is treated as a thought. If
    no mark closes it by then, it was not one, and is spoken.
    """

    def __init__(self, *, calls: bool = False, guess_chars: int = 0) -> None:
        """Prepare to split one answer; without `calls` their marks are just removed."""
        self.began_inside = False
        """True if the first mark of a thought closes one."""
        self.spoke = False
        """True after the first word; unaware of pieces that need not be fed, see `passes`."""
        self._calls = calls
        self._state = _In.SPEECH
        self._held = ""
        self._guess_left = guess_chars
        self._guess: list[str] | None = [] if guess_chars else None
        """Text treated as a thought although no mark says so yet, as it came."""
        self._saw_thought = False
        self._channel = False
        """True if the thought is a channel or somebody else's turn, which the next message ends."""
        self._mark = Mark(Sense.NOTHING)
        self._opening = ""
        self._gathered: list[str] = []
        """The call or the header so far."""
        self._chars_left = 0

    @property
    def passes(self) -> bool:
        """True if a piece without the first sign of a mark is speech and need not be fed."""
        return self._state is _In.SPEECH and not self._held and self._guess is None

    @property
    def guessing(self) -> bool:
        """True while the text is treated as a thought without a mark."""
        return self._guess is not None

    def saw_reasoning(self) -> None:
        """Note that thoughts came in their own field: a closing mark then proves nothing."""
        self._saw_thought = True

    def feed(self, text: str) -> list[Part]:
        """Split the next piece of the text; hold back what may become a mark or a call."""
        if self.passes and not may_hold_mark(text):
            return self._take(text)
        return merge_neighbours(self._scan(text, last=False))

    def flush(self, *, whole: bool = True) -> list[Part]:
        """Return what is held at the end: text that was no mark or thought after all, or a call.

        If the text is not `whole`, a thought may lack its end, and is not spoken.
        """
        parts = self._scan("", last=True)
        if self._guess is not None and whole:
            parts += self._spoken_after_all()
        self._guess = None
        if self._state is _In.CALL:
            parts += self._end_call(closed=False)
        elif self._state is _In.HEADER:
            parts += self._end_header("")
        return merge_neighbours(parts)

    def _scan(self, text: str, *, last: bool) -> list[Part]:
        text, self._held = self._held + text, ""
        if not may_hold_mark(text):
            return self._take(text)
        parts: list[Part] = []
        position = 0
        for found in MARK.finditer(text):
            if found.end() == len(text) and text[-1] == "`" and not last:
                break  # The name of its language may follow.
            parts += self._take(text[position : found.start()])
            parts += self._meet(found[0])
            position = found.end()
        rest = text[position:]
        end = len(rest) if last else unfinished_at(rest)
        parts += self._take(rest[:end])
        self._held = rest[end:]
        return parts

    def _take(self, text: str) -> list[Part]:
        """Take text without marks."""
        if not text:
            return []
        if self._guess is not None:
            return self._suspect(text)
        if self._state is _In.SPEECH:
            self.spoke = self.spoke or not text.isspace()
            return [Text(text)]
        if self._state in {_In.THOUGHT, _In.OVER}:
            return [Reasoning(text)]
        return self._gather(text)

    def _meet(self, found: str) -> list[Part]:
        """Do what a mark says."""
        mark = meaning(found)
        if self._guess is not None:
            if mark.sense is Sense.THOUGHT_END:
                self.began_inside = self._saw_thought = True
                self._guess = None
                return []
            parts = self._suspect(found)
            if mark.sense is Sense.THOUGHT and self._guess is not None:
                parts += self._spoken_after_all()
            return parts
        if self._state is _In.CALL:
            return self._meet_in_call(found, mark)
        if self._state is _In.HEADER:
            if mark.sense in {Sense.HEADER, Sense.HEADER_MORE}:
                self._gathered.append(" ")
                return []
            parts = self._end_header("")
            ends = mark.sense is Sense.NOTHING and found.startswith("<")
            return parts if ends else parts + self._meet(found)
        if self._state is _In.THOUGHT:
            return self._meet_in_thought(found, mark)
        if self._state is _In.OVER:
            return []
        match mark.sense:
            case Sense.THOUGHT:
                self._think()
            case Sense.THOUGHT_END:
                self.began_inside |= not self._saw_thought
                self._saw_thought = True
            case Sense.CALL if self._calls or mark.closing == "```":
                self._begin(_In.CALL, CALL_LIMIT_CHARS, mark, found)
            case Sense.HEADER:
                self._begin(_In.HEADER, HEADER_LIMIT_CHARS, mark, found)
            case Sense.OTHERS:
                self._hand_over()
            case Sense.FENCE:
                return [Text(found)]
        return []

    def _meet_in_thought(self, found: str, mark: Mark) -> list[Part]:
        if mark.sense is Sense.THOUGHT_END:
            self._state = _In.SPEECH
        elif self._channel and mark.sense in {Sense.HEADER, Sense.END, Sense.ANSWER}:
            self._state = _In.SPEECH
            return self._meet(found)
        elif mark.sense in {Sense.CALL, Sense.CALL_END, Sense.FENCE}:
            return [Reasoning(found)]
        return []

    def _meet_in_call(self, found: str, mark: Mark) -> list[Part]:
        closing = self._mark.closing
        if closing and spelling(found) == closing:
            if self._mark.kept:
                self._gathered.append(found)
            return self._end_call()
        if not closing and mark.sense in {Sense.END, Sense.HEADER}:
            return self._end_call() + self._meet(found)
        if mark == self._mark and found == self._opening and "".join(self._gathered).strip():
            # Some models do not close one call before the next.
            return self._end_call() + self._meet(found)
        return self._gather(found)

    # Thoughts.

    def _think(self, *, channel: bool = False) -> None:
        self._state = _In.THOUGHT
        self._channel = channel
        self._saw_thought = True

    def _hand_over(self) -> None:
        """Begin somebody else's turn: one that the model plays, or one before its own."""
        self._think(channel=True)
        if self.spoke:
            self._state = _In.OVER

    def _suspect(self, text: str) -> list[Part]:
        """Treat text as a thought for now."""
        assert self._guess is not None  # noqa: S101 - asked before
        self._guess.append(text)
        self._guess_left -= len(text)
        if self._guess_left < 0:
            return self._spoken_after_all()
        return [Reasoning(text)]

    def _spoken_after_all(self) -> list[Part]:
        """Split again the text that was treated as a thought."""
        text, self._guess = "".join(self._guess or ()), None
        # This cuts no mark: a piece ends before anything that may become one.
        return self._scan(text, last=True)

    # Calls and headers.

    def _begin(self, state: _In, limit_chars: int, mark: Mark, found: str) -> None:
        self._state, self._mark, self._opening = state, mark, found
        self._gathered = [found] if mark.kept else []
        self._chars_left = limit_chars

    def _gather(self, text: str) -> list[Part]:
        if self._state is _In.HEADER and "\n" in text:
            header, _, rest = text.partition("\n")
            self._gathered.append(header)
            return self._end_header("\n") + self._take(rest)
        if self._state is _In.CALL and not self._calls:
            return [Text(text)]
        self._gathered.append(text)
        self._chars_left -= len(text)
        if self._chars_left >= 0:
            return []
        if self._state is _In.HEADER:
            self._state = _In.SPEECH
            return [Text("".join(self._gathered))]
        parts = self._end_call(closed=False)
        self._think(channel=True)
        return parts

    def _end_call(self, *, closed: bool = True) -> list[Part]:
        self._state = _In.SPEECH
        text = "".join(self._gathered)
        return [CallText(text, closed)] if text.strip() else []

    def _end_header(self, line_end: str) -> list[Part]:
        """Continue as the header says."""
        header, self._state = read_header("".join(self._gathered)), _In.SPEECH
        if header.recipient and self._calls:
            self._begin(_In.CALL, CALL_LIMIT_CHARS, Mark(Sense.CALL), "")
            self._gathered = [header.recipient, "\n"]
        elif header.others:
            self._hand_over()
        elif header.silent:
            self._think(channel=True)
        elif header.words.strip():
            return [Text(header.words + line_end)]
        return []
