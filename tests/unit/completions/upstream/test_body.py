"""An answer's bytes: none are lost when it breaks off, and no wait is unbounded."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong, TransferEncodingError

from completions.upstream.body import PIECE_BYTES, Body
from tests.support.ways import in_virtual_time

SILENCE_S = 60.0


def _content() -> aiohttp.StreamReader:
    """The stream into which aiohttp reads an answer."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return aiohttp.StreamReader(protocol, 2**16, loop=loop)


async def _pieces(body: Body, into: list[bytes]) -> None:
    async for piece in body:
        into.append(piece)


@pytest.mark.parametrize("held_up", [True, False])
def test_bytes_before_a_break_are_read(held_up: bool) -> None:
    """A model's last words are heard, whether or not the reader was waiting when they came."""
    got: list[bytes] = []

    async def scene() -> None:
        content = _content()
        with Body(content, SILENCE_S) as body:
            reader = None if held_up else asyncio.create_task(_pieces(body, got))
            await asyncio.sleep(1)
            content.feed_data(b"last ")
            content.feed_data(b"words")
            content.set_exception(aiohttp.ClientPayloadError())
            with pytest.raises(aiohttp.ClientPayloadError):
                await (reader or _pieces(body, got))

    in_virtual_time(scene())
    assert b"".join(got) == b"last words"


def test_a_complete_answer_ends() -> None:
    """The pieces end with the content, and no task is left."""
    got: list[bytes] = []

    async def scene() -> None:
        content = _content()
        with Body(content, SILENCE_S) as body:
            content.feed_data(b"whole")
            content.feed_eof()
            await _pieces(body, got)
        await asyncio.sleep(3 * SILENCE_S)
        assert content.exception() is None

    in_virtual_time(scene())
    assert got == [b"whole"]


def test_a_burst_comes_in_pieces() -> None:
    """Unread data waits as bytes: as events it would need ten times the memory."""
    got: list[bytes] = []

    async def scene() -> None:
        content = _content()
        with Body(content, SILENCE_S) as body:
            for _ in range(3):
                content.feed_data(b"x" * PIECE_BYTES)
            content.feed_data(b"rest")
            content.feed_eof()
            await _pieces(body, got)

    in_virtual_time(scene())
    assert [len(piece) for piece in got] == [PIECE_BYTES] * 3 + [4]


def test_a_slow_caller_is_not_silence() -> None:
    """Data waits for as long as its caller takes to read it."""
    got: list[bytes] = []

    async def scene() -> None:
        content = _content()
        with Body(content, SILENCE_S) as body:
            content.feed_data(b"whole")
            got.append(await anext(body))
            content.feed_data(b" answer")
            content.feed_eof()
            await asyncio.sleep(5 * SILENCE_S)
            await _pieces(body, got)

    in_virtual_time(scene())
    assert got == [b"whole", b" answer"]


def test_silence_ends_the_wait() -> None:
    """After so long without a byte the wait ends, and not before; earlier words stay heard."""
    got: list[bytes] = []

    async def scene() -> float:
        loop = asyncio.get_running_loop()
        content = _content()
        with Body(content, SILENCE_S) as body:
            reader = asyncio.create_task(_pieces(body, got))
            for _ in range(5):
                await asyncio.sleep(SILENCE_S - 1)
                content.feed_data(b".")
            since = loop.time()
            with pytest.raises(aiohttp.SocketTimeoutError, match="60 s"):
                await reader
            return loop.time() - since

    assert SILENCE_S <= in_virtual_time(scene()) <= 2 * SILENCE_S
    assert b"".join(got) == b"....."


@pytest.mark.parametrize(
    "error",
    [
        HttpProcessingError(code=400, message="Bad"),
        TransferEncodingError("zz"),
        LineTooLong(b"x", 8190),
        RuntimeError("Connection closed."),
        ValueError("Chunk too big"),
        EOFError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_reader_error_becomes_aiohttps_client_error(error: Exception) -> None:
    """Its parser has errors of its own, and the reader Python's; words before them are heard."""
    got: list[bytes] = []

    async def scene() -> None:
        content = _content()
        with Body(content, SILENCE_S) as body:
            content.feed_data(b"words")
            content.set_exception(error)
            with pytest.raises(aiohttp.ClientPayloadError, match=type(error).__name__):
                await _pieces(body, got)

    in_virtual_time(scene())
    assert got == [b"words"]


@pytest.mark.parametrize("held_up", [True, False])
def test_an_answer_ends_with_its_connection(held_up: bool) -> None:
    """A malformed chunk shows only by the connection's end."""
    got: list[bytes] = []

    async def scene() -> float:
        loop = asyncio.get_running_loop()
        protocol = BaseProtocol(loop)
        protocol.connection_made(asyncio.Transport())
        content = aiohttp.StreamReader(protocol, 2**16, loop=loop)
        closed: asyncio.Future[None] = loop.create_future()
        with Body(content, SILENCE_S, None if held_up else closed) as body:
            content.feed_data(b"words")
            reader = None if held_up else asyncio.create_task(_pieces(body, got))
            await asyncio.sleep(1)
            protocol.connection_lost(None)
            closed.set_result(None)
            await asyncio.sleep(1)
            with pytest.raises(aiohttp.ClientPayloadError):
                await (reader or _pieces(body, got))
        return loop.time()

    assert in_virtual_time(scene()) == 2
    assert got == [b"words"]


@pytest.mark.parametrize("read_to_its_end", [True, False])
def test_a_connection_that_breaks_later_is_ignored(read_to_its_end: bool) -> None:
    """A complete answer stays complete, and asyncio logs no unexpected error."""
    unasked: list[Any] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unasked.append(context))
        content, closed = _content(), loop.create_future()
        for _ in range(3):
            with Body(content, SILENCE_S, closed) as body:
                if read_to_its_end:
                    content.feed_eof()
                    await _pieces(body, [])
        closed.set_exception(ConnectionResetError())
        await asyncio.sleep(1)
        assert content.exception() is None
        del closed, body
        gc.collect()

    in_virtual_time(scene())
    assert unasked == []
