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
def test_text_is_read_whatever_holds_it(content: Any, texts: list[str]) -> None:
    """Parts of other types have nothing to say."""
    assert list(read_parts(content, Text)) == [Text(text) for text in texts]


@pytest.mark.parametrize("thinking", ["Hm", ["Hm"], [{"type": "text", "text": "Hm"}]])
def test_thinking_is_never_text(thinking: Any) -> None:
    """What it holds is reasoning to the last part."""
    assert list(read_parts([{"type": "thinking", "thinking": thinking}], Text)) == [Reasoning("Hm")]


def test_a_part_may_say_that_it_is_a_thought() -> None:
    """As Gemini's own API says it, whatever the type."""
    content = [{"text": "Hm", "thought": True}, {"text": "Hi", "thought": False}]
    assert list(read_parts(content, Text)) == [Reasoning("Hm"), Text("Hi")]


def test_parts_are_what_the_whole_is_unless_they_say_otherwise() -> None:
    """The text of reasoning is reasoning; a refusal is one anywhere."""
    content = [{"type": "text", "text": "Hm"}, {"type": "refusal", "refusal": "No."}]
    assert list(read_parts(content, Reasoning)) == [Reasoning("Hm"), Refusal("No.")]
