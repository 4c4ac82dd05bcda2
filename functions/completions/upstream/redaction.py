"""Take our key out of an upstream's words and headers before callers see them.

Knows events and texts, but no HTTP, and not what an event means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from completions.sse import ServerSentEvent

MESSAGE_LIMIT_CHARS = 2000
NAME_LIMIT_CHARS = 128
FORWARDED_HEADERS = ("retry-after", "retry-after-ms", "x-request-id")
_PLAIN_TEXT = re.compile(r"[!-~]+(?: [!-~]+)*")
_SHORTEST_KEY_CHARS = 16
"""A shorter key may be a word (`none`, `ollama`) and is not taken out of what a model says."""


def key_to_redact(headers: Mapping[str, str]) -> str:
    """Return the key in our request's headers; empty if it is too short to look for."""
    key = headers.get("authorization", "").removeprefix("Bearer ")
    return key if len(key) >= _SHORTEST_KEY_CHARS else ""


def redact_events(events: list[ServerSentEvent], key: bytes) -> list[ServerSentEvent]:
    """Take our key out of the events, in place: some servers repeat what they were sent."""
    if key:
        for position, (raw, data, event) in enumerate(events):
            if key in (raw or data):
                events[position] = ServerSentEvent(
                    raw.replace(key, b"***"), data.replace(key, b"***"), event
                )
    return events


def redacted_message(message: object, key: str) -> str | None:
    """Return the message of an upstream's error, cut to a length and without our key.

    None if it is not a text.
    """
    if not isinstance(message, str):
        return None
    return (message.replace(key, "***") if key else message)[:MESSAGE_LIMIT_CHARS]


def redacted_name(value: object, key: str = "") -> str | None:
    """Return a code, a type or a field's name if it is short and does not contain our key."""
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LIMIT_CHARS:
        return None
    return None if key and key in value else value


def forwarded_headers(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the headers of a refusal that help our caller, if they are short and plain."""
    return {
        name: value
        for name in FORWARDED_HEADERS
        if (value := redacted_name(headers.get(name), key)) and _PLAIN_TEXT.fullmatch(value)
    }
