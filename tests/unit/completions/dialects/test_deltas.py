"""The text in chunks, and the errors that an upstream sends in mid-stream."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.deltas import Chunk, Reasoning, Refusal, Text, text_in, upstream_failure
from completions.errors import UpstreamRefused


def test_the_text_in_chunks_is_joined_by_kind() -> None:
    """Words, refusals and thoughts are asked for separately or together."""
    chunks = [
        Chunk(None, (Text("Yes"), Reasoning("Hm."))),
        Chunk(None, (Text(", "), Refusal("no."))),
    ]
    assert text_in(chunks, Text) == "Yes, "
    assert text_in(chunks, Text, Refusal) == "Yes, no."
    assert text_in(chunks, Reasoning) == "Hm."


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "Slow down.", "code": "rate_limit_exceeded"}, 429),
        ({"message": "No money.", "code": "insufficient_quota"}, 429),
        ({"message": "Too long.", "code": "context_length_exceeded"}, 400),
        ({"message": "Broken.", "type": "server_error", "code": None}, 502),
        ({"message": "Broken.", "code": "server_error"}, 500),
        ({"message": "Busy.", "code": 503}, 503),
        ({"message": "Odd.", "code": 200}, 502),
    ],
    ids=repr,
)
def test_an_error_object_keeps_its_message_and_gets_a_status(
    error: dict[str, Any], status: int
) -> None:
    """The status is the one that OpenAI's API has for its code, or the code itself."""
    failure = upstream_failure(error)
    assert isinstance(failure, UpstreamRefused)
    assert (failure.message, failure.status) == (error["message"], status)


def test_an_error_object_keeps_its_type_code_and_param() -> None:
    """They tell a program what went wrong."""
    error = {"message": "m", "type": "t", "code": "c", "param": "p"}
    assert upstream_failure(error).body()["error"] == error


def test_an_error_without_a_message_gets_one() -> None:
    """The message says at least that the upstream failed."""
    assert upstream_failure({}).message == "The upstream failed in mid-answer."


@pytest.mark.parametrize("error", ["It broke.", ["?"], 5])
def test_an_error_that_is_no_object_is_a_quoted_failure(error: Any) -> None:
    """It is marked as a quotation, because it may hold anything."""
    failure = upstream_failure(error)
    assert (failure.status, failure.quotes) == (502, True)
    assert str(error) in failure.message
