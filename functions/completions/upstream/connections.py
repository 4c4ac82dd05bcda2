"""Connections to the upstreams, kept between turns, dropped when a freeze outlived them.

One pool per base URL. Knows aiohttp only to make a pool; `client` sends the requests, and
`preconnect` makes a connection before there is one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from completions.upstream.preconnect import has_idle, open_connection

if TYPE_CHECKING:
    from aiohttp import ClientSession

CONNECT_TIMEOUT_S = 3.0
"""From the host's name to the end of the TLS handshake, however many addresses it has."""
OPENING_WAIT_LIMIT_S = 0.25
"""How long a connection that is being opened may delay the end of an invocation."""
READ_TIMEOUT_S = 900.0
"""For a head, and between a body's bytes: as long as Lambda lets a function run (15 minutes).

A last resort for other hosts. On Lambda the invocation's deadline comes first, and in a streamed
turn its own timers do.
"""
KEEP_ALIVE_S = 60.0
UNACKNOWLEDGED_MS = 1000
"""What we send is acknowledged within this time, or the connection is dead (RFC 5482).

A kept connection that a NAT has forgotten swallows a request silently. A living peer's kernel
acknowledges at once, however long its model thinks, so ours knows before the first-token timeout.
It notices at a retransmission: after 1.4 s on loopback (measured 2026-11-22).
"""
HEADERS = {
    "user-agent": "voice-completions",
    "accept": "application/json",
    "content-type": "application/json",
    # A compressed answer comes late and in large pieces.
    "accept-encoding": "identity",
}
"""The headers of every request; the key is added to each."""
HEADER_LIMIT_BYTES = 64 * 1024
"""Longest line of a response's head: some gateways write long policies there."""


@dataclass(slots=True, eq=False)
class Pool:
    """The connections to one upstream."""

    base_url: str
    tls: ssl.SSLContext
    session: ClientSession | None = None
    """Made by the first `acquire`, because it belongs to the running event loop."""
    users: int = 0
    """Requests that are being sent, or whose answers are being read."""
    used_at: float | None = None
    """When the last of them ended (wall clock); None until one has."""
    opening: asyncio.Task[None] | None = None
    """Opens a connection before there is a request for it; counts as a user."""

    async def opened(self) -> None:
        """Wait for the connection that is being opened, instead of opening a second one.

        Raises:
            TimeoutError: it took too long.
            aiohttp.ClientError: there is none to be had.
        """
        if (opening := self.opening) is not None:
            # Not awaited directly: one caller's hang-up must not take it from the others.
            await asyncio.wait({opening})
            if not opening.cancelled() and (error := opening.exception()):
                raise error


@dataclass(slots=True)
class RequestTrace:
    """How a request went out: aiohttp's `trace_request_ctx`."""

    reused: bool = False
    """True if it went out on a connection that had been used before."""
    on_written: Callable[[], None] | None = None
    """See `Exchange.on_written`."""


