"""What platforms send when a call begins: recognised by its body, answered as they expect."""

from __future__ import annotations

from typing import Any

import pytest

from completions.web.call_starts import call_start


@pytest.mark.parametrize(
    "body",
    [
        {"caller_id": "+1", "agent_id": "a", "called_number": "+2", "call_sid": "CA1"},
        {"caller_id": "", "agent_id": "a", "called_number": "+2", "call_sid": "c", "new": 1},
        {"agent_id": "a", "caller_id": None},
    ],
)
def test_an_initiation_webhook_gets_client_data(body: dict[str, Any]) -> None:
    """ElevenLabs' webhook is recognised by its arguments, and gets the two fields it expects."""
    start = call_start(body)
    assert start is not None
    assert start.platform == "elevenlabs"
    assert start.answer == {
        "type": "conversation_initiation_client_data",
        "dynamic_variables": {},
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"agent_id": "a"},
        {"caller_id": "+1", "call_sid": "CA1"},
        {"message": {"type": "status-update"}},
        {"call": {"id": "c"}, "messages": []},
    ],
)
def test_any_other_body_is_not_recognised(body: dict[str, Any]) -> None:
    """A body that only resembles a webhook gets no platform's answer."""
    assert call_start(body) is None
