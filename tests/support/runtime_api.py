"""A Lambda Runtime API on loopback, which sends events and keeps every byte of the answers.

async with FakeRuntimeApi() as api:
    api.invoke({"any": "event"})      # waits for a poll, as Lambda does
    post = await api.post()           # the answer, from its head on
    first = await post.piece()        # its body, chunk by chunk as it comes in
    await post.ended.wait()           # `post.raw` is the whole request now

The attributes below `script` make it fail in the ways of the real one.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any, Self

ROOT = "/2018-06-01/runtime"
_REASONS = {200: "OK", 202: "Accepted", 410: "Gone", 413: "Payload Too Large"}


@dataclass(eq=False)
class Post:
    """One POST of the runtime. `connection` numbers connections in the order of opening."""

    path: str
    headers: list[tuple[str, str]]
    connection: int
    raw: bytearray
    trailers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    whole: bool = False
    _fresh: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    def header(self, name: str) -> str | None:
        """Return the value of the last header of this name."""
        return {k.lower(): v for k, v in self.headers}.get(name.lower())

    async def piece(self) -> bytes | None:
        """Return the next chunk of the body; None at its end."""
        return await self._fresh.get()

    async def read(self) -> bytes:
        """Return the body once it has ended."""
        await self.ended.wait()
        return b"".join(self.pieces)

    async def prelude(self) -> dict[str, Any]:
        """Return the prelude of a streamed answer once the body has ended."""
        decoded = json.loads((await self.read()).partition(bytes(8))[0])
        assert isinstance(decoded, dict)
        return decoded

    async def body(self) -> bytes:
        """Return what follows the prelude once the body has ended."""
        return (await self.read()).partition(bytes(8))[2]

    def failure(self) -> dict[str, Any]:
        """Return the decoded error trailer."""
        decoded = json.loads(b64decode(self.trailers["lambda-runtime-function-error-body"]))
        assert isinstance(decoded, dict)
        return decoded

    def note(self, piece: bytes | None) -> None:
        if piece is not None:
            self.pieces.append(piece)
        self._fresh.put_nowait(piece)


class FakeRuntimeApi:
    """See the module."""

    def __init__(self, *, port: int = 0) -> None:
        self.calls: list[str] = []
        self.connections = 0
        # script
        self.statuses: dict[str, int] = {}  # by the last word of the path: {"response": 410}
        self.early: tuple[int, int] | None = None  # after so many body bytes, this status
        self.hang_up_after: int | None = None  # close after so many bytes of an answer's body
        self.lost_polls = 0  # so many polls are closed instead of answered
        self.closes_after_answer = False
        self.drips = False  # our own answers: one byte at a time …
        self.chunked = False  # … and in chunks
        self.reading = asyncio.Event()
        self.reading.set()
        self._port = port
        self._events: asyncio.Queue[tuple[bytes, list[tuple[str, str]]]] = asyncio.Queue()
        self._posts: asyncio.Queue[Post] = asyncio.Queue()
        self._open_polls = 0
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._request_ids = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def invoke(
        self,
        event: Any,
        *,
        request_id: str | None = None,
        timeout_ms: int = 60_000,
        headers: dict[str, str] | None = None,
    ) -> str:
        """Answer the next poll with an event, bytes unchanged; return the request's id."""
        self._request_ids += 1
        request_id = request_id or f"00000000-0000-4000-8000-{self._request_ids:012}"
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        fields = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", request_id),
            ("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + timeout_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:f"),
            *(headers or {}).items(),
        ]
        self._events.put_nowait((body, fields))
        return request_id

    async def post(self) -> Post:
        """Return the next POST, once its head has arrived."""
        return await self._posts.get()

    async def polled(self, count: int = 1) -> None:
        """Wait until so many polls are open at once."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._open_polls >= count)

    async def quiet(self) -> None:
        """Wait until all connections are closed and read to their ends."""
        while self._tasks:
            await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while await self._serve(reader, writer, number):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            if not self._server.is_serving():
                return
            raise
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head[:-4].decode("latin-1").split("\r\n")
        if not request_line.endswith(" HTTP/1.1"):
            self.calls.append(request_line)  # bytes after a finished answer
            return False
        method, path, _ = request_line.split(" ")
        assert path.startswith(ROOT)
        path = path.removeprefix(ROOT)
        headers = [(k, v.strip()) for k, _, v in (line.partition(":") for line in lines)]
        self.calls.append(f"{method} {path}")
        if method == "GET":
            return await self._answer_poll(path, writer)
        post = Post(path, headers, number, bytearray(head))
        self._posts.put_nowait(post)
        try:
            status = await self._take(post, reader)
        finally:
            post.note(None)
            post.ended.set()
        if status == 0:
            return False
        await self._write(writer, status, [], b'{"status":"OK"}')
        if not post.whole:
            await asyncio.Event().wait()  # an early verdict: the rest is not read
        return not self.closes_after_answer

    async def _answer_poll(self, path: str, writer: asyncio.StreamWriter) -> bool:
        if self.lost_polls:
            self.lost_polls -= 1
            return False
        body, headers = b"", list[tuple[str, str]]()
        status = self.statuses.get(path.rpartition("/")[2], 200)
        if path == "/invocation/next" and status == 200:
            async with self._changed:
                self._open_polls += 1
                self._changed.notify_all()
            try:
                body, headers = await self._events.get()
            finally:
                self._open_polls -= 1
        await self._write(writer, status, headers, body)
        return not self.closes_after_answer

    async def _take(self, post: Post, reader: asyncio.StreamReader) -> int:
        """Read a body; return the status to answer with, 0 for no answer."""
        length = post.header("content-length")
        if length is not None:
            body = await reader.readexactly(int(length))
            post.raw += body
            post.note(body)
        taken = 0
        while length is None:
            await self.reading.wait()
            line = await reader.readuntil(b"\r\n")
            post.raw += line
            size = int(line, 16)
            if size == 0:
                while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                    post.raw += line
                    name, _, value = line.decode("latin-1").partition(":")
                    post.trailers[name.lower()] = value.strip()
                post.raw += line
                break
            data = await reader.readexactly(size + 2)
            post.raw += data
            post.note(data[:-2])
            taken += size
            if self.hang_up_after is not None and taken >= self.hang_up_after:
                return 0
            if self.early and taken >= self.early[0]:
                return self.early[1]
        post.whole = True
        return self.statuses.get(post.path.rpartition("/")[2], 202)

    async def _write(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
    ) -> None:
        if self.chunked:
            half = len(body) // 2
            headers = [*headers, ("Transfer-Encoding", "chunked")]
            parts = [part for part in (body[:half], body[half:]) if part]
            body = b"".join(b"%X;x=y\r\n%b\r\n" % (len(part), part) for part in parts)
            body += b"0\r\nX-Trailer: 1\r\n\r\n"
        else:
            headers = [*headers, ("Content-Length", str(len(body)))]
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Whatever')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        answer = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        step = 1 if self.drips else len(answer)
        for start in range(0, len(answer), step):
            writer.write(answer[start : start + step])
            await writer.drain()
            if self.drips:
                await asyncio.sleep(0)
