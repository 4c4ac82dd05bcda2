"""The conversation between an application and a streamed answer, in virtual time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest

from lambda_streaming.asgi import Application, Message, Receive, Scope, Send, converse
from lambda_streaming.failures import Failure
from lambda_streaming.response_stream import ResponseStream
from lambda_streaming.runtime_api import RuntimeApiError

pytestmark = pytest.mark.looptime

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"a/b")]}
END = {"type": "http.response.body", "body": b""}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class RecordedStream(ResponseStream):
    """A streamed answer without sockets: what was said, and when (virtual seconds)."""

    def __init__(self) -> None:
        self.started = self.ended = self.gone = self.abandoned = False
        self.preludes: list[dict[str, Any]] = []
        self.body = bytearray()
        self.failure: Failure | None = None
        self.ended_at_s: float | None = None
        self.tell: Callable[[], object] = lambda: None

    @property
    def lost(self) -> bool:
        return self.gone and not self.ended

    def lose(self) -> None:
        """The platform stops listening."""
        self.gone = True
        self.tell()

    def when_lost(self, call: Callable[[], object]) -> None:
        self.tell = call

    async def start(self, prelude: dict[str, Any]) -> None:
        self.started = True
        self.preludes.append(prelude)

    async def write(self, data: bytes) -> None:
        assert self.started
        if data and (self.ended or self.lost):
            raise BrokenPipeError
        self.body += data

    def end(self, failure: Failure | None = None) -> None:
        if not self.ended and not self.lost:
            self.ended, self.failure = True, failure
            self.ended_at_s = asyncio.get_running_loop().time()

    async def settle(self) -> None:
        pass

    def abandon(self) -> None:
        self.abandoned = True


async def answer(
    application: Application,
    stream: RecordedStream | None = None,
    *,
    method: str = "POST",
    request: bytes = b"question",
    remaining_s: float = 60,
) -> RecordedStream:
    """The answer that `application` gives."""
    stream = stream or RecordedStream()
    scope: Scope = {"type": "http", "method": method}
    await converse(application, scope, request, stream, request_id="r-1", remaining_s=remaining_s)
    assert stream.abandoned
    return stream


def saying(*messages: Message) -> Application:
    """An application that sends these messages, whatever it is asked."""

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return application


async def test_an_answer_goes_through_piece_by_piece() -> None:
    """Start, body and end arrive in order and unchanged."""
    stream = await answer(saying(START, body(b"a", more=True), body(b"b", more=True), END))
    assert stream.preludes == [{"statusCode": 200, "headers": {"content-type": "a/b"}}]
    assert stream.body == b"ab"
    assert stream.ended
    assert stream.failure is None


async def test_body_and_more_body_have_defaults() -> None:
    """A bare body message is an empty, last one."""
    stream = await answer(saying(START, {"type": "http.response.body"}))
    assert (bytes(stream.body), stream.failure, stream.ended) == (b"", None, True)


async def test_the_prelude_leaves_when_the_response_starts() -> None:
    """It does not wait for the first data, nor for the end of an empty body."""
    stream = RecordedStream()

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        assert stream.preludes
        assert not stream.body
        await send(END)

    await answer(application, stream)
    assert stream.failure is None


async def test_the_request_is_received_once_and_then_the_end() -> None:
    """`receive` gives the body, then waits, then tells of the disconnect for good."""
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
    """`receive` tells of it, `send` raises OSError, and it is a warning, not an error."""
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
async def test_messages_out_of_order_are_told_to_the_application(
    messages: list[Message], complaint: str
) -> None:
    """The protocol's order is enforced where it is broken."""
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
    """What an application says after HEAD, 204 or 304 is dropped; its end is still an end."""
    stream = await answer(
        saying({**START, "status": status}, body(b"x", more=True), body(b"y")), method=method
    )
    assert stream.body == b""
    assert stream.ended
    assert stream.failure is None
    assert stream.preludes[0]["headers"]["content-length"] == "0"


async def test_the_status_is_a_plain_number() -> None:
    """An application may say `HTTPStatus.CREATED`; the platform wants 201."""
    stream = await answer(saying({**START, "status": HTTPStatus.CREATED}, END))
    assert type(stream.preludes[0]["statusCode"]) is int


