"""The calls of the Runtime API, over sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator

import pytest

from lambda_streaming.failures import Failure
from lambda_streaming.runtime_api import RuntimeApi, RuntimeApiError
from tests.support.runtime_api import FakeRuntimeApi

FAILURE = Failure("Function.X", {"errorType": "X", "errorMessage": "m", "stackTrace": []})


@pytest.fixture
async def client(api: FakeRuntimeApi) -> AsyncIterator[RuntimeApi]:
    runtime_api = RuntimeApi(api.address)
    yield runtime_api
    runtime_api.close()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("drips", [False, True])
async def test_an_event_arrives_with_all_its_headers(
    api: FakeRuntimeApi, client: RuntimeApi, chunked: bool, drips: bool
) -> None:
    """Every header of /next is read, also one byte at a time and from a chunked answer."""
    api.chunked, api.drips = chunked, drips
    before_ms = int(time.time() * 1000)
    api.invoke(
        {"a": "ü"},
        request_id="r-1",
        timeout_ms=5_000,
        headers={
            "Lambda-Runtime-Trace-Id": "Root=1",
            "Lambda-Runtime-Client-Context": '{"custom":{}}',
            "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"i"}',
            "Lambda-Runtime-Aws-Tenant-Id": "tenant",
            "Lambda-Runtime-Invocation-Id": "inv",
        },
    )
    invocation = await client.next_invocation()
    assert json.loads(invocation.event) == {"a": "ü"}
    assert invocation.content_type == "application/json"
    assert invocation.request_id == "r-1"
    assert before_ms <= invocation.deadline_ms - 5_000 <= time.time() * 1000
    assert invocation.function_arn.startswith("arn:aws:lambda:")
    assert invocation.trace_id == "Root=1"
    assert invocation.client_context == '{"custom":{}}'
    assert invocation.cognito_identity == '{"cognitoIdentityId":"i"}'
    assert invocation.tenant_id == "tenant"
    assert invocation.invocation_id == "inv"


async def test_an_event_of_six_megabytes_arrives_whole(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """Lambda's largest request body fits."""
    api.invoke({"body": "x" * 6_000_000})
    invocation = await client.next_invocation()
    assert len(json.loads(invocation.event)["body"]) == 6_000_000


async def test_polls_share_a_connection(api: FakeRuntimeApi, client: RuntimeApi) -> None:
    """A second poll goes out on the connection of the first."""
    api.invoke({})
    api.invoke({})
    await client.next_invocation()
    await client.next_invocation()
    assert api.connections == 1


