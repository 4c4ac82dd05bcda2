"""The text in chunks."""

from __future__ import annotations

from completions.dialects.deltas import Chunk, Reasoning, Refusal, Text, text_in


def test_the_text_in_chunks_is_joined_by_kind() -> None:
    """Words, refusals and thoughts are asked for separately or together."""
    chunks = [
        Chunk(None, (Text("Yes"), Reasoning("Hm."))),
        Chunk(None, (Text(", "), Refusal("no."))),
    ]
    assert text_in(chunks, Text) == "Yes, "
    assert text_in(chunks, Text, Refusal) == "Yes, no."
    assert text_in(chunks, Reasoning) == "Hm."
