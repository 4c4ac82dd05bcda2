"""A row of `shapes`: the words in which APIs refuse it, and a function that fixes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from completions.dialects.call_pairs import History
from completions.immutable import immutable


@immutable
class Words:
    """Patterns of what an API may say; compiled on first use, since most never refuse."""

    patterns: tuple[str, ...]

    def search(self, text: str) -> bool:
        """Return True if one of them matches the words, in any case and over several lines."""
        return bool(re.search("|".join(self.patterns), text, re.IGNORECASE | re.DOTALL))


@immutable
class Shape:
    """A shape that some APIs refuse. A dialect without a function for it lacks the shape."""

    name: str
    refused: Words
    """Searched for in all of a refusal's texts."""
    messages: Callable[[History], History] | None = None
    """Return the fixed messages, as new objects where they change."""
    items: Callable[[History], History] | None = None
    """The same for the input items of the Responses API."""
    body: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """The same for a whole request, in either dialect; the same object if nothing changes."""
    after: str = ""
    """A shape to fix first; this one is fixed only where that did not help."""

    def mended(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without this shape; the same object if it does not have it."""
        for name, mend in (("messages", self.messages), ("input", self.items)):
            history = body.get(name)
            if mend is not None and isinstance(history, list):
                mended = mend(history)
                if mended != history:
                    return {**body, name: mended}
        return self.body(body) if self.body else body


def in_words(*patterns: str) -> Words:
    """Return the patterns of the words in which a shape is refused."""
    return Words(patterns)
