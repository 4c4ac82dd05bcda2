"""Separates a model's reasoning in `<think>…</think>` from the text that is spoken.

Knows text and three tags; nothing of events.
"""

from __future__ import annotations

import re

from completions.dialects.deltas import Reasoning, Text

_TAGS = ("<think>", "<thinking>", "<reasoning>", "</think>", "</thinking>", "</reasoning>")
_TAG = re.compile("|".join(_TAGS), re.IGNORECASE)


class ThinkSplitter:
    """Splits text into speech and reasoning at `<think>`, `<thinking>` and `<reasoning>` tags.

    A block that is never closed is reasoning to the end. Tags are never spoken.

    NOTE: the chat templates of some models open the block in the prompt, so their answers start
    inside it and hold only a `</think>`. By then the text before it has passed as speech: only
    the tag is removed, and `began_inside` is set. A caller who remembers that of a model passes
    `opened=True` the next time. If such an answer has no tag at all, it was no thought: its text
    is spoken at the end.
    """

    def __init__(self, *, opened: bool = False) -> None:
        self.began_inside = False
        """True if the first tag of the text closes a block."""
        self._inside = opened
        self._guessed: list[str] | None = [] if opened else None
        """What was taken for a thought although no tag says so yet."""
        self._saw_tag = False
        self._held = ""

    def passes(self, text: str) -> bool:
        """Return whether the piece is speech as it stands, so that it need not be fed."""
        return not self._inside and not self._held and "<" not in text

    def feed(self, text: str) -> list[Text | Reasoning]:
        """Split the next piece of the text; hold an unfinished tag until the piece after it."""
        if not self._held and "<" not in text:
            return [self._delta(text)] if text else []
        buffered = self._held + text
        deltas: list[Text | Reasoning] = []
        position = 0
        for tag in _TAG.finditer(buffered):
            if tag.start() > position:
                deltas.append(self._delta(buffered[position : tag.start()]))
            closes = tag[0][1] == "/"
            self.began_inside |= closes and not self._saw_tag
            self._saw_tag, self._guessed = True, None
            self._inside = not closes
            position = tag.end()
        rest = buffered[position:]
        # No tag holds a second "<": only what begins at the last one can still become a tag.
        last = rest.rfind("<")
        unfinished = rest[last:].lower() if last >= 0 else ""
        holds = bool(unfinished) and any(tag.startswith(unfinished) for tag in _TAGS)
        self._held = rest[last:] if holds else ""
        if certain := rest[:last] if holds else rest:
            deltas.append(self._delta(certain))
        return deltas

    @property
    def guessing(self) -> bool:
        """True while the text is taken for a thought, and no tag has said so."""
        return self._guessed is not None

    def flush(self, *, whole: bool = True) -> list[Text | Reasoning]:
        """Return what is held at the end of the text: no tag after all, or no thought.

        Of a text that is not `whole`, a thought may have lacked its end: it is not spoken.
        """
        held, self._held = self._held, ""
        guessed, self._guessed = self._guessed, None
        if guessed is not None and whole:
            self._inside = False
            held = "".join((*guessed, held))
        return [self._delta(held)] if held else []

    def _delta(self, text: str) -> Text | Reasoning:
        if self._guessed is not None:
            self._guessed.append(text)
        return Reasoning(text) if self._inside else Text(text)
