"""Mangum handlers in the loop: which senders get a stream, and which Mangum's own answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, Request
from mangum import Mangum

from lambda_streaming.asgi import Receive, Scope, Send
from lambda_streaming.failures import PlatformError
from tests.support.invocations import BUFFERED, URL_EVENT, Serve, chatty, respond
from tests.support.runtime_api import FakeRuntimeApi


async def test_a_mangum_handler_streams(api: FakeRuntimeApi, serve: Serve) -> None:
    """The application's first data reaches the platform while the application still runs."""
    proceed = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await proceed.wait()
        await send({"type": "http.response.body", "body": b"second"})

    await serve(Mangum(application, lifespan="off"))
    request_id = api.invoke(URL_EVENT)
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/response"
    assert [await post.piece() for _ in range(3)] == [b'{"statusCode":200}', bytes(8), b"first"]
    proceed.set()
    assert await post.piece() == b"second"
    assert await post.body() == b"firstsecond"


async def test_the_scope_has_version_event_and_context(api: FakeRuntimeApi, serve: Serve) -> None:
    """The scope has spec version 2.4, the event, and the context with request, trace and time."""
    scopes: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await respond(send)

    await serve(Mangum(application, lifespan="off"))
    request_id = api.invoke(
        URL_EVENT, timeout_ms=30_000, headers={"Lambda-Runtime-Trace-Id": "Root=1"}
    )
    await (await api.post()).read()
    (scope,) = scopes
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert scope["aws.event"] == URL_EVENT
    context = scope["aws.context"]
    assert (context.aws_request_id, context.trace_id) == (request_id, "Root=1")
    assert 20_000 < context.get_remaining_time_in_millis() <= 30_000
    assert "state" not in scope


async def test_the_lifespan_runs_once_and_its_state_is_copied(
    api: FakeRuntimeApi, serve: Serve
) -> None:
    """Startup runs once, and each request has its own copy of the state."""
    started: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        started.append("up")
        yield {"greeting": "hello"}
        started.append("down")

    app = FastAPI(lifespan=lifespan)

    @app.get("/sse")
    async def greet(request: Request) -> list[str]:
        seen = request.state.greeting
        request.state.greeting = "spoilt"
        return [seen]

    loop = await serve(Mangum(app))
    for _ in range(2):
        api.invoke(URL_EVENT)
        assert await (await api.post()).body() == b'["hello"]'
    assert started == ["up"]
    assert loop._lifespan
    await loop._lifespan.shutdown()
    assert started == ["up", "down"]


async def test_a_lifespan_that_fails_is_an_init_error(api: FakeRuntimeApi, serve: Serve) -> None:
    """A failed lifespan is an init error."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("no lifespan here")

    with pytest.raises(PlatformError, match="no lifespan here"):
        await serve(Mangum(application, lifespan="on"))


async def test_a_request_that_mangum_cannot_read_is_a_400(
    api: FakeRuntimeApi, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets a streamed 400, the log the reason, and the next request works."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"fine")

    await serve(Mangum(application, lifespan="off"))
    request_id = api.invoke({**URL_EVENT, "headers": {"host": "a:b"}})
    post = await api.post()
    assert (await post.prelude())["statusCode"] == 400
    assert json.loads(await post.body()) == {"message": "Bad Request", "requestId": request_id}
    assert "cannot be read" in caplog.text
    api.invoke(URL_EVENT)
    assert await (await api.post()).body() == b"fine"


async def test_an_event_that_is_not_http_gets_the_ordinary_answer(
    api: FakeRuntimeApi, serve: Serve
) -> None:
    """Mangum itself is called and raises its usual error."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)

    await serve(Mangum(application, lifespan="off"))
    request_id = api.invoke({"source": "aws.events"})
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/error"
    assert post.header("lambda-runtime-function-error-type") == "Function.RuntimeError"
    error = json.loads(await post.read())
    assert error["errorType"] == "RuntimeError"
    assert "unable to infer a handler" in error["errorMessage"]


@pytest.mark.parametrize("event", BUFFERED.values(), ids=BUFFERED)
async def test_senders_that_take_no_stream_get_mangums_answer(
    api: FakeRuntimeApi, serve: Serve, event: Any
) -> None:
    """All senders but Function URLs get the answer that they get without the layer."""
    handler = Mangum(chatty, lifespan="off")
    await serve(handler)
    request_id = api.invoke(event)
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/response"
    assert post.header("lambda-runtime-function-response-mode") is None
    assert post.header("content-type") == "application/json"

    def alone() -> Any:
        with asyncio.Runner() as runner:
            asyncio.set_event_loop(runner.get_loop())
            return handler(event, None)  # type: ignore[arg-type]

    assert json.loads(await post.read()) == await asyncio.to_thread(alone)


async def test_a_buffered_answer_is_made_in_the_one_loop_with_the_one_lifespan(
    api: FakeRuntimeApi, serve: Serve
) -> None:
    """Streamed and buffered requests share one loop, so they can share connections and locks."""
    loops: list[object] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"loop": asyncio.get_running_loop()}

    app = FastAPI(lifespan=lifespan)

    @app.get("/sse")
    async def note(request: Request) -> None:
        loops.extend([request.state.loop, asyncio.get_running_loop()])

    await serve(Mangum(app))
    for event in (URL_EVENT, *BUFFERED.values()):
        api.invoke(event)
        await (await api.post()).read()
    assert loops == [asyncio.get_running_loop()] * 10


async def test_a_rest_api_streams_with_the_setting(
    api: FakeRuntimeApi, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting, a REST API gets the same streaming format as a Function URL."""
    monkeypatch.setenv("LAMBDA_STREAMING_REST_API", "STREAM")
    await serve(Mangum(chatty, lifespan="off"))
    api.invoke(BUFFERED["REST API"])
    post = await api.post()
    assert post.header("lambda-runtime-function-response-mode") == "streaming"
    assert (await post.prelude())["cookies"] == ["a=1", "b=2"]
    assert await post.body() == b"one two"


async def test_a_buffered_request_that_mangum_cannot_read_is_an_error(
    api: FakeRuntimeApi, serve: Serve
) -> None:
    """Mangum's exception is posted as the invocation's error, as without the layer."""
    await serve(Mangum(chatty, lifespan="off"))
    api.invoke({**BUFFERED["load balancer"], "headers": None})
    post = await api.post()
    assert post.path.endswith("/error")
    assert post.header("lambda-runtime-function-error-type") == "Function.AttributeError"


@pytest.mark.parametrize(("setting", "kept"), [(None, False), ("KEEP", True)])
async def test_a_streamed_answer_is_not_asked_to_be_compressed(
    api: FakeRuntimeApi,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    setting: str | None,
    kept: bool,
) -> None:
    """`accept-encoding` is dropped unless a setting keeps it: compressed streams have broken."""
    if setting:
        monkeypatch.setenv("LAMBDA_STREAMING_ACCEPT_ENCODING", setting)
    names: list[list[bytes]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        names.append([name for name, _ in scope["headers"]])
        await respond(send)

    await serve(Mangum(application, lifespan="off"))
    api.invoke({**URL_EVENT, "headers": {"accept-encoding": "gzip", "accept": "*/*"}})
    await (await api.post()).read()
    assert (b"accept-encoding" in names[0]) is kept
    assert b"accept" in names[0]
