"""What a row of the table of shapes is: words in which APIs refuse, and a function that mends."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from completions.dialects.history import History


@dataclass(frozen=True, slots=True)
class Words:
    """What an API may say, as patterns; compiled on first use, since most never refuse."""

    patterns: tuple[str, ...]

    def search(self, text: str) -> bool:
        """Return True if one of them is in what was said, in any case and over several lines."""
        return bool(re.search("|".join(self.patterns), text, re.IGNORECASE | re.DOTALL))


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape that some APIs refuse. A dialect without a function of its own lacks the shape."""

    name: str
    refused: Words
    """Searched in all that a refusal says."""
    messages: Callable[[History], History] | None = None
    """Return the messages mended, as new objects where they change."""
    items: Callable[[History], History] | None = None
    """The same for the input items of the Responses API."""
    body: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """The same for a whole request, in either dialect; the same object if nothing changes."""
    after: str = ""
    """A shape that is mended first: only where that was of no use is this one mended."""

    def mended(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without this shape; the same object if it has none of it."""
        for name, mend in (("messages", self.messages), ("input", self.items)):
            history = body.get(name)
            if mend is not None and isinstance(history, list):
                mended = mend(history)
                if mended != history:
                    return {**body, name: mended}
        return self.body(body) if self.body else body


def in_words(*patterns: str) -> Words:
    """Return the words in which a shape is refused."""
    return Words(patterns)
