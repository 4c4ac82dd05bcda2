"""Classify one batch of an answer: has it begun, spoken, been refused or failed?

Knows deltas, but no requests and no time, and acts on nothing.
"""

from __future__ import annotations

from pydantic_core import from_json

from completions.dialects.deltas import (
    CallPart,
    Chunk,
    Failure,
    Held,
    Other,
    Reasoning,
    Refusal,
    Text,
)
from completions.errors import CompletionsError, UpstreamRefused
from completions.speech.sentences import has_words
from completions.sse import ServerSentEvent


def beginning(batch: list[Chunk]) -> tuple[bool, UpstreamRefused | None]:
    """Return whether the answer has begun in this batch, and a refusal that comes before it.

    Some servers send their refusal as an event.
    """
    for chunk in batch:
        for delta in chunk.deltas:
            if isinstance(delta, Failure) and isinstance(delta.error, UpstreamRefused):
                return False, delta.error
            if isinstance(delta, Text | Reasoning | Refusal | CallPart | Held | Other):
                return True, None
    return False, None


def speaks(batch: list[Chunk], *, words_only: bool = True) -> bool:
    """Return True if the batch has a word or part of a call; else any text counts as a word."""
    says = has_words if words_only else str.strip
    return any(
        isinstance(delta, CallPart | Other)
        or (isinstance(delta, Text | Refusal) and bool(says(delta.text)))
        for chunk in batch
        for delta in chunk.deltas
    )


def failure(batch: list[Chunk]) -> CompletionsError | None:
    """Return the failure that an API sends as an event."""
    deltas = (delta for chunk in batch for delta in chunk.deltas)
    return next((delta.error for delta in deltas if isinstance(delta, Failure)), None)


def model_in(sse: ServerSentEvent) -> str:
    """Return the model that an answer's first event names, in either dialect."""
    try:
        value = from_json(sse.data)
        name = value.get("model") or value["response"]["model"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return name if isinstance(name, str) else ""
