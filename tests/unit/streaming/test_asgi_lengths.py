"""An answer's content length, and the prelude that waits to learn it, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lambda_streaming.asgi import Message, Receive, Scope, Send
from tests.support.recorded_stream import (
    END,
    RecordedStream,
    answer,
    body,
    saying,
)

pytestmark = pytest.mark.looptime


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


TYPED = (b"content-type", b"text/plain")


@pytest.mark.parametrize(
    "message",
    [
        start(302, (b"location", b"/x")),
        start(302, (b"location", b"/x"), TYPED),
        start(200),
    ],
)
async def test_an_empty_answer_gets_a_content_length(message: Message) -> None:
    """An empty answer gets a content-length of 0; without one, Function URLs have hung."""
    stream = await answer(saying(message, body(b"", more=True), END))
    assert stream.preludes[0]["headers"]["content-length"] == "0"


@pytest.mark.parametrize("message", [start(302), start(200)])
async def test_an_answer_with_a_body_gets_no_content_length(message: Message) -> None:
    """An answer with a body gets no content-length."""
    stream = await answer(saying(message, body(b"x", more=True), END))
    assert "content-length" not in stream.preludes[0].get("headers", {})
    assert stream.body == b"x"


@pytest.mark.parametrize(
    ("message", "held_s"),
    [
        (start(200, (b"content-type", b"text/event-stream")), 0.0),
        (start(200, (b"content-length", b"1")), 0.0),
        (start(204), 0.0),
        (start(200), 0.005),
    ],
)
async def test_a_prelude_is_held_where_an_empty_body_is_likely(
    message: Message, held_s: float
) -> None:
    """The prelude is held for 5 ms at most, and not at all for an event stream."""
    now = asyncio.get_running_loop().time
    begun_at: list[float] = []

    class Timed(RecordedStream):
        async def start(self, prelude: dict[str, Any]) -> None:
            begun_at.append(now())
            await super().start(prelude)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(message)
        await asyncio.sleep(1)
        await send(body(b"x"))

    began = now()
    await answer(application, Timed())
    assert begun_at == [pytest.approx(began + held_s)]


async def test_a_failure_while_the_prelude_is_held_is_a_500() -> None:
    """The prelude has not left yet, so the status is a 500."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        raise ValueError("bad")

    stream = await answer(application)
    assert [told["statusCode"] for told in stream.preludes] == [500]


async def test_a_held_prelude_that_cannot_be_sent_raises_in_the_application() -> None:
    """The application's next `send` raises the error."""

    class Deaf(RecordedStream):
        async def start(self, prelude: dict[str, Any]) -> None:
            raise BrokenPipeError("nobody listens")

    raised: list[OSError] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        try:
            await send(body(b"x"))
        except OSError as error:
            raised.append(error)

    await answer(application, Deaf())
    assert raised


@pytest.mark.parametrize("sent", [b"12", b"1234"])
async def test_a_body_that_is_not_as_long_as_promised_is_a_failure(sent: bytes) -> None:
    """A body shorter or longer than its content-length fails, and no extra byte is sent."""
    stream = await answer(saying(start(200, (b"content-length", b"3"), TYPED), body(sent)))
    assert stream.failure
    assert len(stream.body) < 3


async def test_a_head_answer_keeps_its_promise_without_a_body() -> None:
    """An answer to HEAD may name the length that a GET would have."""
    head = saying(start(200, (b"content-length", b"3"), TYPED), body(b"123"))
    stream = await answer(head, method="HEAD")
    assert (stream.failure, bytes(stream.body)) == (None, b"")
