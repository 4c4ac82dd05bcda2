"""Shapes of a history that some APIs refuse, and how each is mended.

A row has the words in which APIs refuse the shape, and a pure function that mends it. A row that
would change nothing was not what an API meant, so wide words do no harm. What a row does once it
must undo if done twice: mending what is mended changes nothing. Learnt for each model, as are the
fields that it refuses. Knows bodies as they go up; nothing of who refuses what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

History = list[dict[str, Any]]
"""The messages of a chat completions request, or the input items of a Responses request."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape that some APIs refuse. A dialect without a function of its own lacks the shape."""

    name: str
    refused: re.Pattern[str]
    """Searched in all that a refusal says."""
    messages: Callable[[History], History] | None = None
    """Return the messages mended, as new objects where they change."""
    items: Callable[[History], History] | None = None
    """The same for the input items of the Responses API."""

    def mended(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without this shape; the same object if it has none of it."""
        for name, mend in (("messages", self.messages), ("input", self.items)):
            history = body.get(name)
            if mend is not None and isinstance(history, list):
                mended = mend(history)
                if mended != history:
                    return {**body, name: mended}
        return body


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


def _developer_as_system(history: History) -> History:
    return [{**one, "role": "system"} if one.get("role") == "developer" else one for one in history]


SHAPES = (
    Shape(
        "developer",
        # Groq, DashScope and LM Studio list the roles they know; DeepSeek's parser is Rust's.
        _words(
            r"\bdeveloper\b.*\bnot one of\b",
            r"\bunknown variant\W+developer\b",
            r"\bdeveloper\b.*\brole\b",
            r"\brole\b.*\bdeveloper\b",
        ),
        messages=_developer_as_system,
        items=_developer_as_system,
    ),
)
"""In the order in which they are mended, whatever order they were learnt in."""


def refused_shapes(words: str, body: dict[str, Any]) -> frozenset[str]:
    """Return the names of the shapes in `body` that these words of an API refuse."""
    return frozenset(
        shape.name
        for shape in SHAPES
        if shape.refused.search(words) and shape.mended(body) is not body
    )


def mended(body: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the body without the shapes of these names."""
    if names:
        for shape in SHAPES:
            if shape.name in names:
                body = shape.mended(body)
    return body
