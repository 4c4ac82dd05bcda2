"""A scripted OpenAI-compatible server over real sockets on 127.0.0.1.

HTTP is written by hand, because this server deliberately does what no HTTP library would. It plays
`script.Script`s and records every request:

    async with ScriptedUpstream(refused(429, retry_after_s=7), answer("Hello.")) as upstream:
        …                                   # ask upstream.base_url
        request = await upstream.request(0)
        assert request.json["model"] == "m"

Run on its own it is a slow upstream for `make run`:

    python -m local.scripted.upstream --port 9100 --first-ms 4000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import socket
import ssl
import struct
from collections.abc import Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self

from local.scripted.script import Cut, Head, Raw, Reply, Script, answer, calls, refused
from local.scripted.script_player import RecordedRequest, Scene, Stage, perform
from local.scripted.wires import wire_for

HEAD_LIMIT_BYTES = 1024 * 1024
SO_ATTACH_FILTER = 26
"""socket(7): Python has no name for it."""
CHUNKED = {"transfer-encoding": "chunked"}


class ScriptedUpstream(Stage):
    """Serve `/chat/completions` and `/models` below any prefix, and `/responses` if told to."""

    def __init__(
        self,
        *scenes: Scene,
        responses: bool = False,
        models: tuple[str, ...] = ("scripted",),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(*scenes)
        self.responses = responses
        self.models = models
        self.tls = tls
        self.models_script: Script | None = None
        """Played instead of the list of models."""
        self.connections = 0
        """How many connections have been opened so far."""
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def base_url(self) -> str:
        """Return the base URL for a deployment's settings."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen; with port 0 the system chooses one."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, limit=HEAD_LIMIT_BYTES, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and every connection."""
        self._server.close()
        self.drop_connections()
        await self.deserted()
        await self._server.wait_closed()

    async def deserted(self) -> None:
        """Wait until no connection is left."""
        while self._open:  # noqa: ASYNC110 - their handlers need a turn of the loop, no more
            await asyncio.sleep(0)

    def drop_connections(self) -> None:
        """Abort all connections, including idle ones, like a restarting server."""
        for writer in self._open:
            writer.transport.abort()

    def close_connections(self) -> None:
        """Close all connections properly, like a server after a long idle time."""
        for writer in self._open:
            writer.close()

    def vanish(self) -> None:
        """Let all connections go dead silently, as behind a NAT that forgot them.

        Linux only: the kernel drops what arrives before TCP sees it, so nothing is acknowledged.
        """
        deaf = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
        program = struct.pack("HP", 1, ctypes.addressof(deaf))
        for writer in self._open:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self._open.add(writer)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while (request := await _read(reader, number)) is not None:
                await self.note(request)
                if not await self._answer_request(request, reader, writer):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client is gone. The test decides whether it should be.
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer_request(
        self, request: RecordedRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Play the answer and watch for a hang-up; return True if the connection stays open."""
        playing = asyncio.create_task(self._play(request, writer))
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({playing, gone}, return_when=asyncio.FIRST_COMPLETED)
            return playing.done() and playing.result()
        finally:
            # A finished request is left alone.
            request.leave()
            for task in (playing, gone):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await task

    async def _play(self, request: RecordedRequest, writer: asyncio.StreamWriter) -> bool:
        streaming = False
        acts = perform(self._script(request), wire_for(request), request.at)
        async with aclosing(acts):
            async for act in acts:
                data = b""
                match act:
                    case Cut():
                        request.finished = True
                        return False
                    case Head(status, headers):
                        streaming = True
                        data = _head(status, {**headers, **CHUNKED})
                    case Raw(packet):
                        if not streaming:
                            streaming = True
                            data = _head(200, {**Head().headers, **CHUNKED})
                        data += _chunk(packet)
                    case Reply(body, status, headers):
                        if streaming:
                            data = _chunk(body)
                        else:
                            length = {"content-length": str(len(body))}
                            data = _head(status, {**headers, **length}) + body
                            # Before the last bytes leave: a client that has them may leave.
                            request.finished = True
                writer.write(data)
                await writer.drain()
        request.finished = True
        if streaming:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return True

    def _script(self, request: RecordedRequest) -> Script:
        path = request.path.partition("?")[0]
        if request.method == "POST" and (
            path.endswith("/chat/completions") or (self.responses and path.endswith("/responses"))
        ):
            return self.next_script(request)
        if request.method == "GET" and path.endswith("/models"):
            if self.models_script is not None:
                return self.models_script
            models = [{"id": name, "object": "model", "created": 0} for name in self.models]
            return [Reply(json.dumps({"object": "list", "data": models}).encode())]
        return refused(404, message=f"Unknown request URL: {request.method} {path}")


async def _read(reader: asyncio.StreamReader, connection: int) -> RecordedRequest | None:
    """Return the next request, or None if the client closed the idle connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = []
    length = 0
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip()))
        if name.lower() == "content-length":
            length = int(value)
    body = await reader.readexactly(length)
    return RecordedRequest(
        method, path, headers, body, asyncio.get_running_loop().time(), connection
    )


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m local.scripted.upstream", description="A scripted upstream, slow if wished."
    )
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--first-ms", type=float, default=4000, help="wait before the first word")
    parser.add_argument("--pace-ms", type=float, default=120, help="wait between two words")
    parser.add_argument("--text", default="Thank you for waiting, here is your answer.")
    parser.add_argument("--call", help="a tool to call in place of the text")
    parser.add_argument("--arguments", default="{}", help="of the call, exactly as sent")
    options = parser.parse_args()
    if options.call:
        scene = calls(options.call, options.arguments, at_ms=options.first_ms)
    else:
        scene = answer(options.text, at_ms=options.first_ms, pace_ms=options.pace_ms)
    upstream = ScriptedUpstream(scene)
    await upstream.start(options.port)
    print(f"ready {upstream.base_url}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
