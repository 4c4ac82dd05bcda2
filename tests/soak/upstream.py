"""The soak's upstream, which plays kinds to the real client over memory or sockets.

Over memory the client's connector gets a pipe instead of a socket, so that HTTP and all its
faults are played in virtual time. HTTP is written by hand, because this server deliberately does
what no HTTP library does.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import aiohttp

from local.scripted.script_player import RecordedRequest
from local.scripted.wires import wire_for
from tests.soak.kinds.kind import HEALTHY, Kind
from tests.soak.script import Acts, Answer, Break, Head, Naked, Reply, Wait

_TURN = re.compile(rb"Turn (\d+)\.")


class Scene:
    """One turn as the upstream plays it: its kind, affected requests, what was asked and said."""

    def __init__(self, number: int, kind: Kind, affects: str, rng: random.Random) -> None:
        """Prepare the turn. `affects` is `first`, `each` or `upstream` (the first candidate)."""
        self.number, self.kind, self.affects, self.rng = number, kind, affects, rng
        self.answers: list[Answer] = []
        self.probes = 0
        """Requests for an API that this upstream does not have."""
        self.strangers = 0
        """Requests with another turn's words."""

    def affects_next(self, candidate: str, now: float) -> bool:
        """Return True if the next request meets the kind."""
        if self.kind.window_s:
            if candidate != "upstream":
                return False
            since = self.answers[0].at if self.answers else now
            return now - since < self.kind.window_s
        if self.affects == "first":
            return not self.answers
        return self.affects in {"each", candidate}

    def script(self, answer: Answer) -> Acts:
        """Return the script to play."""
        return (self.kind if answer.faulty else HEALTHY).play(answer)


