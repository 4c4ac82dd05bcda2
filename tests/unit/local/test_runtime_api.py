"""The Runtime API's answers to a function process, over loopback."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncIterator

import pytest

from local.runtime_api import (
    BACKLOG_LIMIT_BYTES,
    PAYLOAD_LIMIT_BYTES,
    Answer,
    Cut,
    Failure,
    Invocation,
    RuntimeApi,
)
from local.wire import Server

PREFIX = "/2018-06-01/runtime"
STREAMING = {"Lambda-Runtime-Function-Response-Mode": "streaming", "Content-Type": "text/x"}
TRAILERS = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"


class Process:
    """A scripted function process."""

    def __init__(self, api: RuntimeApi, port: int) -> None:
        self.api = api
        self.port = port

    def call(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, PREFIX + path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()

    async def say(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        return await asyncio.to_thread(self.call, method, path, body, headers)

    async def begin(self, event: bytes = b"{}") -> Invocation:
        """Poll and receive an event."""
        poll = asyncio.create_task(self.say("GET", "/invocation/next"))
        await self.api.idle.wait()
        invocation = Invocation(event, timeout_s=9)
        self.api.give(invocation)
        self.received = await poll
        return invocation


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    api = RuntimeApi("arn:aws:lambda:us-east-1:123456789012:function:F")
    async with Server(api.handle) as server:
        yield Process(api, server.port)


async def whole(answer: Answer | Failure) -> bytes:
    assert isinstance(answer, Answer)
    return b"".join([chunk async for chunk in answer.body])


async def test_next_carries_event_and_headers(process: Process) -> None:
    """A poll is answered with the event and every header that AWS documents."""
    invocation = await process.begin(b'{"a":1}')
    status, headers, body = process.received
    assert (status, body) == (200, b'{"a":1}')
    assert headers["lambda-runtime-aws-request-id"] == invocation.request_id
    assert headers["lambda-runtime-invocation-id"] == invocation.invocation_id
    assert int(headers["lambda-runtime-deadline-ms"]) == invocation.deadline_ms
    assert headers["lambda-runtime-invoked-function-arn"].endswith(":function:F")
    assert headers["lambda-runtime-trace-id"].startswith("Root=1-")


async def test_a_buffered_response_is_accepted(process: Process) -> None:
    """A whole response is answered with 202 and reaches the invocation."""
    invocation = await process.begin()
    path = f"/invocation/{invocation.request_id}/response"
    status, _, body = await process.say("POST", path, b'{"x":1}')
    assert (status, json.loads(body)) == (202, {"status": "OK"})
    answer = await invocation.answer
    assert isinstance(answer, Answer)
    assert not answer.streamed
    assert await whole(answer) == b'{"x":1}'


async def test_a_second_poll_is_refused_while_an_event_runs(process: Process) -> None:
    """A process that has not answered gets no further event."""
    await process.begin()
    assert (await process.say("GET", "/invocation/next"))[0] == 403


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/invocation/another/response", {}, 400),
        ("/invocation/another/error", {}, 400),
        ("/invocation/{id}/response", {"Lambda-Runtime-Invocation-Id": "late"}, 410),
        ("/invocation/{id}/response", {"Lambda-Runtime-Function-Response-Mode": "odd"}, 400),
        ("/init/error", {}, 403),
        ("/nothing", {}, 404),
    ],
)
async def test_misplaced_posts_are_refused(
    process: Process, path: str, headers: dict[str, str], status: int
) -> None:
    """A post that fits no running invocation is refused and changes nothing."""
    invocation = await process.begin()
    path = path.replace("{id}", invocation.request_id)
    assert (await process.say("POST", path, b"{}", headers))[0] == status
    assert not invocation.answer.done()


async def test_a_second_response_is_refused(process: Process) -> None:
    """An invocation is answered once; an error after the answer is refused too."""
    invocation = await process.begin()
    path = f"/invocation/{invocation.request_id}"
    assert (await process.say("POST", f"{path}/response", b"1"))[0] == 202
    assert (await process.say("POST", f"{path}/response", b"2"))[0] == 400
    assert (await process.say("POST", f"{path}/error", b"{}"))[0] == 400


async def test_an_error_is_a_failure(process: Process) -> None:
    """The function's error is accepted and becomes the invocation's failure."""
    invocation = await process.begin()
    status, _, _ = await process.say(
        "POST",
        f"/invocation/{invocation.request_id}/error",
        b'{"errorMessage":"boom"}',
        {"Lambda-Runtime-Function-Error-Type": "ValueError"},
    )
    assert status == 202
    assert await invocation.answer == Failure("ValueError", '{"errorMessage":"boom"}')


async def test_an_init_error_is_kept(process: Process) -> None:
    """An init error before the first poll is accepted, once."""
    headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"}
    assert (await process.say("POST", "/init/error", b"{}", headers))[0] == 202
    assert (await process.api.init_failed).error_type == "Runtime.ImportModuleError"
    assert (await process.say("POST", "/init/error", b"{}", headers))[0] == 403


async def test_a_response_over_6_mb_is_refused(process: Process) -> None:
    """A buffered response over the limit is answered with 413 and fails the invocation."""
    invocation = await process.begin()
    path = f"/invocation/{invocation.request_id}/response"
    status, _, _ = await process.say("POST", path, b"x" * (PAYLOAD_LIMIT_BYTES + 1))
    assert status == 413
    assert await invocation.answer == Failure("Function.ResponseSizeTooLarge")


class Stream:
    """A streamed response, sent piece by piece on a raw socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, process: Process, invocation: Invocation, *headers: str
    ) -> AsyncIterator["Stream"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        lines = [
            f"POST {PREFIX}/invocation/{invocation.request_id}/response HTTP/1.1",
            "Host: x",
            "Transfer-Encoding: chunked",
            *(f"{name}: {value}" for name, value in STREAMING.items()),
            *headers,
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        yield cls(reader, writer)
        writer.close()
        await writer.wait_closed()

    def send(self, chunk: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    async def end(self, *trailers: str) -> bytes:
        self.writer.write("\r\n".join(["0", *trailers, "", ""]).encode())
        return await self.reader.readline()


async def test_a_streamed_response_passes_as_it_comes(process: Process) -> None:
    """Each piece can be read before the next one is sent, and the end is a clean one."""
    invocation = await process.begin()
    async with Stream.open(process, invocation) as stream:
        stream.send(b"one")
        answer = await invocation.answer
        assert isinstance(answer, Answer)
        assert (answer.streamed, answer.content_type) == (True, "text/x")
        pieces = aiter(answer.body)
        assert await anext(pieces) == b"one"
        stream.send(b"two")
        assert await anext(pieces) == b"two"
        assert b"202" in await stream.end()
        assert await anext(pieces, None) is None


async def test_declared_error_trailers_cut_the_answer(process: Process) -> None:
    """A streamed response that ends with declared error trailers is accepted and cut."""
    invocation = await process.begin()
    async with Stream.open(process, invocation, f"Trailer: {TRAILERS}") as stream:
        stream.send(b"one")
        reply = await stream.end("Lambda-Runtime-Function-Error-Type: Function.Boom")
        assert b"202" in reply
        with pytest.raises(Cut):
            await whole(await invocation.answer)


async def test_undeclared_trailers_are_dropped(process: Process) -> None:
    """Error trailers that the head did not declare are ignored."""
    invocation = await process.begin()
    async with Stream.open(process, invocation) as stream:
        stream.send(b"one")
        await stream.end("Lambda-Runtime-Function-Error-Type: Function.Boom")
        assert await whole(await invocation.answer) == b"one"


async def test_declared_trailers_that_do_not_come_are_no_error(process: Process) -> None:
    """Declared trailers that are not sent are not an error."""
    invocation = await process.begin()
    async with Stream.open(process, invocation, f"Trailer: {TRAILERS}") as stream:
        stream.send(b"one")
        await stream.end()
        assert await whole(await invocation.answer) == b"one"


async def test_a_lost_connection_cuts_the_answer(process: Process) -> None:
    """A streamed response whose connection is lost is cut, not ended."""
    invocation = await process.begin()
    async with Stream.open(process, invocation) as stream:
        stream.send(b"one")
        answer = await invocation.answer
        stream.writer.close()
        with pytest.raises(Cut):
            await whole(answer)


async def test_a_slow_reader_makes_the_function_wait(process: Process) -> None:
    """The server buffers a bounded number of bytes, and the function waits until they are read."""
    invocation = await process.begin()
    async with Stream.open(process, invocation) as stream:
        chunk = b"x" * 65536
        count = 20 * BACKLOG_LIMIT_BYTES // len(chunk)

        async def fill() -> None:
            for _ in range(count):
                stream.send(chunk)
                await stream.writer.drain()
            await stream.end()

        filling = asyncio.create_task(fill())
        answer = await invocation.answer
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(filling), 0.3)
        assert len(await whole(answer)) == count * len(chunk)
        await filling


async def test_a_reader_who_left_does_not_block_the_function(process: Process) -> None:
    """After the reader has left, the function's answer is read to its end."""
    invocation = await process.begin()
    async with Stream.open(process, invocation) as stream:
        stream.send(b"one")
        answer = await invocation.answer
        assert isinstance(answer, Answer)
        await answer.body.discard()
        for _ in range(3 * BACKLOG_LIMIT_BYTES // 65536):
            stream.send(b"x" * 65536)
            await stream.writer.drain()
        assert b"202" in await stream.end()
        assert invocation.over


async def test_a_process_may_die_after_the_server_closed() -> None:
    """Once the server is closed, the death of a running process is not a failure."""
    invocation = Invocation(b"{}", 1)
    invocation.answer.cancel()
    await invocation.fail(Failure("Runtime.ExitError"))
    assert invocation.over
