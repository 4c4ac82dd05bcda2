"""Requests on the wire, checked by h11, and answers read in any pieces."""

from __future__ import annotations

import asyncio
import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_streaming.http1 import (
    Answer,
    Connection,
    ProtocolError,
    chunk,
    last_chunk,
    read_answer,
    request_head,
)

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\nX-Trailer: t\r\n\r\n"
)
TO_THE_END = b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\nhello"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH


async def answer_of(*pieces: bytes, limit: int = 2**20) -> Answer:
    """Return what `read_answer` makes of bytes in these pieces."""
    reader = asyncio.StreamReader(limit=limit)
    task = asyncio.create_task(read_answer(reader))
    for piece in pieces:
        reader.feed_data(piece)
        await asyncio.sleep(0)
    reader.feed_eof()
    return await task


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED, TO_THE_END, INTERIM])
async def test_answers_are_understood_one_byte_at_a_time(raw: bytes) -> None:
    """An answer reads the same however it is cut into packets."""
    dripped = await answer_of(*(raw[i : i + 1] for i in range(len(raw))))
    assert dripped == await answer_of(raw)
    assert (dripped.status, dripped.body) == (200, b"hello")


@given(cuts=st.lists(st.integers(0, len(CHUNKED)), max_size=6))
def test_any_cut_of_a_chunked_answer_is_understood(cuts: list[int]) -> None:
    """A chunked answer can be cut anywhere."""
    edges = [0, *sorted(cuts), len(CHUNKED)]
    pieces = [CHUNKED[a:b] for a, b in itertools.pairwise(edges) if a < b]
    assert asyncio.run(answer_of(*pieces)).body == b"hello"


@pytest.mark.parametrize(
    ("raw", "reusable"),
    [
        (LENGTH, True),
        (CHUNKED, True),
        (TO_THE_END, False),
        (LENGTH.replace(b"Content-Type: text/plain", b"Connection: Close"), False),
        (LENGTH.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
async def test_a_connection_is_reused_only_if_the_peer_keeps_it(raw: bytes, reusable: bool) -> None:
    """A connection is kept if the answer had a known end and no `close`."""
    assert (await answer_of(raw)).reusable is reusable


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED])
async def test_an_answer_cut_anywhere_is_a_lost_connection(raw: bytes) -> None:
    """Half an answer is never mistaken for a whole one."""
    for length in range(len(raw)):
        with pytest.raises(ConnectionError):
            await answer_of(raw[:length])


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0 200 x\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100,
    ],
)
async def test_what_is_not_http_is_a_protocol_error(raw: bytes) -> None:
    """Bytes that are not HTTP raise a protocol error, which is not retried."""
    with pytest.raises(ProtocolError):
        await answer_of(raw, limit=64)


def test_requests_are_http_in_the_eyes_of_h11() -> None:
    """An independent parser reads head, chunks and trailers as intended."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(
        request_head(
            "POST", "/x", "127.0.0.1:9001", [("Transfer-Encoding", "chunked"), ("X-Y", "z")]
        )
        + chunk(b"hello")
        + chunk(bytes(300))
        + last_chunk([("T", "1")])
    )
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"POST", b"/x")
    assert (b"host", b"127.0.0.1:9001") in request.headers
    assert (b"x-y", b"z") in request.headers
    body = bytearray()
    while isinstance(event := server.next_event(), h11.Data):
        body += event.data
    assert bytes(body) == b"hello" + bytes(300)
    assert isinstance(event, h11.EndOfMessage)
    assert list(event.headers) == [(b"t", b"1")]


async def test_nagle_is_off() -> None:
    """TCP_NODELAY is set: without it a small write may wait for 40 ms."""
    import socket

    async with await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        connection = await Connection.open(f"{host}:{port}")
        raw = connection.writer.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        connection.close()
