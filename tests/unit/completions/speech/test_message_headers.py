"""Headers of messages: the role, the channel, the recipient."""

from __future__ import annotations

import pytest

from completions.speech.message_headers import Header, read_header


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("assistant", Header()),
        ("model", Header()),
        ("assistant final", Header()),
        ("final  json", Header()),
        ("commentary", Header()),
        ("analysis", Header(silent=True)),
        ("assistant analysis", Header(silent=True)),
        ("user", Header(silent=True, others=True)),
        ("commentary to=functions.f  json", Header("functions.f", silent=True)),
        ("assistant to=functions.f commentary", Header("functions.f", silent=True)),
        ("assistant Hello", Header(words="Hello")),
        (" of the show", Header(words=" of the show")),
        ("users call", Header(words="users call")),
        ("", Header()),
    ],
)
def test_a_header_yields_role_channel_and_recipient(text: str, header: Header) -> None:
    """Anything else in it counts as words."""
    assert read_header(text) == header
