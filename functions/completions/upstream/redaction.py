"""What of an upstream's words and headers is shown to callers: never our key.

Knows frames and texts; nothing of HTTP and of what a frame says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from completions.sse import ServerSentEvent

MESSAGE_LIMIT_CHARS = 2000
PASSED_ON_HEADERS = ("retry-after", "retry-after-ms", "x-request-id")
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_PLAIN_LIMIT_CHARS = 128
_KEY_CHARS = 16
"""A shorter key may be a word (`none`, `ollama`) and is not taken out of what a model says."""


def key_in(headers: Mapping[str, str]) -> str:
    """The key that a request of ours carried; empty for one too short to be looked for."""
    key = headers.get("authorization", "").removeprefix("Bearer ")
    return key if len(key) >= _KEY_CHARS else ""


def redact(key: bytes, events: list[ServerSentEvent]) -> list[ServerSentEvent]:
    """The frames, in none of which our key stands: some servers repeat what they were sent."""
    if key:
        for position, (raw, data, event) in enumerate(events):
            if key in (raw or data):
                events[position] = ServerSentEvent(
                    raw.replace(key, b"***"), data.replace(key, b"***"), event
                )
    return events


def redacted_message(message: object, key: str) -> str | None:
    """The words of an upstream's error, cut to a length and without our key; None for no words."""
    if not isinstance(message, str):
        return None
    return (message.replace(key, "***") if key else message)[:MESSAGE_LIMIT_CHARS]


def shown_name(value: object, key: str = "") -> str | None:
    """A code, a type, the name of a field: short, or it is none; not our key, either."""
    if not isinstance(value, str) or not 0 < len(value) <= _PLAIN_LIMIT_CHARS:
        return None
    return None if key and key in value else value


def forwarded_headers(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Of a refusal's headers those that help our caller, if there is nothing odd in them."""
    return {
        name: value
        for name in PASSED_ON_HEADERS
        if (value := shown_name(headers.get(name), key)) and _PLAIN.fullmatch(value)
    }
