"""A streamed answer, compared with the bytes of AWS's own client, and with failing platforms."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import pytest

from lambda_streaming.failures import Failure
from lambda_streaming.response_stream import ResponseStream
from lambda_streaming.runtime_api import Invocation, RuntimeApiError
from tests.support.runtime_api import FakeRuntimeApi

REFERENCE = Path(__file__).parents[2] / "reference"
PRELUDE = {"statusCode": 200}
# Its trailers have the runtime's own type and text; ours are compared by shape.
FAILURE = Failure(
    "Function.TypeError",
    {"errorType": "TypeError", "errorMessage": "boom mid stream", "stackTrace": []},
)


def invocation(request_id: str = "r-1", invocation_id: str | None = None) -> Invocation:
    return Invocation(
        event=b"{}",
        content_type="application/json",
        request_id=request_id,
        deadline_ms=0,
        function_arn="arn",
        trace_id=None,
        client_context=None,
        cognito_identity=None,
        tenant_id=None,
        invocation_id=invocation_id,
    )


@dataclass
class ParsedPost:
    """One request, however it is cut into packets."""

    method: bytes
    path: bytes
    mode: list[bytes]
    declared: set[bytes]
    content_type: list[bytes]
    framing: list[bytes]
    prelude: dict[str, Any]
    body: bytes
    trailers: set[bytes]


def parse_post(raw: bytes) -> ParsedPost:
    """Read a whole request with h11, an independent parser."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    server.receive_data(raw)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    content = bytearray()
    while isinstance(event := server.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)

    def values(name: bytes) -> list[bytes]:
        return [v for k, v in request.headers if k == name]

    prelude_json, delimiter, body = bytes(content).partition(bytes(8))
    assert delimiter
    prelude = json.loads(prelude_json)
    prelude["headers"] = {k.lower(): v for k, v in prelude.get("headers", {}).items()}
    return ParsedPost(
        method=request.method,
        path=request.target,
        mode=values(b"lambda-runtime-function-response-mode"),
        declared={v.lower() for v in values(b"trailer")},
        content_type=values(b"content-type"),
        framing=values(b"transfer-encoding"),
        prelude=prelude,
        body=body,
        trailers={name for name, _ in event.headers},
    )


REFERENCE_PRELUDE = {
    "statusCode": 200,
    "headers": {"content-type": "text/event-stream", "x-a": "1", "cache-control": "no-cache"},
    "cookies": ["a=1; Path=/", "b=2; HttpOnly"],
}


