"""Reads text that comes as a list of parts, in the shapes that servers use.

Mistral's reasoning models (docs.mistral.ai, "Reasoning") mix thinking, text and references in the
`content` of one delta; gateways pass on the parts of other APIs. Knows neither dialect.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from completions.dialects.deltas import Reasoning, Refusal, Text

TextType = type[Text | Refusal | Reasoning]

_KINDS: dict[Any, tuple[TextType | None, str]] = {
    None: (None, "text"),
    "text": (None, "text"),
    "output_text": (None, "text"),
    "refusal": (Refusal, "refusal"),
    "thinking": (Reasoning, "thinking"),
    "reasoning": (Reasoning, "text"),
    "reasoning_text": (Reasoning, "text"),
    "summary_text": (Reasoning, "text"),
}
"""For each type of part: the kind of its text (None: that of the whole), and the text's field."""


def read_parts(content: Any, kind: TextType) -> Iterator[Text | Refusal | Reasoning]:
    """Yield the texts in `content`, which are of this kind unless they say otherwise.

    Other parts, such as references and images, cannot be spoken and are skipped.
    """
    if isinstance(content, str):
        if content:
            yield kind(content)
    elif isinstance(content, list):
        for part in content:
            yield from read_parts(part, kind)
    elif isinstance(content, dict):
        part_type = content.get("type")
        of_part, name = _KINDS.get(part_type if isinstance(part_type, str) else None, (kind, ""))
        if content.get("thought") is True:
            of_part = Reasoning  # Gemini's own API marks thoughts this way.
        # The Assistants API has its text in an object's `value`.
        text = content.get(name) or (content.get("value") if part_type is None else None)
        yield from read_parts(text, of_part or kind)
