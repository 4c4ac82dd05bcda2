"""Plain handlers in the loop, their results and their errors."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from tests.support.invocations import BUFFERED, URL_EVENT, Serve
from tests.support.runtime_api import FakeRuntimeApi


@pytest.mark.parametrize("event", [{"Records": []}, URL_EVENT])
async def test_a_plain_handler_gets_the_ordinary_answer(
    api: FakeRuntimeApi, serve: Serve, event: Any
) -> None:
    """A plain handler works as it does without the layer, for HTTP events as well."""

    def handler(event: Any, context: Any) -> Any:
        return {"id": context.aws_request_id}

    await serve(handler)
    request_id = api.invoke(event)
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/response"
    assert post.header("content-type") == "application/json"
    assert post.header("lambda-runtime-function-response-mode") is None
    assert json.loads(await post.read()) == {"id": request_id}


async def test_a_plain_handlers_http_result_is_streamed(api: FakeRuntimeApi, serve: Serve) -> None:
    """A streaming URL gets the result as an answer; other senders interpret the dict."""

    def handler(event: Any, context: Any) -> Any:
        return {"statusCode": 403, "body": "no"}

    await serve(handler)
    api.invoke(URL_EVENT)
    post = await api.post()
    assert post.header("lambda-runtime-function-response-mode") == "streaming"
    assert (await post.prelude())["statusCode"] == 403
    assert await post.body() == b"no"
    api.invoke({"version": "2.0"})
    assert json.loads(await (await api.post()).read()) == {"statusCode": 403, "body": "no"}


@pytest.mark.parametrize("context", [{}, {"http": None}])
async def test_a_plain_handler_answers_a_rest_api_that_streams(
    api: FakeRuntimeApi, serve: Serve, monkeypatch: pytest.MonkeyPatch, context: dict[str, Any]
) -> None:
    """The method is read from a REST API's event, and `multiValueHeaders` from the result."""
    monkeypatch.setenv("LAMBDA_STREAMING_REST_API", "STREAM")

    def handler(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}, "body": "x"}

    await serve(handler)
    for asked, body in (("GET", b"x"), ("HEAD", b"")):
        api.invoke({**BUFFERED["REST API"], "httpMethod": asked, "requestContext": context})
        post = await api.post()
        assert (await post.prelude())["cookies"] == ["a=1", "b=2"]
        assert await post.body() == body


async def test_a_malformed_http_result_is_the_handlers_failure(
    api: FakeRuntimeApi, serve: Serve
) -> None:
    """A malformed HTTP result is a marshal error, a 502 as without the layer."""
    await serve(lambda event, context: {"statusCode": "soon"})
    request_id = api.invoke(URL_EVENT)
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/error"
    assert post.header("lambda-runtime-function-error-type") == "Runtime.MarshalError"


async def test_a_plain_handlers_error_goes_to_error(
    api: FakeRuntimeApi, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Type, message and stack are posted as by the ordinary runtime, and the error is logged."""

    def handler(event: Any, context: Any) -> None:
        raise ValueError("bad")

    await serve(handler)
    request_id = api.invoke({})
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/error"
    error = json.loads(await post.read())
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "bad")
    assert error["requestId"] == request_id
    assert "in handler" in error["stackTrace"][0]
    assert "The handler failed" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_a_plain_handler_that_exits_ends_its_invocation_only(
    api: FakeRuntimeApi, serve: Serve, error: BaseException
) -> None:
    """`sys.exit()` is posted as an error, and the process serves its other requests."""
    hold = threading.Event()

    def handler(event: Any, context: Any) -> Any:
        if event == "exit":
            raise error
        hold.wait(20)
        return event

    await serve(handler, 2)
    api.invoke("other")
    request_id = api.invoke("exit")
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/error"
    assert post.header("lambda-runtime-function-error-type") == f"Function.{type(error).__name__}"
    told = json.loads(await post.read())
    assert told["errorMessage"] == str(error)
    assert "in handler" in told["stackTrace"][-1]
    hold.set()
    assert await (await api.post()).read() == b'"other"'
    api.invoke("next")
    assert await (await api.post()).read() == b'"next"'


@pytest.mark.parametrize("where", ["Function URL", "REST API"])
async def test_a_plain_handlers_stream_is_not_asked_to_be_compressed(
    api: FakeRuntimeApi, serve: Serve, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """`accept-encoding` is dropped from its streamed events only."""

    def handler(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "body": json.dumps([event["headers"], event[several]])}

    several = "multiValueHeaders"
    headers = {"Accept-Encoding": "gzip", "accept": "*/*"}
    asking = {"headers": headers, several: {"accept-encoding": ["gzip"]}}
    monkeypatch.setenv("LAMBDA_STREAMING_REST_API", "STREAM")
    await serve(handler)
    api.invoke({**BUFFERED["load balancer"], **asking})
    seen = json.loads(json.loads(await (await api.post()).read())["body"])
    assert seen == [headers, asking[several]]
    api.invoke(
        {**URL_EVENT, **asking} if where == "Function URL" else {**BUFFERED[where], **asking}
    )
    assert json.loads(await (await api.post()).body()) == [{"accept": "*/*"}, {}]
