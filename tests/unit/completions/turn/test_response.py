"""The ASGI response: one start, once status and headers are known, and one end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from completions.errors import UpstreamRefused
from completions.turn.response import UNREAD_LIMIT_S, ResponseSender

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
    """Empty pieces are not sent, and later pieces start nothing."""
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


async def test_a_stream_forbids_caching_and_buffering() -> None:
    """Otherwise a proxy would hold it back."""
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


@pytest.mark.parametrize("closes", [False, True])
async def test_background_writes_are_never_overtaken(closes: bool) -> None:
    """The next write, be it a piece or the end, waits until they have left."""
    sent = Sent()

    async def send(message: Any) -> None:
        await asyncio.sleep(1 if message.get("body") == b"aside" else 0)
        await sent(message)

    response = ResponseSender(send)
    await response.write(b"a")
    response.write_in_background(b"aside")
    assert response.sending
    await (response.close(b"b") if closes else response.write(b"b"))
    assert not response.sending
    assert sent.pieces == [(b"a", True), (b"aside", True), (b"b", not closes)]
    response.release()


async def test_a_failed_background_write_shows_at_the_next_message() -> None:
    """It raises nothing itself, and no wait is unbounded."""

    async def send(message: Any) -> None:
        if message.get("body") != b"a":
            raise OSError("gone")

    response = ResponseSender(send)
    response.status = 200
    await response.write(b"a")
    response.write_in_background(b"aside")
    with pytest.raises(OSError, match="gone"):
        await response.write(b"b")
    response.release()


async def test_the_end_is_timed() -> None:
    """Its time is when the last byte was handed over."""
    response = ResponseSender(Sent())
    await response.write(b"a")
    assert response.closed_at is None
    await asyncio.sleep(2)
    await response.close(b"b")
    assert response.closed_at == 2


class Stuck(Sent):
    """A caller who takes so many messages and then none until released."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after
        self.go_on = asyncio.Event()

    async def __call__(self, message: Any) -> None:
        """Record one, unless the caller takes no more."""
        if len(self.messages) == self._after:
            await self.go_on.wait()
        await super().__call__(message)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_caller_who_takes_nothing_is_noticed(after: int) -> None:
    """This holds at the first message, in the middle and at the last, within the limit."""
    response = ResponseSender(Stuck(after))

    async def speak() -> None:
        await response.write(b"a")
        await response.write(b"b")
        await response.close(b"c")

    speaking = asyncio.create_task(speak())
    await response.stopped_reading
    assert UNREAD_LIMIT_S / 2 <= asyncio.get_running_loop().time() <= UNREAD_LIMIT_S
    assert not speaking.done()
    speaking.cancel()
    response.release()


async def test_a_slow_caller_has_not_hung_up() -> None:
    """A caller who takes a piece now and then, or has nothing to take, is still there."""
    sent = Stuck(2)
    response = ResponseSender(sent)
    await response.write(b"a")
    await asyncio.sleep(3 * UNREAD_LIMIT_S)
    for number in range(20):
        sent.go_on.clear()
        sent._after = len(sent.messages)
        writing = asyncio.create_task(response.write(b"b"))
        await asyncio.sleep(UNREAD_LIMIT_S / 2 - 1 - number % 7)
        sent.go_on.set()
        await writing
    await response.close()
    await asyncio.sleep(3 * UNREAD_LIMIT_S)
    assert not response.stopped_reading.done()


async def test_a_last_comment_precedes_the_last_piece() -> None:
    """It is made when the stream ends, and not for JSON."""
    sent, whole = Sent(), Sent()
    stream, answer = ResponseSender(sent), ResponseSender(whole)
    stream.last_comment = answer.last_comment = lambda: b": c\n"
    await stream.write(b"a")
    await stream.close(b"b")
    await answer.json(b"{}")
    assert [piece for piece, _ in sent.pieces] == [b"a", b": c\nb"]
    assert [piece for piece, _ in whole.pieces] == [b"{}"]
