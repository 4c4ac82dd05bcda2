"""Our HTTP/1.1 server, byte by byte over loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from local import wire
from local.wire import Exchange, Server

Handler = Callable[[Exchange], Awaitable[None]]


@contextlib.asynccontextmanager
async def connected(
    handler: Handler,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with Server(handler) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        yield reader, writer
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def echo(exchange: Exchange) -> None:
    body = await exchange.body(1000)
    if body is None:
        await exchange.answer(413, b"long", "text/plain")
    else:
        await exchange.answer(200, body, "text/plain")


async def test_one_connection_serves_many_requests() -> None:
    """A connection is kept for further requests, also after one that was too long."""
    async with connected(echo) as (reader, writer):
        for body in (b"one", b"x" * 2000, b"two"):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            head = await reader.readuntil(b"\r\n\r\n")
            expected = body if len(body) < 1000 else b"long"
            assert head.startswith(b"HTTP/1.1 200" if len(body) < 1000 else b"HTTP/1.1 413")
            assert await reader.readexactly(len(expected)) == expected


async def test_a_request_may_come_one_byte_at_a_time() -> None:
    """However a request is split, it is read the same."""
    async with connected(echo) as (reader, writer):
        raw = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw += b"3\r\nabc\r\n0\r\n\r\n"
        for i in range(len(raw)):
            writer.write(raw[i : i + 1])
            await writer.drain()
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(3) == b"abc"


async def test_a_client_that_expects_continue_gets_it() -> None:
    """`Expect: 100-continue` is answered once the handler reads the body."""
    async with connected(echo) as (reader, writer):
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"hi")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_headers_and_pieces_leave_at_once() -> None:
    """Head and each piece arrive before the handler goes on."""
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [("content-type", "text/plain")])
        await go_on.wait()
        go_on.clear()
        await exchange.send(b"one")
        await go_on.wait()
        await exchange.end()

    async with connected(handler) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" in head
        go_on.set()
        assert await reader.readuntil(b"one\r\n") == b"3\r\none\r\n"
        go_on.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_a_cut_answer_has_no_end() -> None:
    """A cut answer closes the connection without the last chunk."""

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await exchange.send(b"one")
        exchange.cut()

    async with connected(handler) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.read()).endswith(b"3\r\none\r\n")


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: one\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        HEAD + b"Bad Header: x\r\n\r\n",
        HEAD + b"Long: " + b"x" * 1_000_000 + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=lambda raw: ascii(raw[:60]),
)
async def test_malformed_http_is_a_400(raw: bytes) -> None:
    """A malformed head or body is answered with 400."""
    async with connected(echo) as (reader, writer):
        writer.write(raw)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in answer.lower()
        assert answer.partition(b"\r\n\r\n")[2].startswith(b"Bad Request: ")


async def test_malformed_http_after_an_answer_began_cuts_it() -> None:
    """The first answer is cut, and no second one is written into it."""

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [("content-length", "9")])
        await exchange.send(b"one")
        assert await exchange.body(9) is None

    async with connected(handler) as (reader, writer):
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\none")


async def test_a_failing_handler_cuts_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A failing handler is logged and cuts only its own connection."""

    async def handler(exchange: Exchange) -> None:
        if exchange.target == "/bad":
            raise ValueError("bad")
        await echo(exchange)

    async with Server(handler) as server:
        for path, answer in (("bad", b""), ("good", b"HTTP/1.1 200 ")):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.read())[:13] == answer
            writer.close()
            await writer.wait_closed()
    assert "GET /bad failed" in caplog.text


async def test_sending_to_a_peer_that_left_does_nothing() -> None:
    """After the peer has hung up, sending does nothing, and the handler can tell."""
    gone = asyncio.get_running_loop().create_future()

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [])
        while not exchange.gone:
            await exchange.send(b"x" * 100_000)
        gone.set_result(True)

    async with connected(handler) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        assert await asyncio.wait_for(gone, 20)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
async def test_a_peer_that_does_not_read_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who does not read is treated as gone after a while."""
    monkeypatch.setattr(wire, "UNTAKEN_LIMIT_S", 0.2)
    gone = asyncio.get_running_loop().create_future()

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [])
        while not exchange.gone:
            await exchange.send(b"x" * 1_000_000)
        gone.set_result(True)

    async with Server(handler) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await asyncio.wait_for(gone, 60)
