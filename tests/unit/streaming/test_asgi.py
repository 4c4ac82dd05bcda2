"""The conversation between an application and a streamed answer, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

import pytest

from lambda_streaming.asgi import Message, Receive, Scope, Send
from tests.support.recorded_stream import (
    END,
    START,
    RecordedStream,
    answer,
    body,
    saying,
)

pytestmark = pytest.mark.looptime


async def test_an_answer_goes_through_piece_by_piece() -> None:
    """Start, body and end arrive in order and unchanged."""
    stream = await answer(saying(START, body(b"a", more=True), body(b"b", more=True), END))
    assert stream.preludes == [{"statusCode": 200, "headers": {"content-type": "a/b"}}]
    assert stream.body == b"ab"
    assert stream.ended
    assert stream.failure is None


async def test_body_and_more_body_have_defaults() -> None:
    """A bare body message is empty and the last one."""
    stream = await answer(saying(START, {"type": "http.response.body"}))
    assert (bytes(stream.body), stream.failure, stream.ended) == (b"", None, True)


async def test_the_prelude_leaves_when_the_response_starts() -> None:
    """It waits neither for the first data nor for the end of an empty body."""
    stream = RecordedStream()

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        assert stream.preludes
        assert not stream.body
        await send(END)

    await answer(application, stream)
    assert stream.failure is None


async def test_the_request_is_received_once_and_then_a_disconnect() -> None:
    """`receive` returns the body, then waits, then returns the disconnect every time."""
    stream = RecordedStream()
    heard: list[Message] = []

    async def application(_scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(await receive())
        listener = asyncio.ensure_future(receive())
        await send(START)
        await asyncio.sleep(1)
        assert not listener.done()
        await send(END)
        heard.append(await listener)
        heard.append(await receive())

    await answer(application, stream)
    assert heard == [
        {"type": "http.request", "body": b"question", "more_body": False},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]


async def test_a_platform_that_stops_listening_is_a_disconnect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`receive` returns the disconnect, `send` raises OSError, and the log has a warning."""
    stream = RecordedStream()

    async def application(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        asyncio.get_running_loop().call_later(1, stream.lose)
        assert await receive() == {"type": "http.disconnect"}
        with pytest.raises(OSError, match="closed before"):
            await send(END)
        await send(body(b"to nobody", more=True))

    await answer(application, stream)
    assert stream.failure is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "stopped reading" in record.message
    assert record.exc_info
    assert isinstance(record.exc_info[1], OSError)


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([body(b"x")], "'http.response.body' was sent where 'http.response.start' was expected"),
        ([START, START], "'http.response.start' was sent where 'http.response.body' was expected"),
        ([START, END, body(b"x")], "'http.response.body' was sent after the response was complete"),
        ([START, END, START], "'http.response.start' was sent after the response was complete"),
        ([{"type": "websocket.accept"}], "'websocket.accept' was sent where"),
    ],
)
async def test_messages_out_of_order_raise_in_the_application(
    messages: list[Message], complaint: str
) -> None:
    """`send` raises RuntimeError for a message out of the protocol's order."""
    told: list[str] = []

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages[:-1]:
            await send(message)
        try:
            await send(messages[-1])
        except RuntimeError as error:
            told.append(str(error))

    await answer(application)
    assert len(told) == 1
    assert complaint in told[0]


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 204)]
)
async def test_some_answers_have_no_body(method: str, status: int) -> None:
    """The body of an answer to HEAD, of a 204 or a 304 is dropped, and the answer ends normally."""
    stream = await answer(
        saying({**START, "status": status}, body(b"x", more=True), body(b"y")), method=method
    )
    assert stream.body == b""
    assert stream.ended
    assert stream.failure is None
    assert stream.preludes[0]["headers"]["content-length"] == "0"


async def test_the_status_is_a_plain_number() -> None:
    """The platform gets 201 for `HTTPStatus.CREATED`."""
    stream = await answer(saying({**START, "status": HTTPStatus.CREATED}, END))
    assert type(stream.preludes[0]["statusCode"]) is int


async def test_work_after_the_response_is_awaited() -> None:
    """Background work belongs to its invocation, since nothing runs between invocations."""
    done: list[float] = []

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)
        await asyncio.sleep(5)
        done.append(asyncio.get_running_loop().time())

    stream = await answer(application)
    assert stream.ended_at_s == 0
    assert done == [5]


async def test_a_quiet_conversation_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A healthy answer logs nothing."""
    with caplog.at_level(logging.DEBUG, "lambda_streaming"):
        await answer(saying(START, body(b"x")))
    assert not [r for r in caplog.records if r.name.startswith("lambda_streaming")]