@pytest.mark.parametrize(
    ("recording", "prelude", "writes", "failure"),
    [
        ("ok", REFERENCE_PRELUDE, [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"], None),
        ("mid", REFERENCE_PRELUDE, [b"data: 0\n\n", b"data: 1\n\n"], FAILURE),
        ("emptywrite", {"statusCode": 204}, [b""], None),
    ],
)
async def test_our_requests_match_the_reference(
    api: FakeRuntimeApi,
    recording: str,
    prelude: dict[str, Any],
    writes: list[bytes],
    failure: Failure | None,
) -> None:
    """Same method, path, mode, declared trailers, type, prelude, delimiter, body and trailers."""
    raw = (REFERENCE / f"{recording}.bin").read_bytes()
    stream = ResponseStream(api.address, invocation("00000000-0000-4000-8000-000000000001"))
    await stream.start(prelude)
    for data in writes:
        await stream.write(data)
    stream.end(failure)
    await stream.settle()
    stream.abandon()
    assert parse_post(bytes((await api.post()).raw)) == parse_post(raw)


async def test_a_failure_is_in_the_trailers(api: FakeRuntimeApi) -> None:
    """The type is a category and a class; the body is base64 of the three documented keys."""
    stream = ResponseStream(api.address, invocation())
    await stream.start(PRELUDE)
    stream.end(FAILURE)
    await stream.settle()
    stream.abandon()
    post = await api.post()
    assert post.trailers["lambda-runtime-function-error-type"] == "Function.TypeError"
    assert post.failure() == FAILURE.body


async def test_the_invocation_id_is_echoed(api: FakeRuntimeApi) -> None:
    """A streamed answer sends the invocation id if /next carried one."""
    stream = ResponseStream(api.address, invocation(invocation_id="inv"))
    await stream.start(PRELUDE)
    stream.abandon()
    assert (await api.post()).header("lambda-runtime-invocation-id") == "inv"


async def test_the_prelude_leaves_at_once_and_alone(
    api: FakeRuntimeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head, prelude and delimiter are one write, on the wire before there is any body."""
    writes: list[bytes] = []
    real = asyncio.StreamWriter.write

    def write(self: asyncio.StreamWriter, data: bytes) -> None:
        if data.startswith(b"POST") or writes:
            writes.append(bytes(data))
        real(self, data)

    monkeypatch.setattr(asyncio.StreamWriter, "write", write)
    stream = ResponseStream(api.address, invocation())
    await stream.start(PRELUDE)
    post = await api.post()
    assert await post.piece() == b'{"statusCode":200}'
    assert await post.piece() == bytes(8)
    assert len(writes) == 1
    assert writes[0].endswith(b"8\r\n" + bytes(8) + b"\r\n")
    await stream.write(b"first")
    assert await post.piece() == b"first"
    assert writes[1] == b"5\r\nfirst\r\n"
    stream.abandon()


@pytest.fixture
def pauses_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses made from now on, in seconds; none takes time."""
    made: list[float] = []
    sleep = asyncio.sleep

    async def pause(delay: float, *args: Any) -> None:
        if delay:
            made.append(delay)
        await sleep(0, *args)

    monkeypatch.setattr(asyncio, "sleep", pause)
    return made


async def test_the_first_data_keeps_a_gap_to_the_prelude(
    api: FakeRuntimeApi, pauses_s: list[float]
) -> None:
    """The gap counts from the prelude's write and is kept once: two writes may share a read."""
    stream = ResponseStream(api.address, invocation(), prelude_gap_s=60)
    await stream.start(PRELUDE)
    await stream.write(b"")
    await stream.write(b"first")
    await stream.write(b"second")
    assert [0 < pause <= 60 for pause in pauses_s] == [True]
    stream.abandon()


async def test_a_slow_application_waits_for_no_gap(
    api: FakeRuntimeApi, pauses_s: list[float]
) -> None:
    """No pause is made if the gap has already passed."""
    stream = ResponseStream(api.address, invocation(), prelude_gap_s=0.001)
    await stream.start(PRELUDE)
    over_at = asyncio.get_running_loop().time() + 0.001
    while asyncio.get_running_loop().time() < over_at:
        await asyncio.sleep(0)
    await stream.write(b"first")
    assert pauses_s == []
    stream.abandon()


async def test_without_a_gap_there_is_no_pause(api: FakeRuntimeApi, pauses_s: list[float]) -> None:
    """A gap of 0 makes no pause."""
    stream = ResponseStream(api.address, invocation(), prelude_gap_s=0)
    await stream.start(PRELUDE)
    await stream.write(b"first")
    assert pauses_s == []
    stream.abandon()


async def test_writing_nothing_does_not_end_the_answer(api: FakeRuntimeApi) -> None:
    """An empty piece is skipped, since an empty chunk would end the body."""
    stream = ResponseStream(api.address, invocation())
    await stream.start(PRELUDE)
    await stream.write(b"")
    await stream.write(b"x")
    stream.end()
    await stream.settle()
    stream.abandon()
    assert await (await api.post()).body() == b"x"


async def test_each_answer_has_a_new_connection(api: FakeRuntimeApi) -> None:
    """No answer goes out on a connection that served another."""
    for _ in range(2):
        stream = ResponseStream(api.address, invocation())
        await stream.start(PRELUDE)
        stream.end()
        await stream.settle()
        stream.abandon()
    assert [(await api.post()).connection for _ in range(2)] == [1, 2]


async def test_a_connection_that_was_closed_before_its_use_is_replaced() -> None:
    """The connection is opened early and may be closed before the application answers."""
    closed = asyncio.Event()
    heard: list[bytes] = []

    async def close_the_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if closed.is_set():
            heard.append(await reader.readuntil(bytes(8)))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        closed.set()
        writer.close()

    async with await asyncio.start_server(close_the_first, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        stream = ResponseStream(f"{host}:{port}", invocation())
        first = await asyncio.shield(stream._opening)
        await closed.wait()
        while first.usable:
            await asyncio.sleep(0)
        await stream.start(PRELUDE)
        stream.end()
        await stream.settle()
        stream.abandon()
    assert len(heard) == 1


async def test_another_start_can_follow_a_cancelled_one(api: FakeRuntimeApi) -> None:
    """If an application is cut off while it connects, its 504 still gets a connection."""
    stream = ResponseStream(api.address, invocation())
    application = asyncio.create_task(stream.start({"statusCode": 200}))
    await asyncio.sleep(0)
    application.cancel()
    await asyncio.wait({application})
    assert not stream.started
    await stream.start({"statusCode": 504})
    stream.end()
    await stream.settle()
    stream.abandon()
    assert (await (await api.post()).prelude()) == {"statusCode": 504}


async def test_the_later_of_two_starts_is_sent(api: FakeRuntimeApi) -> None:
    """A 504 replaces an application's start that still waits for the connection."""
    stream = ResponseStream(api.address, invocation())
    application = asyncio.create_task(stream.start({"statusCode": 200}))
    await asyncio.sleep(0)
    await stream.start({"statusCode": 504})
    with pytest.raises(BrokenPipeError):
        await application
    stream.end()
    await stream.settle()
    stream.abandon()
    post = await api.post()
    assert await post.prelude() == {"statusCode": 504}
    await api.quiet()
    assert api.calls == [f"POST {post.path}"]


async def test_an_abandoned_start_is_not_sent(api: FakeRuntimeApi) -> None:
    """A start after the stream was abandoned neither connects nor sends."""
    stream = ResponseStream(api.address, invocation())
    child = asyncio.create_task(stream.start(PRELUDE))
    await asyncio.sleep(0)
    stream.abandon()
    with pytest.raises(BrokenPipeError):
        await child
    assert stream._answer is None
    await api.quiet()
    assert api.calls == []
    assert api.connections <= 1


TOTAL_BYTES, STEP_BYTES = 32 * 2**20, 2**20


async def write_much(stream: ResponseStream) -> None:
    """Write more than all the buffers on the way can hold."""
    for _ in range(TOTAL_BYTES // STEP_BYTES):
        await stream.write(bytes(STEP_BYTES))


async def stuck(stream: ResponseStream) -> None:
    """Wait until the writer waits for the reader."""
    assert stream._connection
    transport = stream._connection.writer.transport
    while transport.get_write_buffer_size() <= transport.get_write_buffer_limits()[1]:
        await asyncio.sleep(0)


async def test_a_slow_reader_slows_the_writer(api: FakeRuntimeApi) -> None:
    """Data that the platform has not read waits in the application, not in our memory."""
    api.reading.clear()
    stream = ResponseStream(api.address, invocation())
    await stream.start(PRELUDE)
    writer = asyncio.create_task(write_much(stream))
    await stuck(stream)
    assert stream._connection
    transport = stream._connection.writer.transport
    unsent_bytes = transport.get_write_buffer_size()
    for _ in range(100):
        await asyncio.sleep(0)
    assert transport.get_write_buffer_size() <= unsent_bytes < 2 * STEP_BYTES
    assert not writer.done()
    api.reading.set()
    await asyncio.wait_for(writer, 20)
    stream.end()
    await stream.settle()
    stream.abandon()
    assert len(await (await api.post()).body()) == TOTAL_BYTES


async def test_a_writer_that_never_waits_lets_others_run(api: FakeRuntimeApi) -> None:
    """An application that never waits does not keep the deadline's timer from firing."""
    stream = ResponseStream(api.address, invocation())
    await stream.start(PRELUDE)
    fired = asyncio.Event()
    asyncio.get_running_loop().call_soon(fired.set)
    for _ in range(100):
        await stream.write(bytes(1024))
        if fired.is_set():
            break
    assert fired.is_set()
    stream.abandon()


async def lose(stream: ResponseStream) -> None:
    """Write until the platform's disconnect is noticed."""
    while True:
        await stream.write(b"x" * 1024)
        await asyncio.sleep(0)


@pytest.mark.parametrize("status", [403, 410, 413])
async def test_an_early_answer_ends_the_writing(
    api: FakeRuntimeApi, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A verdict in mid-stream raises OSError in the writer, and is logged, not fatal."""
    api.early = (4096, status)
    stream = ResponseStream(api.address, invocation())
    lost = asyncio.Event()
    stream.when_lost(lost.set)
    await stream.start(PRELUDE)
    with pytest.raises(OSError, match="no longer reads"):
        await lose(stream)
    await lost.wait()
    assert stream.lost
    stream.end(FAILURE)
    with caplog.at_level(logging.WARNING):
        await stream.settle()
    assert f"was refused: {status}" in caplog.text
    assert not (await api.post()).whole
    stream.abandon()


async def test_a_closed_socket_ends_the_writing(
    api: FakeRuntimeApi, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that breaks in mid-stream raises OSError in the writer, and is logged."""
    api.hang_up_after = 4096
    stream = ResponseStream(api.address, invocation())
    await stream.start(PRELUDE)
    with pytest.raises(OSError):  # noqa: PT011 - the kernel's words or ours
        await lose(stream)
    await stream.settle()
    assert "/invocation/r-1/response: " in caplog.text
    stream.abandon()


async def test_an_early_answer_wakes_a_writer_that_waits_for_room(
    api: FakeRuntimeApi,
) -> None:
    """A platform that answers early and stops reading does not block the writer."""
    api.reading.clear()
    stream = ResponseStream(api.address, invocation())
    await stream.start(PRELUDE)
    writer = asyncio.create_task(stream.write(bytes(TOTAL_BYTES)))
    await stuck(stream)
    assert not writer.done()
    api.early = (0, 413)
    api.reading.set()
    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(writer, 20)
    stream.abandon()


async def test_a_platform_that_is_not_there_raises_oserror() -> None:
    """`start` raises OSError if there is no connection."""
    async with FakeRuntimeApi() as gone:
        pass
    stream = ResponseStream(gone.address, invocation())
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await stream.start(PRELUDE)
    assert not stream.started
    await stream.settle()
    stream.abandon()


async def test_a_broken_environment_is_fatal(api: FakeRuntimeApi) -> None:
    """A 5xx to a streamed answer ends the process, as for a buffered answer."""
    api.statuses["response"] = 500
    stream = ResponseStream(api.address, invocation())
    await stream.start(PRELUDE)
    stream.end()
    with pytest.raises(RuntimeApiError):
        await stream.settle()
    stream.abandon()


async def test_nothing_is_written_after_the_end(api: FakeRuntimeApi) -> None:
    """After the end, writes raise and a second end does nothing."""
    stream = ResponseStream(api.address, invocation())
    await stream.start(PRELUDE)
    stream.end()
    with pytest.raises(BrokenPipeError):
        await stream.write(b"late")
    stream.end(FAILURE)
    await stream.settle()
    stream.abandon()
    post = await api.post()
    assert await post.body() == b""
    assert post.trailers == {}
    await api.quiet()
    assert api.calls == [f"POST {post.path}"]


@pytest.mark.parametrize("started", [False, True])
async def test_an_abandoned_stream_leaves_no_task(api: FakeRuntimeApi, started: bool) -> None:
    """Abandoning an answer in any state leaves no task running."""
    before = asyncio.all_tasks()
    stream = ResponseStream(api.address, invocation())
    if started:
        await stream.start(PRELUDE)
    own = {t for t in (stream._opening, stream._answer) if t}
    stream.abandon()
    while not all(task.done() for task in own):
        await asyncio.sleep(0)
    assert not (asyncio.all_tasks() - before) & own
