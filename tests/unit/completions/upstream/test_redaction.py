"""Redaction: our key is removed from whatever an upstream sends, and nothing else is."""

from __future__ import annotations

import pytest

from completions.sse import ServerSentEvent
from completions.upstream.redaction import (
    MESSAGE_LIMIT_CHARS,
    NAME_LIMIT_CHARS,
    key_to_redact,
    redact_events,
    redacted_message,
    redacted_name,
)

KEY = "sk-0123456789abcdef"


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": f"Bearer {KEY}"}, KEY),
        ({"authorization": "Bearer ollama"}, ""),
        ({}, ""),
    ],
)
def test_a_short_key_is_not_redacted(headers: dict[str, str], key: str) -> None:
    """A key like `ollama` may be a word, and stays in a model's text."""
    assert key_to_redact(headers) == key


def test_events_with_the_key_are_rewritten() -> None:
    """Bytes and data are; a body that is no event has data only, and other events are unchanged."""
    fine = ServerSentEvent(b"data: fine\n\n", b"fine", b"kind")
    echo = ServerSentEvent(f"data: {KEY}!\n\n".encode(), f"{KEY}!".encode(), b"kind")
    body = ServerSentEvent(b"", KEY.encode())
    events = redact_events([fine, echo, body], KEY.encode())
    assert events[0] is fine
    assert events[1:] == [
        ServerSentEvent(b"data: ***!\n\n", b"***!", b"kind"),
        ServerSentEvent(b"", b"***"),
    ]


def test_without_a_key_nothing_is_redacted() -> None:
    """An empty key would match every text."""
    event = ServerSentEvent(b"data: a\n\n", b"a")
    assert redact_events([event], b"")[0] is event
    assert redacted_message("a", "") == "a"
    assert redacted_name("a") == "a"


def test_a_message_is_a_bounded_text_without_the_key() -> None:
    """A value that is not a text is dropped."""
    assert redacted_message(f"bad key {KEY}", KEY) == "bad key ***"
    assert redacted_message("x" * MESSAGE_LIMIT_CHARS * 2, KEY) == "x" * MESSAGE_LIMIT_CHARS
    assert redacted_message({"a": 1}, KEY) is None


@pytest.mark.parametrize("value", [None, 42, "", "x" * (NAME_LIMIT_CHARS + 1), f"x-{KEY}"])
def test_a_name_is_short_and_does_not_contain_the_key(value: object) -> None:
    """A code or field that is long, empty, not a text or contains our key is dropped."""
    assert redacted_name(value, KEY) is None
    assert redacted_name("x" * NAME_LIMIT_CHARS, KEY) == "x" * NAME_LIMIT_CHARS
