"""What platforms ask when a call begins, and the answers that they expect: a row for each.

A platform that fetches the call's data from a URL waits for the answer, and starts no call without
it. Knows bodies and answers, not what is done before the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from completions.immutable import immutable


@immutable
class CallStart:
    """The webhook of one platform."""

    platform: str
    has: frozenset[str]
    """The fields that its body always has."""
    has_one_of: frozenset[str]
    answer: Mapping[str, Any]
    """The answer that it expects from a server with nothing to say about the call."""


CALL_STARTS = (
    # elevenlabs.io/docs, "Twilio personalization": the arguments are agent_id, caller_id,
    # called_number and call_sid, and the answer is a client's first message on a WebSocket.
    CallStart(
        "elevenlabs",
        frozenset({"agent_id"}),
        frozenset({"caller_id", "called_number", "call_sid"}),
        {"type": "conversation_initiation_client_data", "dynamic_variables": {}},
    ),
)


def call_start(body: Mapping[str, Any]) -> CallStart | None:
    """Return the platform's row for this webhook, or None if it is unknown."""
    for one in CALL_STARTS:
        if one.has <= body.keys() and one.has_one_of & body.keys():
            return one
    return None
