"""Connections to the upstreams, kept between turns, and let go when a freeze has outlived them.

One HTTP client per base URL. Knows `openai` and `httpx2` only to make one; what is sent is
`upstream`'s.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.request import getproxies

if TYPE_CHECKING:
    import ssl

    import httpx2
    from openai import AsyncOpenAI

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 60.0
"""A last resort: the turn's own timers are shorter, and Lambda's deadline ends everything."""
KEEP_ALIVE_S = 60.0
UNACKNOWLEDGED_MS = 1000
"""What we send is acknowledged within this time, or the connection is dead (RFC 5482).

A kept connection that a NAT has forgotten swallows a request without a word. The kernel knows it
before the first-token timeout, because a living peer's kernel acknowledges at once, however long
its model thinks. It notices at a retransmission: after 1.4 s on loopback (measured 2026-11-22).
"""
REFUSAL_LIMIT_BYTES = 256 * 1024
"""Of an error's body, which the SDK reads whole before it raises."""


@dataclass(slots=True, eq=False)
class Pool:
    """The connections to one upstream."""

    client: AsyncOpenAI
    users: int = 0
    """Answers that are being asked for or read."""
    used_at: float | None = None
    """When the last of them ended (wall clock); None until then."""


class Connections:
    """One pool per base URL. One object per environment and event loop."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._closing: set[asyncio.Task[None]] = set()
        # Shared and kept: reading the certificates costs 18 ms (measured 2026-11-22), a client
        # around them 0.1 ms.
        self._tls: ssl.SSLContext | None = None

    def prepare(self, base_url: str) -> Pool:
        """Makes what a first request would make, without a connection."""
        pool = self._pools.get(base_url)
        if pool is None:
            if self._tls is None:
                self._tls = _tls_context()
            pool = self._pools[base_url] = Pool(_client(base_url, self._tls))
        return pool

    def take(self, base_url: str) -> Pool:
        """The pool to send a request on; whoever takes it must `leave` it.

        Never one that a freeze has outlived. NOTE: wall clock. A frozen environment's other
        clocks may stand still, and the pool's own expiry with them.
        """
        pool = self._pools.get(base_url)
        if pool and pool.used_at is not None and time.time() - pool.used_at > KEEP_ALIVE_S:
            self.drop(base_url)
        pool = self.prepare(base_url)
        pool.users += 1
        return pool

    def leave(self, pool: Pool) -> None:
        """The answer was read, or given up."""
        pool.users -= 1
        pool.used_at = time.time()
        self._close_unused(pool)

    def kept(self, base_url: str) -> bool:
        """Whether the next request may meet a connection that was used before."""
        pool = self._pools.get(base_url)
        return pool is not None and pool.used_at is not None

    def drop(self, base_url: str) -> None:
        """No new request meets these connections; answers that are being read go on."""
        if pool := self._pools.pop(base_url, None):
            self._close_unused(pool)

    async def close(self) -> None:
        """Closes everything that nobody reads."""
        for base_url in list(self._pools):
            self.drop(base_url)
        if self._closing:
            await asyncio.wait(self._closing)

    def forget(self) -> None:
        """Lets go of every socket without a word: after a restore no peer knows of it.

        What never was connected is as good as new, and kept: a snapshot is worth it for that.
        """
        self._pools = {
            base_url: pool
            for base_url, pool in self._pools.items()
            if pool.users == 0 and pool.used_at is None
        }

    def _close_unused(self, pool: Pool) -> None:
        if pool.users == 0 and pool not in self._pools.values():
            task = asyncio.create_task(pool.client.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _tls_context() -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context()


async def _bounded(response: httpx2.Response) -> None:
    """Lets no response be larger than its bytes, and no error larger than it needs to be.

    We ask for no content coding. Who uses one all the same may send gigabytes in a few of them.
    """
    import httpx2

    if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        await response.aclose()
        raise httpx2.DecodingError("the upstream compresses its answer, unasked")
    if response.is_success:
        return  # `upstream` counts what it reads.
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - of an async client
    body: httpx2.AsyncByteStream = response.stream

    async def limited() -> AsyncIterator[bytes]:
        left = REFUSAL_LIMIT_BYTES
        async for chunk in body:
            left -= len(chunk)
            if left < 0:
                raise httpx2.RemoteProtocolError("the upstream's error does not end")
            yield chunk

    class Limited(httpx2.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return limited()

        async def aclose(self) -> None:
            await body.aclose()

    response.stream = Limited()


def _client(base_url: str, tls: ssl.SSLContext) -> AsyncOpenAI:
    import httpx2
    from openai import AsyncOpenAI

    limits = httpx2.Limits(keepalive_expiry=KEEP_ALIVE_S)
    transport = None
    # A transport of our own would go past the proxies that the environment names.
    if (options := _socket_options(base_url)) and not getproxies():
        transport = httpx2.AsyncHTTPTransport(verify=tls, limits=limits, socket_options=options)
    return AsyncOpenAI(
        base_url=base_url,
        # Each request carries its own key: keys rotate, connections stay.
        api_key="set-per-request",
        max_retries=0,
        http_client=httpx2.AsyncClient(
            verify=tls,
            timeout=httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=limits,
            transport=transport,
            # A redirection would carry the conversation to a host that nobody chose.
            follow_redirects=False,
            event_hooks={"response": [_bounded]},
        ),
    )


def _socket_options(base_url: str) -> list[tuple[int, int, int]]:
    """None over plain http: a model next door has no NAT before it, and may be slow to read.

    NOTE: the kernel also bounds by it how long a peer leaves a long prompt unread.
    """
    if not base_url.startswith("https:") or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return []
    return [(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)]
