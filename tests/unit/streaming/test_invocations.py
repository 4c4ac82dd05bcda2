"""One environment in this process, between a scripted Runtime API and Mangum handlers."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from mangum import Mangum

from lambda_streaming.asgi import Receive, Scope, Send
from lambda_streaming.context import current
from lambda_streaming.failures import PlatformError
from lambda_streaming.invocations import RuntimeLoop
from lambda_streaming.runtime_api import RuntimeApi, RuntimeApiError
from tests.support.runtime_api import FakeRuntimeApi

URL_EVENT = json.loads(
    (Path(__file__).parents[2] / "reference" / "url-event.json").read_text("utf-8")
)
Serve = Callable[..., Awaitable[RuntimeLoop]]


async def respond(send: Send, data: bytes = b"", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": data})


@pytest.fixture
async def serve(api: FakeRuntimeApi) -> AsyncIterator[Serve]:
    """Start an environment; it is shut down when the test ends."""
    tasks: list[asyncio.Task[None]] = []

    async def start(handler: Any, concurrency: int = 1) -> RuntimeLoop:
        loop = RuntimeLoop(RuntimeApi(api.address), handler, concurrency)
        await loop.startup()
        tasks.append(asyncio.create_task(loop.serve()))
        return loop

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_mangum_handler_streams(api: FakeRuntimeApi, serve: Serve) -> None:
    """What the application sends first is with the platform while the application still works."""
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


async def test_the_scope_promises_what_this_server_keeps(api: FakeRuntimeApi, serve: Serve) -> None:
    """Spec version 2.4, and the context with request, trace and time."""
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
    """Each request has its own copy of what startup made; nothing is started twice."""
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
    """The environment does not become ready."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("no lifespan here")

    with pytest.raises(PlatformError, match="no lifespan here"):
        await serve(Mangum(application, lifespan="on"))


async def test_a_request_that_mangum_cannot_read_is_a_400(
    api: FakeRuntimeApi, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller hears it in the streaming format; the log hears why; the next request works."""

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
    """Mangum itself is called, and says what it always says to such events."""

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


HEADERS = {"host": "a.b", "x-forwarded-proto": "https"}
BUFFERED = {
    "HTTP API": {
        **URL_EVENT,
        "requestContext": {
            **URL_EVENT["requestContext"],
            "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
        },
    },
    "REST API": {
        "resource": "/{proxy+}",
        "path": "/sse",
        "httpMethod": "GET",
        "headers": HEADERS,
        "requestContext": {"identity": {"sourceIp": "203.0.113.9"}},
    },
    "load balancer": {
        "path": "/sse",
        "httpMethod": "GET",
        "headers": HEADERS,
        "requestContext": {"elb": {"targetGroupArn": "arn"}},
    },
    "Lambda@Edge": {
        "Records": [
            {
                "cf": {
                    "request": {
                        "uri": "/sse",
                        "method": "GET",
                        "querystring": "",
                        "clientIp": "203.0.113.9",
                        "headers": {"host": [{"key": "Host", "value": "a.b"}]},
                    }
                }
            }
        ]
    },
}


async def chatty(scope: Scope, receive: Receive, send: Send) -> None:
    """Says everything that the formats of answers write differently."""
    headers = [(b"content-type", b"text/plain"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": b"one ", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})


@pytest.mark.parametrize("event", BUFFERED.values(), ids=BUFFERED)
async def test_who_cannot_take_a_stream_gets_mangums_answer(
    api: FakeRuntimeApi, serve: Serve, event: Any
) -> None:
    """To all but Function URLs the answer is the one they get without the layer."""
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
    """Connections and locks that one request left are usable in the next, whoever sent it."""
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


async def test_a_rest_api_streams_where_it_is_said_to(
    api: FakeRuntimeApi, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its streaming integration reads the same format as a Function URL."""
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
    """Mangum raises, as it does without the layer, and the platform hears of it."""
    await serve(Mangum(chatty, lifespan="off"))
    api.invoke({**BUFFERED["load balancer"], "headers": None})
    post = await api.post()
    assert post.path.endswith("/error")
    assert post.header("lambda-runtime-function-error-type") == "Function.AttributeError"


@pytest.mark.parametrize("event", [{"Records": []}, URL_EVENT])
async def test_a_plain_handler_gets_the_ordinary_answer(
    api: FakeRuntimeApi, serve: Serve, event: Any
) -> None:
    """A function that is no Mangum works as it did without the layer, for HTTP events as well."""

    def handler(event: Any, context: Any) -> Any:
        return {"id": context.aws_request_id}

    await serve(handler)
    request_id = api.invoke(event)
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/response"
    assert post.header("content-type") == "application/json"
    assert post.header("lambda-runtime-function-response-mode") is None
    assert json.loads(await post.read()) == {"id": request_id}


async def test_a_plain_handlers_http_result_is_an_answer_where_it_streams(
    api: FakeRuntimeApi, serve: Serve
) -> None:
    """A streaming URL would hand its dict on as JSON text; other senders make sense of it."""

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
    """Its events have no `http`, and its results name a header twice in a field of their own."""
    monkeypatch.setenv("LAMBDA_STREAMING_REST_API", "STREAM")

    def handler(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}, "body": "x"}

    await serve(handler)
    for asked, body in (("GET", b"x"), ("HEAD", b"")):
        api.invoke({**BUFFERED["REST API"], "httpMethod": asked, "requestContext": context})
        post = await api.post()
        assert (await post.prelude())["cookies"] == ["a=1", "b=2"]
        assert await post.body() == body


