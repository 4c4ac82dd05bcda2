"""Shapes of a history that some APIs refuse, and how each is mended.

A row has the words in which APIs refuse the shape, and a pure function that mends it. A row that
would change nothing was not what an API meant, so wide words do little harm; mending what is mended
changes nothing. Learnt for each model, as are the fields that it refuses. Knows bodies as they go
up; nothing of who refuses what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from completions.dialects.returned_thoughts import (
    not_thinking,
    not_thinking_unless_streamed,
    signed,
    with_reasoning,
)
from completions.dialects.tool_schemas import with_enums_of_text

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


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


def _developer_as_system(history: History) -> History:
    return [{**one, "role": "system"} if one.get("role") == "developer" else one for one in history]


_WANTS_REASONING = _words(
    r"(?:reasoning_content|\.thinking)\b[^.]*\b(?:must|missing|required|needed|passed)\b",
    r"\b(?:must|missing|required|needs?|pass)\b[^.]*(?:reasoning_content|\.thinking)\b",
)


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
    Shape("signature", _words(r"thought.?signature"), messages=signed),
    Shape("reasoning", _WANTS_REASONING, messages=with_reasoning),
    Shape("thinking", _WANTS_REASONING, body=not_thinking, after="reasoning"),
    Shape(
        "thinking-buffered",
        # DashScope: `parameter.enable_thinking must be set to false for non-streaming calls`.
        _words(r"enable_thinking\b.{0,40}\bfalse", r"enable_thinking\b.{0,40}\bstream"),
        body=not_thinking_unless_streamed,
    ),
    Shape(
        "enum",
        # Gemini: `Invalid value at 'tools[0]….enum[0]' (TYPE_STRING), 2`.
        _words(r"\benum\b.*\bstring\b", r"\bstring\b.*\benum\b", r"\benum\b.*TYPE_STRING"),
        body=with_enums_of_text,
    ),
)
"""In the order in which they are mended, whatever order they were learnt in."""


def refused_shapes(words: str, body: dict[str, Any]) -> frozenset[str]:
    """Return the names of the shapes in `body` that these words of an API refuse."""
    return frozenset(
        shape.name
        for shape in SHAPES
        if shape.refused.search(words)
        and shape.mended(body) is not body
        and (not shape.after or mended(body, [shape.after]) is body)
    )


def mended(body: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the body without the shapes of these names."""
    if names:
        for shape in SHAPES:
            if shape.name in names:
                body = shape.mended(body)
    return body
