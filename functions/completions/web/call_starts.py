"""What platforms ask when a call begins, and what they want to hear: a row for each.

A platform that fetches the call's data from a URL waits for the answer, and starts no call without
it. Knows bodies and answers; not what is done before the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CallStart:
    """The webhook of one platform."""

    platform: str
    has: frozenset[str]
    """Fields that its body always has."""
    has_one_of: frozenset[str]
    answer: Mapping[str, Any]
    """What it wants to hear from somebody who has nothing to say about the call."""


CALL_STARTS = (
    # elevenlabs.io/docs, "Twilio personalization": the arguments are agent_id, caller_id,
    # called_number and call_sid, and the answer is what a client sends first on a WebSocket.
    CallStart(
        "elevenlabs",
        frozenset({"agent_id"}),
        frozenset({"caller_id", "called_number", "call_sid"}),
        {"type": "conversation_initiation_client_data", "dynamic_variables": {}},
    ),
)


def call_start(body: Mapping[str, Any]) -> CallStart | None:
    """Return whose webhook this is, or None if nobody's that we know."""
    for one in CALL_STARTS:
        if one.has <= body.keys() and one.has_one_of & body.keys():
            return one
    return None