class Link(ABC):
    """The server's end of a connection."""

    closed = False

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes."""

    @abstractmethod
    def end(self, how: Break) -> None:
        """End the connection."""


class Pipe(Link, asyncio.Transport):
    """A connection over memory: the client's transport and the server's end."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        asyncio.Transport.__init__(self)
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._coming: deque[bytes | Break] = deque()
        self._reading = True
        self._scheduled = False
        self.reader = asyncio.StreamReader()

    # The client's.

    def write(self, data: Any) -> None:
        """See `asyncio.WriteTransport`."""
        if not self.closed:
            self.reader.feed_data(bytes(data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport`."""
        return ("127.0.0.1", 1) if name == "peername" else default

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self.closed

    def close(self) -> None:
        """See `asyncio.BaseTransport`."""
        self._lose(None)

    def abort(self) -> None:
        """See `asyncio.WriteTransport`."""
        self._lose(None)

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._reading = False

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._reading = True
        self._schedule()

    # The server's.

    def send(self, data: bytes) -> None:
        """See `Link`."""
        if not self.closed and data:
            self._coming.append(data)
            self._schedule()

    def end(self, how: Break) -> None:
        """See `Link`."""
        if not self.closed:
            self._coming.append(how)
            self._schedule()

    def _schedule(self) -> None:
        if self._coming and self._reading and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self.closed or not self._reading or not self._coming:
            return
        match self._coming.popleft():
            case bytes(data):
                self._protocol.data_received(data)
                self._schedule()
            case Break.RESET:
                self._lose(ConnectionResetError("reset by the soak"))
            case _:
                self._protocol.eof_received()
                self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self.reader.feed_eof()
            self._loop.call_soon(self._protocol.connection_lost, error)


class SocketLink(Link):
    """A connection over a socket."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    @property
    def closed(self) -> bool:  # type: ignore[override]
        """Whether an end has left."""
        return self._writer.is_closing()

    def send(self, data: bytes) -> None:
        """See `Link`."""
        if not self.closed:
            self._writer.write(data)

    def end(self, how: Break) -> None:
        """See `Link`."""
        if how is Break.RESET:
            self._writer.transport.abort()
        else:
            self._writer.close()


class SoakUpstream:
    """The upstream of all candidates in all environments; each request names its turn."""

    def __init__(self) -> None:
        self.scenes: dict[int, Scene] = {}
        """The turns that are being played, by number."""
        self.bugs: list[str] = []
        """Errors of the soak itself."""
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """Return the number of open connections."""
        return len(self._serving)

    @contextmanager
    def in_memory(self) -> Iterator[None]:
        """Route every connection of aiohttp here."""

        async def connect(connector: Any, request: Any, *_: Any, **__: Any) -> Any:
            self._refuse(request)
            protocol = connector._factory()
            pipe = Pipe(protocol)
            protocol.connection_made(pipe)
            task = asyncio.create_task(self._serve(pipe.reader, pipe))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            return protocol

        with patch.object(aiohttp.TCPConnector, "_create_connection", connect):
            yield

    @contextmanager
    def over_sockets(self, port: int) -> Iterator[None]:
        """Route every connection of aiohttp to the port of `listen`."""

        async def connect(connector: Any, request: Any, *_: Any, **__: Any) -> Any:
            self._refuse(request)
            loop = asyncio.get_running_loop()
            made = await loop.create_connection(connector._factory, "127.0.0.1", port)
            return made[1]

        with patch.object(aiohttp.TCPConnector, "_create_connection", connect):
            yield

    async def listen(self) -> int:
        """Listen on a port that the system chooses; return it."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._serving.add(task)
            try:
                await self._serve(reader, SocketLink(writer))
            finally:
                self._serving.discard(task)

        self._server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening, and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._serving):
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    def _refuse(self, request: Any) -> None:
        """Raise if the connection should fail."""
        match = _TURN.search(request.body._value) if hasattr(request.body, "_value") else None
        scene = self.scenes.get(int(match[1])) if match else None
        if scene is None or scene.kind.connects:
            return
        candidate, now = _candidate(request.url.host), asyncio.get_running_loop().time()
        if scene.affects_next(candidate, now):
            seen = RecordedRequest("POST", request.url.path, [], request.body._value, now)
            answer = self._answer(scene, seen, candidate)
            answer.over_at = now
            raise aiohttp.ClientConnectorError(request.connection_key, OSError("refused"))

    async def _serve(self, reader: asyncio.StreamReader, link: Link) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
                headers = {name.lower(): value.strip() for name, _, value in lines}
                body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
                if not await self._attend(path, headers[b"host"].decode(), body, reader, link):
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass
        except Exception:
            self.bugs.append(traceback.format_exc())
        finally:
            link.end(Break.CLOSE)

    async def _attend(
        self, path: str, host: str, body: bytes, reader: asyncio.StreamReader, link: Link
    ) -> bool:
        """Answer a request; return True if the connection stays open."""
        match = _TURN.search(body)
        scene = self.scenes.get(int(match[1])) if match else None
        if scene is None:
            link.send(_reply(Reply(400, b'{"error": {"message": "Whose turn is this?"}}')))
            return False
        scene.strangers += any(number != match[1] for number in _TURN.findall(body)) if match else 0
        if b"Chat completions only." in body and path.endswith("/responses"):
            scene.probes += 1
            link.send(_reply(Reply(404, b'{"error": {"message": "Unknown request URL."}}')))
            return True
        seen = RecordedRequest("POST", path, [], body, asyncio.get_running_loop().time())
        answer = self._answer(scene, seen, _candidate(host))
        playing = asyncio.create_task(self._play(scene.script(answer), answer, link))
        leaving = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return playing.done() and playing.result()
        finally:
            if answer.over_at is None:
                answer.over_at = asyncio.get_running_loop().time()
            for task in (playing, leaving):
                task.cancel()
            await asyncio.wait({playing, leaving})

    def _answer(self, scene: Scene, seen: RecordedRequest, candidate: str) -> Answer:
        api = seen.path.rpartition("v1/")[2].partition("/")[0]
        answer = Answer(
            wire_for(seen),
            turn=scene.number,
            number=len(scene.answers),
            chat=api == "chat",
            candidate=candidate,
            at=seen.at,
            body=json.loads(seen.raw),
            rng=scene.rng,
            faulty=api in scene.kind.apis and scene.affects_next(candidate, seen.at),
        )
        scene.answers.append(answer)
        return answer

    async def _play(self, script: Acts, answer: Answer, link: Link) -> bool:
        """Play an answer; return True if the connection stays open."""
        naked = False
        for act in script:
            match act:
                case bytes(data):
                    if data:
                        self._head(answer, Head(), link)
                        link.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                    # Nothing after this point was heard.
                    if link.closed:
                        return False
                case Head():
                    self._head(answer, act, link)
                case Naked(data):
                    naked = naked or not data.startswith(b"HTTP/1.1 10")
                    link.send(data)
                case Reply():
                    link.send(_reply(act))
                    return True
                case Break.HOLD:
                    await asyncio.Event().wait()
                case Break():
                    link.end(act)
                    return False
        if not naked and not answer.streamed and not answer.head_sent:
            link.send(_reply(Reply(200, answer.wire.whole())))
            return True
        if answer.head_sent:
            if not answer.streamed:
                whole = answer.wire.whole()
                link.send(f"{len(whole):x}\r\n".encode() + whole + b"\r\n" if whole else b"")
            link.send(b"0\r\n\r\n")
        return not naked

    def _head(self, answer: Answer, head: Head, link: Link) -> None:
        if not answer.head_sent:
            answer.head_sent = True
            lines = [f"HTTP/1.1 {head.status} Soak", "transfer-encoding: chunked"]
            lines += [f"{name}: {value}" for name, value in head.headers.items()]
            link.send("\r\n".join([*lines, "", ""]).encode("latin-1"))


def _candidate(host: str | None) -> str:
    return "fallback" if host and host.startswith("fallback") else "upstream"


def _reply(reply: Reply) -> bytes:
    headers = dict(reply.headers)
    if reply.status not in {204, 304}:
        headers["content-length"] = str(len(reply.body))
    lines = [f"HTTP/1.1 {reply.status} Soak", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body
