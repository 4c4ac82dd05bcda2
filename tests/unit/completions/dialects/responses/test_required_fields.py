"""A response with every field that strict clients require."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.responses.required_fields import REQUIRED_FIELDS, is_whole, whole_usage

DETAILS = {"cached_tokens": 0, "cache_write_tokens": 0}
WHOLE = {
    "input_tokens": 5,
    "input_tokens_details": DETAILS,
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 12,
}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (WHOLE, WHOLE),
        ({"input_tokens": 5, "output_tokens": 7}, WHOLE),
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "x": 1}, WHOLE),
        ({**WHOLE, "input_tokens_details": None, "cost": 0.1}, {**WHOLE, "cost": 0.1}),
        (
            {**WHOLE, "input_tokens_details": {"cached_tokens": 4, "audio_tokens": 1}},
            {**WHOLE, "input_tokens_details": {**DETAILS, "cached_tokens": 4, "audio_tokens": 1}},
        ),
        (
            {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"a": 1}},
            WHOLE,
        ),
        (None, None),
        ({}, None),
        ("12", None),
    ],
)
def test_usage_has_every_count(usage: Any, expected: Any) -> None:
    """Counts that a server lacks are 0; counts that only it has stay if the API is this one."""
    assert whole_usage(usage) == expected


RESPONSE: dict[str, Any] = dict.fromkeys(REQUIRED_FIELDS, "x") | {"output": []}
PART = {"type": "output_text", "text": "Hi.", "annotations": []}
MESSAGE = {
    "type": "message",
    "id": "m",
    "role": "assistant",
    "status": "completed",
    "content": [PART],
}


@pytest.mark.parametrize(
    "more",
    [
        {"usage": {"input_tokens": 5}},
        {"tools": None},
        {"output": ["x"]},
        {"output": [{**MESSAGE, "id": None}]},
        {"output": [{**MESSAGE, "content": ["x"]}]},
        {"output": [{**MESSAGE, "content": [{"type": "output_text", "text": "Hi."}]}]},
        {"output": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
        {"output": [{"type": "reasoning", "id": "r"}]},
    ],
    ids=str,
)
def test_a_response_that_lacks_something_is_not_whole(more: dict[str, Any]) -> None:
    """A whole response is passed on as it is, with all that only its server knows."""
    assert is_whole({**RESPONSE, "output": [MESSAGE, {"type": "x"}], "usage": WHOLE, "tier": 1})
    assert not is_whole({**RESPONSE, **more})
