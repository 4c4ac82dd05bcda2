"""The length that an answer names, and the prelude that waits for it, in virtual time."""

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
async def test_an_answer_that_turns_out_empty_names_its_length(message: Message) -> None:
    """An empty answer of unknown length has been seen to hang a Function URL."""
    stream = await answer(saying(message, body(b"", more=True), END))
    assert stream.preludes[0]["headers"]["content-length"] == "0"


@pytest.mark.parametrize("message", [start(302), start(200)])
async def test_an_answer_that_has_a_body_after_all_names_no_length(message: Message) -> None:
    """The prelude leaves with the first of it."""
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
    """For five milliseconds at most, and a stream of events not at all."""
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
    """Nothing was sent yet, so the status can still be honest."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        raise ValueError("bad")

    stream = await answer(application)
    assert [told["statusCode"] for told in stream.preludes] == [500]


async def test_a_held_prelude_that_cannot_leave_is_told_to_the_application() -> None:
    """The one that waits for it gets the error, and no task is left with it."""

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
    """The caller would wait for the rest, or read too much; no byte beyond the promise leaves."""
    stream = await answer(saying(start(200, (b"content-length", b"3"), TYPED), body(sent)))
    assert stream.failure
    assert len(stream.body) < 3


async def test_a_head_answer_keeps_its_promise_without_a_body() -> None:
    """Its length is that of the answer to a GET."""
    head = saying(start(200, (b"content-length", b"3"), TYPED), body(b"123"))
    stream = await answer(head, method="HEAD")
    assert (stream.failure, bytes(stream.body)) == (None, b"")
