"""An answer's bytes: none are lost when it breaks off, and no wait is unbounded."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from completions.upstream.body import Body
from tests.support.ways import in_virtual_time

SILENCE_S = 60.0


def _content() -> aiohttp.StreamReader:
    """What aiohttp reads an answer into."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return aiohttp.StreamReader(protocol, 2**16, loop=loop)


async def _pieces(body: Body, into: list[bytes]) -> None:
    async for piece in body:
        into.append(piece)


@pytest.mark.parametrize("held_up", [True, False])
def test_what_came_before_a_break_is_handed_on(held_up: bool) -> None:
    """The last words of a model that breaks off are heard, whether or not somebody was waiting."""
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


def test_a_whole_answer_ends() -> None:
    """At the end of the content the pieces end, and nothing is left running."""
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


def test_a_slow_caller_is_no_silence() -> None:
    """What has come is there for as long as its caller takes to take it."""
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


def test_silence_ends() -> None:
    """After so long without a byte the wait is over, and not before; what came stays heard."""
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
