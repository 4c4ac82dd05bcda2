"""An answer as it is spoken: when each word sounds, and what was heard at any moment.

Words arrive faster than they are spoken. Each begins when it is whole and the previous one is over,
and its letters decide how long it takes. So what a caller has heard by any moment is known exactly,
in whole words, without a running clock. Knows no requests.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ops.doctor.strict_reader import is_buffer_words

LETTER_MS = 1000 / 15
"""About 160 words a minute, blanks included."""
SIGN_MS = 200.0
"""The same in a script whose signs are syllables or words."""
_SIGN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(
    rf"\s*(?:[{_SIGN}][^\w\s]*(?=[{_SIGN}\s])\s*|[^\s{_SIGN}]+(?:\s+|(?=[{_SIGN}])))"
)
"""A word that is certainly whole: a blank or a sign follows. Signs are separate words."""
_LAST = re.compile(rf"\s*(?:[{_SIGN}][^\w\s]*|[^\s{_SIGN}]+|\s+$)\s*")


@dataclass(frozen=True, slots=True)
class Word:
    """One word with the blanks around it. Times are milliseconds since the turn's beginning."""

    text: str
    from_ms: float
    until_ms: float
    is_buffer: bool = False
    """True if the deployment said it, not the model."""

    @property
    def sounds(self) -> bool:
        """True if there is something to hear: dots and blanks are silence."""
        return any(map(str.isalnum, self.text))


class Speech:
    """The words of one turn. `speed` 1 is normal speech; 20 speaks twenty times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        self.words: list[Word] = []
        self._speed = speed
        self._open = ""
        """The beginning of an unfinished word."""
        self._open_is_buffer = False

    @property
    def text(self) -> str:
        """Everything to speak so far, as it came."""
        return text_of(self.words) + self._open

    @property
    def until_ms(self) -> float:
        """When the last whole word will be over."""
        return self.words[-1].until_ms if self.words else 0.0

    def says(self, text: str, at_ms: float) -> Sequence[Word]:
        """Take a piece that arrived; return the words that it completes."""
        ours = is_buffer_words(text)
        return self._take(self._open + text, at_ms, _WORD, ours=ours)

    def ends(self, at_ms: float) -> Sequence[Word]:
        """Take the answer's end, which completes the last word; return that word, if any."""
        return self._take(self._open, at_ms, _LAST, ours=self._open_is_buffer)

    def heard_by(self, at_ms: float) -> Sequence[Word]:
        """Return the words that are over by that time."""
        return self.words[: bisect_right(self.words, at_ms, key=lambda word: word.until_ms)]

    def over_at_ms(self, phrase: str) -> float | None:
        """Return when the phrase has been heard; None until all its words have come.

        Case, blanks and punctuation do not count, unless it is a `/regular expression/`.
        """
        wanted = pattern(phrase) if is_expression(phrase) else None
        heard = ""
        for word in self.words:
            heard += word.text
            if wanted.search(heard) if wanted else letters(phrase) in letters(heard):
                return word.until_ms
        return None

    def _take(
        self, text: str, at_ms: float, pattern: re.Pattern[str], *, ours: bool
    ) -> Sequence[Word]:
        count = len(self.words)
        place = 0
        while match := pattern.match(text, place):
            place = match.end()
            from_ms = max(at_ms, self.until_ms)
            until_ms = from_ms + _lasts_ms(match[0]) / self._speed
            self.words.append(Word(match[0], from_ms, until_ms, ours))
        self._open, self._open_is_buffer = text[place:], ours
        return self.words[count:]


def text_of(words: Sequence[Word]) -> str:
    """Return words as one text."""
    return "".join(word.text for word in words)


def pattern(text: str) -> re.Pattern[str]:
    """Return the pattern for a text in speech: `/a regular expression/`, or words in any case."""
    if is_expression(text):
        return re.compile(text[1:-1], re.IGNORECASE)
    words = (re.escape(word) for word in text.split())
    return re.compile(r"\s+".join(words), re.IGNORECASE)


def is_expression(text: str) -> bool:
    """Return True for a regular expression between slashes."""
    return len(text) > 2 and text.startswith("/") and text.endswith("/")


def letters(text: str) -> str:
    """Return a text as it sounds: its letters and digits in lower case, without blanks."""
    return "".join(filter(str.isalnum, text.casefold()))


def _lasts_ms(text: str) -> float:
    signs = len(re.findall(f"[{_SIGN}]", text))
    return signs * SIGN_MS + (len(text) - signs) * LETTER_MS
