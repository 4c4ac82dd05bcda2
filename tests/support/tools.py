"""Tools for tests' requests, without the wrapping that the caller's API adds."""

from __future__ import annotations

from typing import Any

TRANSFER: dict[str, Any] = {
    "name": "transfer_to_agent",
    "description": "Transfers the call.",
    "parameters": {
        "type": "object",
        "properties": {"agent_number": {"type": "integer"}},
        "required": ["agent_number"],
    },
}
SKIP_TURN: dict[str, Any] = {
    "name": "skip_turn",
    "description": "Skips the turn.",
    "parameters": {
        "type": "object",
        "properties": {"reason": {"type": "string"}},
        "required": ["reason"],
    },
}
LOOKUP: dict[str, Any] = {
    "name": "lookup",
    "description": "Looks it up.",
    "parameters": {
        "type": "object",
        "properties": {"count": {"type": "integer"}},
        "required": ["count"],
    },
}
