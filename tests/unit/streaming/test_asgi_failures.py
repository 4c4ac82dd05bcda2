"""Applications that fail, hang or are cancelled, in virtual time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lambda_streaming.asgi import Message, Receive, Scope, Send
from lambda_streaming.runtime_api import RuntimeApiError
from tests.support.recorded_stream import (
    END,
    START,
    RecordedStream,
    answer,
    body,
    failing,
    hanging,
    saying,
)

pytestmark = pytest.mark.looptime


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
    """The caller gets JSON without internals, and the log gets the exception."""
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
    """HEAD gets the status of the layer's own error without a body."""
    stream = await answer(failing(ValueError()), method="HEAD")
    assert stream.preludes[0]["statusCode"] == 500
    assert stream.body == b""


async def test_a_response_that_cannot_be_a_prelude_is_a_500() -> None:
    """A start message with malformed headers fails before anything is sent."""
    bad = {**START, "headers": [("text", "not bytes")]}
    assert (await answer(saying(bad))).preludes[0]["statusCode"] == 500


async def test_a_failure_within_the_response_ends_with_trailers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The trailers of a half-sent answer name the error's class and nothing secret."""
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
    """The answer has no trailers: Starlette, for one, sends its own 500 and then raises."""
    stream = await answer(failing(ValueError(), {**START, "status": 500}, body(b"Sorry")))
    assert stream.body == b"Sorry"
    assert stream.ended
    assert stream.failure is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_an_application_that_returns_too_early_has_failed() -> None:
    """No answer becomes a 500, and half an answer ends with trailers."""
    assert (await answer(saying())).preludes[0]["statusCode"] == 500
    stream = await answer(saying(START, body(b"half", more=True)))
    assert stream.failure
    assert stream.failure.type == "Function.IncompleteResponseError"


async def test_the_deadline_closes_an_open_response(caplog: pytest.LogCaptureFixture) -> None:
    """The application is cancelled half a second earlier, and its answer ends with trailers."""
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
    """A caller who has received nothing yet gets an error status."""
    stream = await answer(hanging(), remaining_s=10)
    assert stream.ended_at_s == 9.5
    assert stream.preludes[0]["statusCode"] == 504
    assert json.loads(stream.body) == {"message": "Gateway Timeout", "requestId": "r-1"}


async def test_the_deadline_after_the_response_only_cancels() -> None:
    """Background work that takes too long is cancelled and does not affect the answer."""
    stream = await answer(hanging(START, END), remaining_s=10)
    assert stream.ended_at_s == 0
    assert stream.failure is None
    assert asyncio.get_running_loop().time() == 9.5


async def test_a_cancelled_application_cannot_add_to_the_closed_answer() -> None:
    """Every message that it sends after the cut raises OSError."""
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


async def test_a_cancelled_application_receives_a_disconnect() -> None:
    """`receive` returns a disconnect after the cut."""
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
    """Its answer is closed, and the conversation ends before the deadline."""

    async def stubborn(_send: Send) -> None:
        await asyncio.sleep(3600)

    before = asyncio.all_tasks()
    stream = await answer(hanging(START, on_cancel=stubborn), remaining_s=10)
    assert stream.ended_at_s == 9.5
    assert asyncio.get_running_loop().time() == pytest.approx(9.9)
    assert "has not ended" in caplog.text
    for task in asyncio.all_tasks() - before:
        await asyncio.wait({task})  # the second cancellation ends it


async def test_a_platform_that_does_not_read_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Waiting for the platform's verdict ends before the deadline."""

    class UnreadStream(RecordedStream):
        async def settle(self) -> None:
            await asyncio.sleep(3600)

    await answer(saying(START, END), UnreadStream(), remaining_s=10)
    assert asyncio.get_running_loop().time() == pytest.approx(9.9)
    assert "has not read" in caplog.text


async def test_an_invocation_past_its_deadline_is_answered() -> None:
    """The caller gets a 504 even if no time is left."""
    stream = await answer(hanging(), remaining_s=0)
    assert stream.preludes[0]["statusCode"] == 504


async def test_an_error_that_cannot_be_sent_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """If the 500 cannot be sent either, that is logged as a warning."""

    class UnreachableStream(RecordedStream):
        async def start(self, prelude: dict[str, Any]) -> None:
            raise ConnectionRefusedError("nobody there")

    await answer(saying(START), UnreachableStream())
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]
    assert "nobody there" in caplog.text


async def test_a_broken_environment_is_fatal_and_leaves_no_task() -> None:
    """A 5xx of the platform is raised to the loop, and the answer is abandoned."""

    class BrokenStream(RecordedStream):
        async def settle(self) -> None:
            raise RuntimeApiError("500")

    stream = BrokenStream()
    with pytest.raises(RuntimeApiError):
        await answer(saying(START, END), stream)
    assert stream.abandoned


async def test_a_cancelled_conversation_takes_the_application_with_it() -> None:
    """A shutdown of the environment cancels the application and abandons its answer."""
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