def failing(error: BaseException, *messages: Message) -> Application:
    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        raise error

    return application


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the key is sk-1"),
        SystemExit(1),
        KeyboardInterrupt(),
        ExceptionGroup("g", [OSError()]),
        asyncio.CancelledError(),
    ],
)
async def test_a_failure_before_the_response_is_a_500(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets JSON that says nothing of the inside; the log gets all of it."""
    stream = await answer(failing(error))
    (told,) = stream.preludes
    assert told["statusCode"] == 500
    assert told["headers"]["content-type"] == "application/json"
    assert told["headers"]["content-length"] == str(len(stream.body))
    assert json.loads(stream.body) == {"message": "Internal Server Error", "requestId": "r-1"}
    assert stream.ended
    assert stream.failure is None
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info
    assert record.exc_info[1] is error


async def test_a_failure_before_the_response_to_head_has_no_body() -> None:
    """The layer's own errors keep HTTP's rules as well."""
    stream = await answer(failing(ValueError()), method="HEAD")
    assert stream.preludes[0]["statusCode"] == 500
    assert stream.body == b""


async def test_a_response_that_cannot_be_a_prelude_is_a_500() -> None:
    """A start message that makes no sense fails before anything has left."""
    bad = {**START, "headers": [("text", "not bytes")]}
    assert (await answer(saying(bad))).preludes[0]["statusCode"] == 500


async def test_a_failure_within_the_response_is_told_in_trailers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller has a half answer: its end names the class of the error and nothing secret."""
    error = ValueError("the key is sk-1")
    stream = await answer(failing(error, START, body(b"half", more=True)))
    assert stream.body == b"half"
    assert stream.failure
    assert stream.failure.type == "Function.ValueError"
    assert stream.failure.body.keys() == {"errorType", "errorMessage", "stackTrace"}
    assert stream.failure.body["errorType"] == "ValueError"
    assert "r-1" in stream.failure.body["errorMessage"]
    assert "sk-1" not in json.dumps(stream.failure.body)
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[1] is error


async def test_a_failure_after_the_response_is_only_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Starlette sends its own 500 and then raises: the answer is whole, no trailers."""
    stream = await answer(failing(ValueError(), {**START, "status": 500}, body(b"Sorry")))
    assert stream.body == b"Sorry"
    assert stream.ended
    assert stream.failure is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_an_application_that_returns_too_early_has_failed() -> None:
    """No answer is a 500, half an answer ends with trailers."""
    assert (await answer(saying())).preludes[0]["statusCode"] == 500
    stream = await answer(saying(START, body(b"half", more=True)))
    assert stream.failure
    assert stream.failure.type == "Function.IncompleteResponseError"


async def test_work_after_the_response_is_waited_for() -> None:
    """Nothing runs between invocations, so background work belongs to this one."""
    done: list[float] = []

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)
        await asyncio.sleep(5)
        done.append(asyncio.get_running_loop().time())

    stream = await answer(application)
    assert stream.ended_at_s == 0
    assert done == [5]


def hanging(*messages: Message, on_cancel: Callable[[Send], Awaitable[None]] | None = None) -> Any:
    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if on_cancel:
                await on_cancel(send)
            raise

    return application


async def test_the_deadline_closes_an_open_response(caplog: pytest.LogCaptureFixture) -> None:
    """Half a second before it the application is cancelled and its answer ended with trailers."""
    stream = await answer(hanging(START, body(b"half", more=True)), remaining_s=10)
    assert stream.ended_at_s == 9.5
    assert stream.body == b"half"
    assert stream.failure
    assert stream.failure.type == "Function.DeadlineError"
    assert asyncio.get_running_loop().time() == 9.5
    where = caplog.records[-1]
    assert "was cancelled here" in where.message
    assert where.exc_info
    assert where.exc_info[0] is asyncio.CancelledError


async def test_the_deadline_before_the_response_is_a_504() -> None:
    """A caller who has heard nothing yet gets a proper status."""
    stream = await answer(hanging(), remaining_s=10)
    assert stream.ended_at_s == 9.5
    assert stream.preludes[0]["statusCode"] == 504
    assert json.loads(stream.body) == {"message": "Gateway Timeout", "requestId": "r-1"}


async def test_the_deadline_after_the_response_only_cancels() -> None:
    """Background work that takes too long costs the caller nothing."""
    stream = await answer(hanging(START, END), remaining_s=10)
    assert stream.ended_at_s == 0
    assert stream.failure is None
    assert asyncio.get_running_loop().time() == 9.5


async def test_a_cancelled_application_cannot_add_to_the_closed_answer() -> None:
    """After the cut its messages raise OSError, whatever they are."""
    refused: list[OSError] = []

    async def one_more(send: Send) -> None:
        for message in (START, body(b"more", more=True)):
            try:
                await send(message)
            except OSError as error:
                refused.append(error)

    stream = await answer(hanging(on_cancel=one_more), remaining_s=10)
    assert len(refused) == 2
    assert json.loads(stream.body)["message"] == "Gateway Timeout"


async def test_a_cancelled_application_hears_of_the_disconnect() -> None:
    """Whoever still listens after the cut is told that it is over."""
    heard: list[Message] = []

    async def application(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        try:
            await asyncio.sleep(3600)
        finally:
            heard.append(await receive())

    await answer(application, remaining_s=10)
    assert heard == [{"type": "http.disconnect"}]
    assert asyncio.get_running_loop().time() == 9.5


async def test_an_application_that_ignores_its_cancellation_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The answer is closed, and the next invocation is polled for before the deadline."""

    async def stubborn(_send: Send) -> None:
        await asyncio.sleep(3600)

    before = asyncio.all_tasks()
    stream = await answer(hanging(START, on_cancel=stubborn), remaining_s=10)
    assert stream.ended_at_s == 9.5
    assert asyncio.get_running_loop().time() == pytest.approx(9.9)
    assert "has not ended" in caplog.text
    for task in asyncio.all_tasks() - before:
        await asyncio.wait({task})  # cancelled a second time, it gives in


async def test_a_platform_that_does_not_read_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Waiting for the verdict ends before the deadline as well."""

    class UnreadStream(RecordedStream):
        async def settle(self) -> None:
            await asyncio.sleep(3600)

    await answer(saying(START, END), UnreadStream(), remaining_s=10)
    assert asyncio.get_running_loop().time() == pytest.approx(9.9)
    assert "has not read" in caplog.text


async def test_an_invocation_that_comes_late_is_answered_all_the_same() -> None:
    """With no time left the caller still gets a 504 rather than nothing."""
    stream = await answer(hanging(), remaining_s=0)
    assert stream.preludes[0]["statusCode"] == 504


async def test_an_error_that_cannot_be_sent_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No connection for the 500 either: that is a warning, and the next poll decides."""

    class UnreachableStream(RecordedStream):
        async def start(self, prelude: dict[str, Any]) -> None:
            raise ConnectionRefusedError("nobody there")

    await answer(saying(START), UnreachableStream())
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]
    assert "nobody there" in caplog.text


async def test_a_broken_environment_is_fatal_and_leaves_no_task() -> None:
    """The platform's 5xx goes up to the loop; the answer is given up on the way."""

    class BrokenStream(RecordedStream):
        async def settle(self) -> None:
            raise RuntimeApiError("500")

    stream = BrokenStream()
    with pytest.raises(RuntimeApiError):
        await answer(saying(START, END), stream)
    assert stream.abandoned


async def test_a_cancelled_conversation_takes_the_application_with_it() -> None:
    """When the environment is shut down, nothing of an invocation stays behind."""
    stream = RecordedStream()
    ended = asyncio.Event()

    async def note(_send: Send) -> None:
        ended.set()

    task = asyncio.create_task(answer(hanging(START, on_cancel=note), stream))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 1)
    assert stream.abandoned


async def test_a_quiet_conversation_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A healthy answer costs no log line."""
    with caplog.at_level(logging.DEBUG, "lambda_streaming"):
        await answer(saying(START, body(b"x")))
    assert not [r for r in caplog.records if r.name.startswith("lambda_streaming")]


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
