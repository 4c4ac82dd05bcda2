"""Finish reasons in the words of many servers."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.deltas import Failure, Finish
from completions.dialects.finish_reasons import honest_finish, read_finish


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_the_protocols_own_words_stay(reason: str) -> None:
    """Callers know these words."""
    assert read_finish(reason) == Finish(reason)


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        *((word, "stop") for word in ("STOP", "eos", "end_turn", "stop_sequence", "COMPLETE")),
        *((word, "length") for word in ("max_tokens", "MAX_TOKENS", "model_length", "Length ")),
        *((word, "tool_calls") for word in ("tool_use", "function_call", "tool_call")),
        *((word, "content_filter") for word in ("SAFETY", "sensitive", "refusal", "RECITATION")),
        ("content_filter: SAFETY", "content_filter"),
        ("length: of no use", "length"),
        *((word, "stop") for word in ("something new", True, 1, ["stop"])),
    ],
)
def test_words_of_other_servers_are_translated(reason: Any, meaning: str) -> None:
    """An unknown word is a normal end."""
    assert read_finish(reason) == Finish(meaning)


@pytest.mark.parametrize(
    "reason",
    [
        *("error", "abort", "network_error", "malformed_function_call", "ERROR"),
        *("insufficient_system_resource", "function_call_filter: MALFORMED_FUNCTION_CALL"),
    ],
)
def test_some_words_mean_that_the_answer_failed(reason: str) -> None:
    """Such an answer was cut off and has not ended."""
    assert isinstance(read_finish(reason), Failure)


@pytest.mark.parametrize("reason", [None, "", " ", "null", "None", False, 0, {}])
def test_an_empty_reason_is_no_finish(reason: Any) -> None:
    """Nothing, however it is spelt, means that the answer goes on."""
    assert read_finish(reason) is None


def test_the_finish_is_tool_calls_only_if_there_are_calls() -> None:
    """Callers wait for what the finish announces."""
    assert honest_finish("stop", calls=True) == "tool_calls"
    assert honest_finish("tool_calls", calls=False) == "stop"
    assert honest_finish("", calls=False) == "stop"
    assert honest_finish("length", calls=False) == "length"