async def test_an_http_result_that_is_none_is_the_handlers_failure(
    api: FakeRuntimeApi, serve: Serve
) -> None:
    """The platform says 502, as it does for such a result without the layer."""
    await serve(lambda event, context: {"statusCode": "soon"})
    request_id = api.invoke(URL_EVENT)
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/error"
    assert post.header("lambda-runtime-function-error-type") == "Runtime.MarshalError"


async def test_a_plain_handlers_error_goes_to_error(
    api: FakeRuntimeApi, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Type, message and stack, as the ordinary runtime tells them; and the log has it too."""

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
    """`sys.exit()` is told to the platform; what else the process serves goes on."""
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


@pytest.mark.parametrize(
    ("event", "headers", "expected"),
    [
        (b"{", {}, "Runtime.UnmarshalError"),
        (
            {},
            {"Lambda-Runtime-Client-Context": "{"},
            "Runtime.LambdaContextUnmarshalError",
        ),
        (
            {},
            {"Lambda-Runtime-Cognito-Identity": "{"},
            "Runtime.LambdaContextUnmarshalError",
        ),
    ],
)
async def test_an_invocation_that_is_not_json_is_an_error(
    api: FakeRuntimeApi, serve: Serve, event: Any, headers: dict[str, str], expected: str
) -> None:
    """Neither the handler nor the environment suffers from it."""
    await serve(lambda event, context: event)
    api.invoke(event, headers=headers)
    post = await api.post()
    assert post.path.endswith("/error")
    assert json.loads(await post.read())["errorType"] == expected
    api.invoke({"next": 1})
    assert json.loads(await (await api.post()).read()) == {"next": 1}


@pytest.mark.parametrize("status", [403, 410, 413])
async def test_a_refused_answer_does_not_end_the_environment(
    api: FakeRuntimeApi, serve: Serve, status: int
) -> None:
    """An answer that came too late, or grew too large, is the past."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"fine")

    await serve(Mangum(application, lifespan="off"))
    api.statuses["response"] = status
    api.invoke(URL_EVENT)
    await (await api.post()).read()
    api.statuses.clear()
    api.invoke(URL_EVENT)
    assert await (await api.post()).body() == b"fine"


async def test_one_invocation_at_a_time_is_the_default(api: FakeRuntimeApi, serve: Serve) -> None:
    """The next poll comes when the application has ended, background work included."""
    proceed = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        await proceed.wait()

    await serve(Mangum(application, lifespan="off"))
    api.invoke(URL_EVENT)
    await (await api.post()).read()
    assert api.calls.count("GET /invocation/next") == 1
    proceed.set()
    await api.polled()


async def test_many_invocations_share_the_loop_where_lambda_allows_it(
    api: FakeRuntimeApi, serve: Serve
) -> None:
    """Three requests in one process meet each other, and each knows its own id."""
    meeting = asyncio.Barrier(3)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await meeting.wait()
        context = current.get()
        assert context is scope["aws.context"]
        await respond(send, context.aws_request_id.encode())

    await serve(Mangum(application, lifespan="off"), 3)
    await api.polled(3)
    request_ids = {api.invoke(URL_EVENT) for _ in range(3)}
    answers = set()
    for _ in range(3):
        post = await api.post()
        answers.add((post.path, await post.body()))
    assert answers == {(f"/invocation/{i}/response", i.encode()) for i in request_ids}
    await api.polled(3)


async def test_a_deadline_ends_one_invocation_not_the_environment(
    api: FakeRuntimeApi, serve: Serve
) -> None:
    """An application that hangs gets its answer closed and the next request is served."""
    hangs = True

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if hangs:
            await asyncio.sleep(3600)
        await respond(send, b"fine")

    await serve(Mangum(application, lifespan="off"))
    api.invoke(URL_EVENT, timeout_ms=600)
    assert (await (await api.post()).prelude())["statusCode"] == 504
    hangs = False
    api.invoke(URL_EVENT)
    assert await (await api.post()).body() == b"fine"


async def test_nothing_of_an_invocation_is_left_behind(api: FakeRuntimeApi, serve: Serve) -> None:
    """After any kind of answer the same tasks run as before."""
    kind = "fine"

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if kind == "early":
            raise ValueError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if kind == "late":
            raise ValueError
        await send({"type": "http.response.body"})

    await serve(Mangum(application, lifespan="off"))
    await api.polled()

    def own() -> set[str]:
        return {
            name
            for task in asyncio.all_tasks()
            if "lambda_streaming" in (name := repr(task.get_coro()))
        }

    before = own()
    for kind in ("fine", "early", "late", "odd"):
        api.invoke({**URL_EVENT, "headers": None} if kind == "odd" else URL_EVENT)
        await (await api.post()).read()
        await api.polled()
        await asyncio.sleep(0)
        assert len(own()) == len(before)


async def test_a_lost_runtime_api_ends_the_environment(api: FakeRuntimeApi) -> None:
    """The loop does not go on without a platform, however many polls are open."""
    api.statuses["next"] = 500
    loop = RuntimeLoop(RuntimeApi(api.address), lambda event, context: None, 2)
    with pytest.raises(RuntimeApiError, match="answered 500"):
        await loop.serve()


async def trace_ids_seen(api: FakeRuntimeApi, serve: Serve, concurrency: int) -> list[str | None]:
    """What the process's environment says of the trace, with one and without."""
    seen: list[str | None] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(os.environ.get("_X_AMZN_TRACE_ID"))
        await respond(send)

    await serve(Mangum(application, lifespan="off"), concurrency)
    for headers in ({"Lambda-Runtime-Trace-Id": "Root=1"}, {}):
        api.invoke(URL_EVENT, headers=headers)
        await (await api.post()).read()
    return seen


async def test_the_x_ray_sdk_finds_the_trace_where_it_looks(
    api: FakeRuntimeApi, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the process's environment, as AWS's own runtime puts it there, and no old one."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "")
    assert await trace_ids_seen(api, serve, 1) == ["Root=1", None]


async def test_many_at_once_keep_no_trace_in_the_process_environment(
    api: FakeRuntimeApi, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be another request's as soon as there are two."""
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    assert await trace_ids_seen(api, serve, 2) == [None, None]


@pytest.mark.parametrize(("setting", "kept"), [(None, False), ("KEEP", True)])
async def test_a_streamed_answer_is_not_asked_to_be_compressed(
    api: FakeRuntimeApi,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    setting: str | None,
    kept: bool,
) -> None:
    """Unless a setting says so: compressed streams have been seen to break on their way."""
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


@pytest.mark.parametrize("where", ["Function URL", "REST API"])
async def test_a_plain_handler_is_not_asked_to_compress_what_is_streamed(
    api: FakeRuntimeApi, serve: Serve, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """There may be a Mangum in it, and its result goes the same way; other senders' go another."""

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
