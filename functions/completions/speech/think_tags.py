"""Thoughts in a model's text: `<think>…</think>` taken out of what is spoken.

Knows text and three tags; nothing of frames.
"""

from __future__ import annotations

import re

from completions.dialects.deltas import Reasoning, Text

_TAGS = ("<think>", "<thinking>", "<reasoning>", "</think>", "</thinking>", "</reasoning>")
_TAG = re.compile("|".join(_TAGS), re.IGNORECASE)


class ThinkSplitter:
    """Takes `<think>…</think>` out of spoken text; `<thinking>` and `<reasoning>` as well.

    A block that is never closed is reasoning to the end. Tags are never spoken.

    NOTE: the chat templates of some models open the block in the prompt, so that the answer
    begins inside it and holds a lone `</think>`. What stands before that one has been taken for
    speech when it comes: only the tag is removed, and `lone_close` is set. Whoever remembers that
    of a model passes `opened=True` the next time.
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
