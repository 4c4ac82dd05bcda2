"""HTTP/1.1 as a server: h11 for the protocol, asyncio for the sockets.

Serves both the Function URL and the Runtime API, because both must see what ASGI servers hide:
trailers of a request, the moment a chunk arrives, and an answer that is cut, not ended. Does not
know Lambda.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

import h11

READ_BYTES = 65536
LINGER_S = 1.0
"""How long a refused peer may take to read why."""

UNTAKEN_LIMIT_S = 30
"""The kernel reports a peer as gone that takes no data for this long."""
UNTAKEN_LIMIT_BYTES = 128 * 1024
"""How much the kernel buffers for a peer, doubled. By default it goes up to 4 MB: many thousand
words that count as said although nobody has heard them."""

log = logging.getLogger(__name__)


def _limit_untaken(listener: socket.socket) -> None:
    """Limit what a peer of this listener may leave unread, and for how long (Linux only).

    A live peer that does not read keeps acknowledging, so nothing else would end it (RFC 9293,
    section 3.8.6.1; `TCP_USER_TIMEOUT` in tcp(7)).
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNTAKEN_LIMIT_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNTAKEN_LIMIT_S * 1000)
        )


def bound_listener(port: int) -> socket.socket:
    """Return a socket that is bound to a port of 127.0.0.1; 0 takes any free one.

    Raises `OSError`, whose message is for a person.
    """
    # NOTE: the protocol is named because asyncio sets TCP_NODELAY only on such sockets. Those of
    # uvicorn's `bind_socket` do not name it, and a first word can then wait 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _limit_untaken(listener)
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        why = "is taken: choose another one with PORT" if taken else error.strerror
        raise OSError(f"port {port} {why}") from error
    return listener


class PeerGone(Exception):
    """The peer closed the connection, or broke the protocol, before its request had ended."""


class Exchange:
    """One request, and the answer to it.

    The handler reads with `chunks` or `body`, then answers with `start`, `send` and `end`, or
    with `cut`. If the peer has gone, what is sent is dropped, and `gone` says so.
    """

    def __init__(self, connection: "_Connection", request: h11.Request) -> None:
        self._connection = connection
        self.method = request.method.decode("ascii")
        self.target = request.target.decode("ascii")
        self.headers = [(k.decode("ascii"), v.decode("latin-1")) for k, v in request.headers]
        self.http_version = request.http_version.decode("ascii")
        self.trailers: dict[str, str] = {}
        self.started = False
        self.gone = False

    @property
    def peer(self) -> str:
        """The peer's address."""
        return str(self._connection.writer.get_extra_info("peername")[0])

    @property
    def address(self) -> str:
        """This server's own address, whatever name the peer called it by."""
        return f"127.0.0.1:{self._connection.writer.get_extra_info('sockname')[1]}"

    def header(self, name: str, default: str = "") -> str:
        """Return the first header of this lower-case name."""
        return next((value for key, value in self.headers if key == name), default)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body, each piece as it arrives; fill `trailers` after the last one.

        Raises `PeerGone`.
        """
        while True:
            match await self._connection.next_event():
                case h11.Data(data=data):
                    yield bytes(data)
                case h11.EndOfMessage(headers=trailers):
                    self.trailers = {k.decode("ascii"): v.decode("latin-1") for k, v in trailers}
                    return
                case _:
                    raise PeerGone

    async def body(self, limit_bytes: int) -> bytes | None:
        """Return the whole body, or None if it is longer than the limit. Raises `PeerGone`.

        Reads it to its end in either case: a socket closed on unread data is reset, and the peer
        would lose the answer that says why.
        """
        body, length = bytearray(), 0
        async for chunk in self.chunks():
            length += len(chunk)
            if length <= limit_bytes:
                body += chunk
        return bytes(body) if length <= limit_bytes else None

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send the status line and the headers, alone. Raises `h11.LocalProtocolError`."""
        raw = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers]
        self.started = True
        await self._write(h11.Response(status_code=status, headers=raw))

    async def send(self, data: bytes) -> None:
        """Send a piece of the body and wait until the socket has room for more."""
        await self._write(h11.Data(data=data))

    async def end(self) -> None:
        """Send the end of the body."""
        await self._write(h11.EndOfMessage())

    async def answer(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        """Send a whole answer; `x_y` stands for the header `x-y`."""
        head = [("content-type", content_type), ("content-length", str(len(body)))]
        await self.start(status, head + [(k.replace("_", "-"), v) for k, v in headers.items()])
        await self.send(body)
        await self.end()

    def cut(self) -> None:
        """Close the connection without ending the answer, so that the peer sees it was cut."""
        self.gone = True
        self._connection.writer.close()

    async def _write(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        if self.gone:
            return
        data = self._connection.protocol.send(event)
        try:
            if data:
                self._connection.writer.write(data)
            await self._connection.writer.drain()
        except OSError:  # A time-out is not a ConnectionError.
            self.gone = True


class _Connection:
    """One accepted socket; asyncio has set TCP_NODELAY on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.protocol = h11.Connection(h11.SERVER)
        self._violation = ""

    async def next_event(self) -> h11.Event | None:
        """Return the peer's next event, or None when it has gone or broken the protocol."""
        while True:
            try:
                event = self.protocol.next_event()
            except h11.RemoteProtocolError as error:
                self._violation = str(error)
                return None
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # sentinels were handled above
            if self.protocol.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                self.writer.write(self.protocol.send(go_on) or b"")
            try:
                self.protocol.receive_data(await self.reader.read(READ_BYTES))
            except OSError:
                return None

    async def refuse_violation(self) -> None:
        """Answer 400 to anything that is not HTTP as we know it, unless an answer has begun."""
        if not self._violation or self.protocol.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        body = f"Bad Request: {self._violation}\n".encode()
        head = [("content-type", "text/plain"), ("content-length", str(len(body)))]
        answer = h11.Response(status_code=400, headers=[*head, ("connection", "close")])
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.writer.write(self.protocol.send(event) or b"")
        # A socket closed on unread data is reset, and the peer would lose the answer.
        with contextlib.suppress(OSError):  # A time-out is an OSError.
            await self.writer.drain()
            self.writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self.reader.read(READ_BYTES):
                    pass


class Server:
    """Listens on 127.0.0.1 and gives each request to the handler, keep-alive included."""

    def __init__(self, handler: Callable[[Exchange], Awaitable[None]], port: int = 0) -> None:
        self._handler = handler
        self._connections: set[asyncio.Task[None]] = set()
        self.port = port

    async def __aenter__(self) -> Self:
        listener = bound_listener(self.port)
        self._server = await asyncio.start_server(self._accept, sock=listener)
        self.port = listener.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(
            self._serve_connection(_Connection(reader, writer))
        )
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve_connection(self, connection: _Connection) -> None:
        try:
            while isinstance(request := await connection.next_event(), h11.Request):
                exchange = Exchange(connection, request)
                try:
                    await self._handler(exchange)
                except PeerGone:
                    break
                except Exception:
                    # One broken request must not end the server; the peer sees a cut answer.
                    log.exception("%s %s failed", exchange.method, exchange.target)
                    return
                if connection.protocol.our_state is not h11.DONE or exchange.gone:
                    return
                with contextlib.suppress(h11.LocalProtocolError):
                    connection.protocol.start_next_cycle()
            await connection.refuse_violation()
        finally:
            connection.writer.close()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()
