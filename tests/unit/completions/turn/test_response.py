"""The ASGI response: one start, in which status and headers are known, and one end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from completions.errors import UpstreamRefused
from completions.turn.response import ResponseSender

pytestmark = pytest.mark.looptime


class Sent:
    """Records the ASGI messages of one response."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def __call__(self, message: Any) -> None:
        """Record one."""
        self.messages.append(message)

    @property
    def starts(self) -> list[tuple[int, dict[str, str]]]:
        """Return status and headers of each start."""
        return [
            (one["status"], {name.decode(): value.decode() for name, value in one["headers"]})
            for one in self.messages
            if one["type"] == "http.response.start"
        ]

    @property
    def pieces(self) -> list[tuple[bytes, bool]]:
        """Return each piece of the body, and whether more follows."""
        return [
            (one["body"], one["more_body"])
            for one in self.messages
            if one["type"] == "http.response.body"
        ]


async def test_the_first_piece_starts_the_stream() -> None:
    """Empty pieces are not sent, and later ones start nothing."""
    sent = Sent()
    response = ResponseSender(sent)
    await response.write(b"")
    assert not response.started
    await response.write(b"a")
    await response.write(b"b")
    await response.close(b"c")
    ((status, headers),) = sent.starts
    assert (status, response.status, response.closed) == (200, 200, True)
    assert headers["content-type"].startswith("text/event-stream")
    assert sent.pieces == [(b"a", True), (b"b", True), (b"c", False)]


async def test_no_proxy_holds_a_stream_back() -> None:
    """It forbids caching and buffering."""
    sent = Sent()
    await ResponseSender(sent).close()
    ((_, headers),) = sent.starts
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")


async def test_an_error_has_its_own_status_and_headers() -> None:
    """The upstream's `Retry-After` is passed on with its 429."""
    sent = Sent()
    response = ResponseSender(sent)
    await response.refuse(UpstreamRefused("No.", status=429, headers={"retry-after": "7"}))
    ((status, headers),) = sent.starts
    ((data, more),) = sent.pieces
    assert (status, response.status, headers["retry-after"]) == (429, 429, "7")
    assert headers["content-type"] == "application/json"
    assert (int(headers["content-length"]), more) == (len(data), False)


async def test_the_end_is_timed() -> None:
    """The time is that at which the last byte was handed over."""
    response = ResponseSender(Sent())
    await response.write(b"a")
    assert response.closed_at is None
    await asyncio.sleep(2)
    await response.close(b"b")
    assert response.closed_at == 2
