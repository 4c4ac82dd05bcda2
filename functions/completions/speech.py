"""What is speech in a text that comes in pieces, and how much of it is a sentence.

Filters and measures over text deltas: fed any split of a text they say the same of it, and no
character is lost. Knows nothing of frames, models or time.
"""

from __future__ import annotations

import re

from completions.said import Reasoning, Text

_TAGS = ("<think>", "<thinking>", "<reasoning>", "</think>", "</thinking>", "</reasoning>")
_TAG = re.compile("|".join(_TAGS), re.IGNORECASE)


class ThinkSplitter:
    """Takes `<think>…</think>` out of spoken text; `<thinking>` and `<reasoning>` as well.

    A block that is never closed is reasoning to the end. Tags are never spoken.

    NOTE: the chat templates of some models open the block in the prompt, so that the answer
    begins inside it and holds a lone `</think>`. What stands before that one has been taken for
    speech when it comes: only the tag is removed, and `lone_close` is set. Whoever remembers that
    of a model passes `opened=True` the next time; for a text that is whole, `split` does it.
    """

    def __init__(self, *, opened: bool = False) -> None:
        self.lone_close = False
        """A block was closed that had not been opened."""
        self._inside = opened
        self._held = ""

    def passes(self, text: str) -> bool:
        """Whether this piece is speech as it stands, so that it need not be fed."""
        return not self._inside and not self._held and "<" not in text

    def feed(self, text: str) -> list[Text | Reasoning]:
        """What can be told by now; an unfinished tag stays inside until the next piece."""
        if not self._held and "<" not in text:
            return [self._said(text)] if text else []
        buffered = self._held + text
        said: list[Text | Reasoning] = []
        position = 0
        for tag in _TAG.finditer(buffered):
            if tag.start() > position:
                said.append(self._said(buffered[position : tag.start()]))
            closes = tag[0][1] == "/"
            self.lone_close |= closes and not self._inside
            self._inside = not closes
            position = tag.end()
        rest = buffered[position:]
        # No tag holds a second "<": only what begins at the last one can still become a tag.
        last = rest.rfind("<")
        unfinished = rest[last:].lower() if last >= 0 else ""
        holds = bool(unfinished) and any(tag.startswith(unfinished) for tag in _TAGS)
        self._held = rest[last:] if holds else ""
        if certain := rest[:last] if holds else rest:
            said.append(self._said(certain))
        return said

    def flush(self) -> list[Text | Reasoning]:
        """The unfinished tag that turned out to be none."""
        held, self._held = self._held, ""
        return [self._said(held)] if held else []

    def _said(self, text: str) -> Text | Reasoning:
        return Reasoning(text) if self._inside else Text(text)


def split(text: str) -> tuple[str, str]:
    """Speech and reasoning of a whole text; a lone closing tag counts from the beginning."""
    splitter = ThinkSplitter()
    said = splitter.feed(text) + splitter.flush()
    if splitter.lone_close:
        splitter = ThinkSplitter(opened=True)
        said = splitter.feed(text) + splitter.flush()
    return (
        "".join(part.text for part in said if isinstance(part, Text)),
        "".join(part.text for part in said if isinstance(part, Reasoning)),
    )


def has_words(text: str) -> bool:
    """True if something of it can be heard: a letter or a digit of any script."""
    return any(map(str.isalnum, text))


_CLOSERS = "\"')]}»”’"
# Full stops of East Asian scripts end a sentence without a space behind them.
_END = re.compile(rf"[。！？]|([.!?…।؟۔]+)[{re.escape(_CLOSERS)}]*(?=(\s)|\Z)")
_ABBREVIATIONS = frozenset(
    {"dr", "mr", "mrs", "ms", "prof", "vs", "e.g", "i.e", "nr", "bzw", "ca", "d.h", "z.b"}
    | {"sr", "sra", "dra", "dott", "mme", "mlle"}
)
_ENDS = ".!?…。！？।؟۔"
_PAUSES = ",;:、，；：،"


_LONGEST_WORD = 64


class Sentence:
    """Has the first sentence of a text ended?

    It ends with `. ! ?` or an ellipsis before a space or at the end of what was said so far, and
    with `。！？` anywhere; never before the first word. A full stop ends nothing after a single
    letter, a common abbreviation (in the languages of phone calls that this package speaks), or
    inside a number; after a digit at the very end it is not known yet, so it does not.
    """

    def __init__(self) -> None:
        self._over = False
        self._rest = ""
        self._words = False

    def feed(self, text: str) -> None:
        """More of the text."""
        # In slices: what is searched must not grow with a piece, either.
        for start in range(0, len(text), _LONGEST_WORD):
            self._feed(text[start : start + _LONGEST_WORD])

    def _feed(self, text: str) -> None:
        if self._over:
            return
        self._rest += text
        if (end := self._find()) and (end[2] or end[0][0] in "。！？"):
            self._over = True
        elif (space := max(self._rest.rfind(" "), self._rest.rfind("\n"))) > 0:
            # Only the last word can still turn out to end the sentence.
            self._words = self._words or has_words(self._rest[:space])
            self._rest = self._rest[space:]
        elif len(self._rest) > 2 * _LONGEST_WORD:
            # Some scripts have no spaces: what is searched must not grow with the answer.
            self._words = self._words or has_words(self._rest)
            self._rest = self._rest[-_LONGEST_WORD:]

    @property
    def ended(self) -> bool:
        """True if what was said so far would sound complete."""
        return self._over or self._find() is not None

    def _find(self) -> re.Match[str] | None:
        for end in _END.finditer(self._rest):
            before = self._rest[: end.start()]
            if not (self._words or has_words(before)):
                continue
            if end[1] == ".":
                # A full stop behind a space belongs to no word.
                word = "" if before[-1:].isspace() else before.split()[-1]
                word = word.lstrip("\"'([{«“‘").casefold()
                if word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha()):
                    continue
                if word[-1:].isdecimal() and not end[2]:
                    continue
            return end
        return None


def joined(before: str, after: str) -> str:
    """Words of ours, with what must be spoken between them and the words said `before`.

    That is nothing, a space, or after an unfinished sentence `"... "`: without it the audio is
    glued.
    """
    spoken = before.rstrip()
    if not has_words(before) or spoken.rstrip(_CLOSERS)[-1:] in tuple(_ENDS + _PAUSES):
        glued = before and before == spoken and not after[:1].isspace()
        return f" {after}" if glued else after
    return f"... {after.lstrip()}"