class Connections:
    """One pool per base URL. One object per environment and event loop."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._forgotten: list[Pool] = []
        # Shared and kept: reading the certificates takes 18 ms, a session around them 0.1 ms
        # (measured 2026-11-22).
        self._tls: ssl.SSLContext | None = None

    def prepare(self, base_url: str) -> Pool:
        """Make the pool that a first request would make, without a connection."""
        pool = self._pools.get(base_url)
        if pool is None:
            if self._tls is None:
                self._tls = _tls_context()
            import aiohttp  # noqa: F401 - loaded with the rest, before a snapshot

            pool = self._pools[base_url] = Pool(base_url, self._tls)
        return pool

    def acquire(self, base_url: str) -> Pool:
        """Return the pool to send a request on; whoever acquires it must `release` it.

        A pool whose connections a freeze has outlived is replaced. NOTE: by wall clock. In a frozen
        environment the other clocks may stand still, and aiohttp's own expiry with them. One that
        was set back says nothing, so that a pool used in the future is replaced, too.
        """
        pool = self._pools.get(base_url)
        if (
            pool
            and pool.used_at is not None
            and not 0 <= time.time() - pool.used_at <= KEEP_ALIVE_S
        ):
            self.drop(base_url)
        while self._forgotten:
            self._close_unused(self._forgotten.pop())
        pool = self.prepare(base_url)
        if pool.session is None:
            pool.session = _session(pool)
        pool.users += 1
        return pool

    @property
    def idle(self) -> bool:
        """True if a connection to any upstream is idle."""
        now = time.time()
        return any(
            pool.session is not None
            and pool.used_at is not None
            and 0 <= now - pool.used_at <= KEEP_ALIVE_S
            and has_idle(pool.session)
            for pool in self._pools.values()
        )

    def open(self, base_url: str) -> Pool:
        """Begin to open a connection, unless one is idle or on its way; return its pool."""
        pool = self.acquire(base_url)
        assert pool.session is not None  # noqa: S101 - `acquire` makes it
        if pool.opening is not None or has_idle(pool.session):
            pool.users -= 1
        else:
            pool.opening = asyncio.create_task(open_connection(pool.session, base_url))
            pool.opening.add_done_callback(partial(self._has_opened, pool))
        return pool

    def _has_opened(self, pool: Pool, opening: asyncio.Task[None]) -> None:
        pool.opening = None
        self.release(pool)
        if not opening.cancelled():
            opening.exception()  # A request that needs one will meet the same error and report it.

    async def end_openings(self, limit_s: float = 0.0) -> None:
        """Return once no connection is being opened; give it up after the limit.

        Leave alone a connection that a request waits for.
        """
        pools = [pool for pool in self._pools.values() if pool.opening and pool.users == 1]
        if openings := [pool.opening for pool in pools if pool.opening]:
            await asyncio.wait(openings, timeout=limit_s)
            for pool in pools:
                if pool.opening and pool.users == 1:
                    pool.opening.cancel()
            await asyncio.sleep(0)

    def release(self, pool: Pool) -> None:
        """Give the pool back: the answer was read, or given up."""
        pool.users -= 1
        pool.used_at = time.time()
        self._close_unused(pool)

    def drop(self, base_url: str) -> None:
        """Use these connections for no new request; answers that are being read go on."""
        if pool := self._pools.pop(base_url, None):
            self._close_unused(pool)

    async def close(self) -> None:
        """Close every connection on which no answer is being read."""
        await self.end_openings()
        for base_url in list(self._pools):
            self.drop(base_url)
        while self._forgotten:
            self._close_unused(self._forgotten.pop())
        if self._closing:
            await asyncio.wait(self._closing)

    def forget(self) -> None:
        """Let go of every used socket without closing it: after a restore no peer knows it.

        A pool that was never connected is kept: it is as good as new, and makes a snapshot worth
        taking.
        """
        used = [p for p in self._pools.values() if p.users or p.used_at is not None]
        self._pools = {p.base_url: p for p in self._pools.values() if p not in used}
        # There may be no event loop here to close them in; the next turn has one.
        self._forgotten += used

    def _close_unused(self, pool: Pool) -> None:
        if pool.users == 0 and pool.session and pool not in self._pools.values():
            task = asyncio.create_task(pool.session.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _tls_context() -> ssl.SSLContext:
    """Trust the machine's authorities, or those that SSL_CERT_FILE or SSL_CERT_DIR name."""
    found = ssl.get_default_verify_paths().cafile
    if sys.platform == "linux" and found and "SSL_CERT_DIR" not in os.environ:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(found)
        return context
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if sys.platform != "linux" and not (file or folder):
        with suppress(ImportError):
            # The system's own store. It comes with the SDK's HTTP library, which may be another.
            import truststore

            return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context(cafile=file or None, capath=None if file else folder or None)


def _session(pool: Pool) -> ClientSession:
    import aiohttp

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_reuse)
    tracing.on_request_chunk_sent.append(_note_written)
    connector = aiohttp.TCPConnector(
        ssl=pool.tls,
        limit=0,
        keepalive_timeout=KEEP_ALIVE_S,
        socket_factory=_socket if pool.base_url.startswith("https:") else None,
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers=HEADERS,
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
        trace_configs=[tracing],
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=HEADER_LIMIT_BYTES,
        max_field_size=HEADER_LIMIT_BYTES,
        proxy=_proxy(pool.base_url),
    )


async def _note_reuse(_: ClientSession, context: Any, __: object) -> None:
    context.trace_request_ctx.reused = True


async def _note_written(_: ClientSession, context: Any, __: object) -> None:
    if (on_written := context.trace_request_ctx.on_written) is not None:
        # NOTE: aiohttp calls this just before it writes, without an await in between.
        asyncio.get_running_loop().call_soon(on_written)


def _proxy(base_url: str) -> str | None:
    """Return the proxy that the environment names for this address.

    NOTE: aiohttp's `trust_env` would also replace our key by what a .netrc holds.
    """
    url, proxies = urlsplit(base_url), getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _socket(address: Any) -> socket.socket:
    """Return a socket whose kernel notices a dead peer; not used over plain http.

    A model on plain http is near: no NAT lies in between, and it may be slow to read.
    NOTE: the same timeout bounds how long a peer may leave a long prompt unread.
    """
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    return made
