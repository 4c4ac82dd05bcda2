"""Text in lists of parts."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.content_parts import read_parts
from completions.dialects.deltas import Reasoning, Refusal, Text


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ([{"type": "text", "text": "Hi"}, {"type": "output_text", "text": "!"}], ["Hi", "!"]),
        ([{"text": "Hi"}, "!", [["?"]]], ["Hi", "!", "?"]),
        ({"type": "text", "text": "Hi"}, ["Hi"]),
        ([{"type": "reference", "text": "1"}, {"type": ["?"]}, 7, None, {}, ""], []),
        ([{"type": "text", "text": None}, {"type": "text"}], []),
        ([{"type": "text", "text": {"value": "Hi", "annotations": []}}], ["Hi"]),
    ],
)
def test_text_is_read_in_every_shape(content: Any, texts: list[str]) -> None:
    """Parts of other types yield nothing."""
    assert list(read_parts(content, Text)) == [Text(text) for text in texts]


@pytest.mark.parametrize("thinking", ["Hm", ["Hm"], [{"type": "text", "text": "Hm"}]])
def test_thinking_is_never_text(thinking: Any) -> None:
    """Everything in a `thinking` part is reasoning."""
    assert list(read_parts([{"type": "thinking", "thinking": thinking}], Text)) == [Reasoning("Hm")]


def test_a_part_marked_as_thought_is_reasoning() -> None:
    """Gemini's own API marks a part this way, whatever its type."""
    content = [{"text": "Hm", "thought": True}, {"text": "Hi", "thought": False}]
    assert list(read_parts(content, Text)) == [Reasoning("Hm"), Text("Hi")]


def test_parts_have_the_kind_of_their_whole() -> None:
    """Text inside reasoning is reasoning; a refusal is a refusal anywhere."""
    content = [{"type": "text", "text": "Hm"}, {"type": "refusal", "refusal": "No."}]
    assert list(read_parts(content, Reasoning)) == [Reasoning("Hm"), Refusal("No.")]