async def test_polls_that_are_open_at_once_have_connections_of_their_own(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """Three concurrent polls wait side by side, and keep three connections."""
    polls = [asyncio.create_task(client.next_invocation()) for _ in range(3)]
    await api.polled(3)
    for _ in range(3):
        api.invoke({})
    assert len({invocation.request_id for invocation in await asyncio.gather(*polls)}) == 3
    assert api.connections == 3


async def test_a_connection_that_was_closed_while_idle_is_replaced(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """A connection that died during a freeze is replaced."""
    api.closes_after_answer = True
    for _ in range(3):
        api.invoke({})
        await client.next_invocation()
    assert api.connections == 3


async def test_many_connections_that_were_closed_while_idle_cost_one_poll(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """If one connection died during a freeze, the others are not tried."""
    api.closes_after_answer = True
    polls = [asyncio.create_task(client.next_invocation()) for _ in range(8)]
    await api.polled(8)
    for _ in range(8):
        api.invoke({})
    await asyncio.gather(*polls)
    api.closes_after_answer = False
    api.invoke({})
    await client.next_invocation()
    assert api.connections == 9


async def test_a_poll_that_was_lost_is_repeated(api: FakeRuntimeApi, client: RuntimeApi) -> None:
    """A connection that breaks under an open poll costs a poll, not the environment."""
    api.lost_polls = 2
    request_id = api.invoke({})
    assert (await client.next_invocation()).request_id == request_id
    assert api.calls == ["GET /invocation/next"] * 3


async def test_polls_that_are_always_lost_are_fatal(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """Five polls that are hung up on end the process."""
    api.lost_polls = 100
    with pytest.raises(RuntimeApiError, match=r"/invocation/next: the connection was closed"):
        await client.next_invocation()
    assert len(api.calls) == 5


async def test_a_runtime_api_that_is_not_there_is_fatal() -> None:
    """Refused connections end in one error that names the call."""
    async with FakeRuntimeApi() as gone:
        pass
    with pytest.raises(RuntimeApiError, match="/invocation/next"):
        await RuntimeApi(gone.address).next_invocation()


@pytest.mark.parametrize("status", [403, 500])
async def test_a_refused_poll_is_fatal(
    api: FakeRuntimeApi, client: RuntimeApi, status: int
) -> None:
    """The documentation asks the runtime to exit promptly, not to poll again."""
    api.statuses["next"] = status
    with pytest.raises(RuntimeApiError, match=f"/invocation/next answered {status}"):
        await client.next_invocation()
    assert len(api.calls) == 1


async def test_an_event_without_a_request_id_is_fatal(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """An event that cannot be answered ends the process."""
    api._events.put_nowait((b"{}", []))
    with pytest.raises(RuntimeApiError, match="aws-request-id"):
        await client.next_invocation()


async def test_a_peer_that_does_not_speak_http_is_fatal() -> None:
    """A peer that does not speak HTTP is not polled again."""

    async def nonsense(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(RuntimeApiError, match="not HTTP"):
            await RuntimeApi(f"{host}:{port}").next_invocation()


async def test_the_snapshot_is_allowed_by_a_poll(api: FakeRuntimeApi, client: RuntimeApi) -> None:
    """/restore/next is polled like /next, and its answer has no event."""
    await client.restore_next()
    assert api.calls == ["GET /restore/next"]


async def test_a_buffered_answer_says_its_type_and_echoes_the_invocation(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """The ordinary answer goes to /response, without the streaming mode."""
    request_id = api.invoke({}, headers={"Lambda-Runtime-Invocation-Id": "inv"})
    invocation = await client.next_invocation()
    await client.respond(invocation, b"[1]", "application/json")
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/response"
    assert post.header("content-type") == "application/json"
    assert post.header("lambda-runtime-invocation-id") == "inv"
    assert post.header("lambda-runtime-function-response-mode") is None
    assert await post.read() == b"[1]"
    assert post.connection != 1


async def test_an_invocation_without_an_id_echoes_none(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """The header is sent only when /next carried it."""
    api.invoke({})
    await client.respond(await client.next_invocation(), b"{}", "application/json")
    assert (await api.post()).header("lambda-runtime-invocation-id") is None


async def test_a_failure_goes_to_error_with_its_type(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """The error's type is a header, its body JSON."""
    request_id = api.invoke({}, headers={"Lambda-Runtime-Invocation-Id": "inv"})
    await client.fail(await client.next_invocation(), FAILURE)
    post = await api.post()
    assert post.path == f"/invocation/{request_id}/error"
    assert post.header("lambda-runtime-function-error-type") == "Function.X"
    assert post.header("lambda-runtime-invocation-id") == "inv"
    assert json.loads(await post.read()) == FAILURE.body


async def test_init_and_restore_failures_have_calls_of_their_own(
    api: FakeRuntimeApi, client: RuntimeApi
) -> None:
    """Failures outside of an invocation are posted where AWS expects them."""
    await client.fail_init(FAILURE)
    await client.fail_restore(FAILURE)
    for path in ("/init/error", "/restore/error"):
        post = await api.post()
        assert post.path == path
        assert post.header("lambda-runtime-function-error-type") == "Function.X"
        assert json.loads(await post.read()) == FAILURE.body


@pytest.mark.parametrize("status", [400, 403, 410, 413])
async def test_a_refused_answer_is_only_logged(
    api: FakeRuntimeApi, client: RuntimeApi, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A 4xx concerns one invocation; the next poll works."""
    api.statuses["response"] = status
    api.invoke({})
    with caplog.at_level(logging.WARNING):
        await client.respond(await client.next_invocation(), b"{}", "application/json")
    assert f"was refused: {status}" in caplog.text
    api.invoke({})
    await client.next_invocation()


async def test_a_broken_environment_is_fatal(api: FakeRuntimeApi, client: RuntimeApi) -> None:
    """500 means "container error, exit promptly"."""
    api.statuses["response"] = 500
    api.invoke({})
    with pytest.raises(RuntimeApiError, match="answered 500"):
        await client.respond(await client.next_invocation(), b"{}", "application/json")


async def test_an_answer_that_cannot_be_posted_is_logged(
    api: FakeRuntimeApi, client: RuntimeApi, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed post is logged; the next poll decides whether the Runtime API is lost."""
    api.invoke({})
    invocation = await client.next_invocation()
    client.address = "127.0.0.1:1"
    await client.respond(invocation, b"{}", "application/json")
    assert "could not be posted" in caplog.text
