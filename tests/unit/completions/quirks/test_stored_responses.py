"""Refusals about stored responses, which only one upstream has, in every spelling."""

from __future__ import annotations

from typing import Any

import pytest

from completions.errors import UpstreamRefused
from completions.quirks.stored_responses import names_stored

BODY: dict[str, Any] = {
    "previous_response_id": "resp_123",
    "conversation": {"id": "conv_123"},
    "input": [{"type": "reasoning", "id": "rs_123"}, {"role": "user", "content": "Hi"}, "x"],
}


def _refusal(
    message: str = "No.", status: int = 404, *, code: str = "", param: str | None = None
) -> UpstreamRefused:
    return UpstreamRefused(message, status=status, code=code, param=param)


@pytest.mark.parametrize(
    "error",
    [
        _refusal(status=400, code="previous_response_not_found", param="previous_response_id"),
        _refusal(code="conversation_not_found"),
        _refusal(code="PreviousResponseNotFound"),
        _refusal("Item with id 'rs_123' not found. Items are not persisted.", param="input"),
        _refusal("Response with id 'resp_123' not found.", param="response_id", code="404"),
        _refusal("Conversation conv_123 does not exist."),
        _refusal("Unknown parameter: 'previous_response_id'.", 400),
        _refusal("This server does not support 'previous_response_id'.", 501),
        _refusal("No.", 422, param="conversation.id"),
    ],
    ids=str,
)
def test_a_missing_response_is_recognised(error: UpstreamRefused) -> None:
    """The sign is a code, a field, or words that name the field or the id."""
    assert names_stored(error, BODY)


@pytest.mark.parametrize(
    "error",
    [
        _refusal("The model gpt-x does not exist.", code="model_not_found"),
        _refusal("Not found."),
        _refusal("No.", 400, param="temperature", code="unsupported_parameter"),
        _refusal("Tool 'search' not found in 'tools'.", 400, code="tool_not_found"),
        _refusal("Overloaded while answering resp_123.", 503),
        _refusal("Too many requests for conv_123.", 429),
    ],
    ids=str,
)
def test_other_refusals_are_not_about_stored_responses(error: UpstreamRefused) -> None:
    """They are adapted to, passed on or spoken as usual."""
    assert not names_stored(error, BODY)


@pytest.mark.parametrize(
    "body", [{}, {"input": "Hi"}, {"conversation": 5, "input": [None, {"id": 3}, {"id": "a"}]}]
)
def test_bodies_without_ids_match_no_words(body: dict[str, Any]) -> None:
    """A one-letter id would match any sentence."""
    assert not names_stored(_refusal("Not a thing."), body)
