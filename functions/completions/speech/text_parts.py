"""What a model's text consists of: speech, thoughts, and calls written as text."""

from __future__ import annotations

from completions.dialects.deltas import Reasoning, Text
from completions.immutable import immutable


@immutable
class CallText:
    """The text between the marks of a call."""

    text: str
    whole: bool = True
    """False if its end never came."""


Part = Text | Reasoning | CallText


def merge_neighbours(parts: list[Part]) -> list[Part]:
    """Return the parts with neighbours of the same type merged."""
    joined: list[Part] = []
    for part in parts:
        before = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(before, Text):
            joined[-1] = Text(before.text + part.text)
        elif isinstance(part, Reasoning) and isinstance(before, Reasoning):
            joined[-1] = Reasoning(before.text + part.text)
        else:
            joined.append(part)
    return joined
