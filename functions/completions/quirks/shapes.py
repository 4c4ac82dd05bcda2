"""Shapes of a request that some APIs refuse, and how to fix each.

A row has the words in which APIs refuse the shape, and a pure, idempotent function that fixes it. A
row that would change nothing was not what an API meant, so wide words do little harm. Learnt for
each model, like the fields that it refuses. Knows bodies as they go up, not which API refuses what.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from completions.quirks.history_shapes import HISTORIES
from completions.quirks.returned_thoughts import (
    not_thinking,
    not_thinking_unless_streamed,
    with_reasoning,
    with_signatures,
    without_empty_thoughts,
)
from completions.quirks.shape import Shape, in_words
from completions.quirks.tool_schemas import with_enums_of_text

_WANTS_REASONING = in_words(
    r"(?:reasoning_content|\.thinking)\b[^.]*\b(?:must|missing|required|needed|passed)\b",
    r"\b(?:must|missing|required|needs?|pass)\b[^.]*(?:reasoning_content|\.thinking)\b",
)


SHAPES = (
    *HISTORIES,
    Shape("signature", in_words(r"thought.?signature"), messages=with_signatures),
    Shape("reasoning", _WANTS_REASONING, messages=with_reasoning),
    Shape(
        "empty-thoughts",
        # llama.cpp: `item['content'] is not an array`.
        in_words(
            r"\bitem\W{1,4}content\W{1,4}is not an array\b",
            r"\b(?:unknown|unsupported|unexpected|invalid)\b.{0,30}\breasoning\b.{0,10}\bitem",
        ),
        items=without_empty_thoughts,
    ),
    Shape("thinking", _WANTS_REASONING, body=not_thinking, after="reasoning"),
    Shape(
        "thinking-buffered",
        # DashScope: `parameter.enable_thinking must be set to false for non-streaming calls`.
        in_words(r"enable_thinking\b.{0,40}\bfalse", r"enable_thinking\b.{0,40}\bstream"),
        body=not_thinking_unless_streamed,
    ),
    Shape(
        "enum",
        # Gemini: `Invalid value at 'tools[0]….enum[0]' (TYPE_STRING), 2`.
        in_words(r"\benum\b.*\bstring\b", r"\bstring\b.*\benum\b", r"\benum\b.*TYPE_STRING"),
        body=with_enums_of_text,
    ),
)
"""In the order in which they are fixed, whatever order they were learnt in."""

HARMLESS = frozenset({"enum", "empty-thoughts", *(shape.name for shape in HISTORIES)}) - {
    # Their fixes use other words, which teach the model less.
    *("answered", "calls", "calls-in-turns", "system", "system-in-turns"),
    "names",  # Groq refuses names.
}
"""Shapes whose fix any API accepts, with nothing lost."""


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
