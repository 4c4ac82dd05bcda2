"""The loop of one environment, against a scripted Runtime API."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest
from mangum import Mangum

from lambda_streaming.asgi import Receive, Scope, Send
from lambda_streaming.context import current
from lambda_streaming.invocations import RuntimeLoop
from lambda_streaming.runtime_api import RuntimeApi, RuntimeApiError
from tests.support.invocations import URL_EVENT, Serve, respond
from tests.support.runtime_api import FakeRuntimeApi


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
    """The invocation fails, and the next one is served."""
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
    """After an answer that came too late or grew too large, the next one is served."""

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
    """The next poll waits for the application's end, background work included."""
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
    """Three requests run at once in one process, each with its own id."""
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
    """The answer of an application that hangs is closed, and the next request is served."""
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
    """No task is left after any kind of answer."""
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
    """The loop ends when a poll fails, however many are open."""
    api.statuses["next"] = 500
    loop = RuntimeLoop(RuntimeApi(api.address), lambda event, context: None, 2)
    with pytest.raises(RuntimeApiError, match="answered 500"):
        await loop.serve()


async def trace_ids_seen(api: FakeRuntimeApi, serve: Serve, concurrency: int) -> list[str | None]:
    """Return the trace id in `os.environ` during a request with one, then one without."""
    seen: list[str | None] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(os.environ.get("_X_AMZN_TRACE_ID"))
        await respond(send)

    await serve(Mangum(application, lifespan="off"), concurrency)
    for headers in ({"Lambda-Runtime-Trace-Id": "Root=1"}, {}):
        api.invoke(URL_EVENT, headers=headers)
        await (await api.post()).read()
    return seen


async def test_the_trace_id_is_in_the_process_environment(
    api: FakeRuntimeApi, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trace id is in `os.environ`, as in AWS's own runtime, and never an old one."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "")
    assert await trace_ids_seen(api, serve, 1) == ["Root=1", None]


async def test_many_at_once_keep_no_trace_in_the_process_environment(
    api: FakeRuntimeApi, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several requests at once the trace id is not in `os.environ`."""
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    assert await trace_ids_seen(api, serve, 2) == [None, None]
