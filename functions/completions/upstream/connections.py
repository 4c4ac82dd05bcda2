"""Connections to the upstreams, kept between turns, and let go when a freeze has outlived them.

One pool per base URL. aiohttp carries the requests; it is known here only to make a pool. What is
sent is `upstream`'s.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    from aiohttp import ClientSession

CONNECT_TIMEOUT_S = 3.0
"""From a name to the end of the TLS handshake, however many addresses it has."""
READ_TIMEOUT_S = 900.0
"""For a head, and between a body's bytes: as long as Lambda lets a function run.

A last resort elsewhere. There its deadline comes first, and to a streamed turn its own timers.
"""
KEEP_ALIVE_S = 60.0
UNACKNOWLEDGED_MS = 1000
"""What we send is acknowledged within this time, or the connection is dead (RFC 5482).

A kept connection that a NAT has forgotten swallows a request without a word. The kernel knows it
before the first-token timeout, because a living peer's kernel acknowledges at once, however long
its model thinks. It notices at a retransmission: after 1.4 s on loopback (measured 2026-11-22).
"""
HEADERS = {
    "user-agent": "voice-completions",
    "accept": "application/json",
    "content-type": "application/json",
    # A compressed answer comes late and in lumps.
    "accept-encoding": "identity",
}
"""Of every request, but for the key."""
HEADER_LIMIT_BYTES = 64 * 1024
"""One line of a response's head; some gateways write long policies there."""


@dataclass(slots=True, eq=False)
class Pool:
    """The connections to one upstream."""

    base_url: str
    tls: ssl.SSLContext
    session: ClientSession | None = None
    """Made by the first `take`, because it belongs to the running event loop."""
    users: int = 0
    """Answers that are being asked for or read."""
    used_at: float | None = None
    """When the last of them ended (wall clock); None until then."""


@dataclass(slots=True)
class RequestTrace:
    """What became of a request on its way out: aiohttp's `trace_request_ctx`."""

    reused: bool = False
    """It met a connection that had been used before."""


class Connections:
    """One pool per base URL. One object per environment and event loop."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._forgotten: list[Pool] = []
        # Shared and kept: reading the certificates costs 18 ms (measured 2026-11-22), a client
        # around them 0.1 ms.
        self._tls: ssl.SSLContext | None = None

    def prepare(self, base_url: str) -> Pool:
        """Makes what a first request would make, without a connection."""
        pool = self._pools.get(base_url)
        if pool is None:
            if self._tls is None:
                self._tls = _tls_context()
            import aiohttp  # noqa: F401 - loaded with the rest, before a snapshot

            pool = self._pools[base_url] = Pool(base_url, self._tls)
        return pool

    def take(self, base_url: str) -> Pool:
        """The pool to send a request on; whoever takes it must `leave` it.

        Never one that a freeze has outlived. NOTE: wall clock. A frozen environment's other
        clocks may stand still, and the pool's own expiry with them.
        """
        pool = self._pools.get(base_url)
        if pool and pool.used_at is not None and time.time() - pool.used_at > KEEP_ALIVE_S:
            self.drop(base_url)
        while self._forgotten:
            self._close_unused(self._forgotten.pop())
        pool = self.prepare(base_url)
        if pool.session is None:
            pool.session = _session(pool)
        pool.users += 1
        return pool

    def leave(self, pool: Pool) -> None:
        """The answer was read, or given up."""
        pool.users -= 1
        pool.used_at = time.time()
        self._close_unused(pool)

    def drop(self, base_url: str) -> None:
        """No new request meets these connections; answers that are being read go on."""
        if pool := self._pools.pop(base_url, None):
            self._close_unused(pool)

    async def close(self) -> None:
        """Closes everything that nobody reads."""
        for base_url in list(self._pools):
            self.drop(base_url)
        while self._forgotten:
            self._close_unused(self._forgotten.pop())
        if self._closing:
            await asyncio.wait(self._closing)

    def forget(self) -> None:
        """Lets go of every socket without a word: after a restore no peer knows of it.

        What never was connected is as good as new, and kept: a snapshot is worth it for that.
        """
        used = [p for p in self._pools.values() if p.users or p.used_at is not None]
        self._pools = {p.base_url: p for p in self._pools.values() if p not in used}
        # Here may be no event loop to close them in; the next turn has one.
        self._forgotten += used

    def _close_unused(self, pool: Pool) -> None:
        if pool.users == 0 and pool.session and pool not in self._pools.values():
            task = asyncio.create_task(pool.session.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _tls_context() -> ssl.SSLContext:
    """Trusts the machine's authorities, or those that SSL_CERT_FILE or SSL_CERT_DIR name."""
    found = ssl.get_default_verify_paths().cafile
    if sys.platform == "linux" and found and "SSL_CERT_DIR" not in os.environ:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(found)
        return context
    # Finds them on every system, but its import is 27 ms of a cold start (measured 2026-11-22).
    import httpx2

    return httpx2.create_ssl_context()


def _session(pool: Pool) -> ClientSession:
    import aiohttp

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_reuse)
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


def _proxy(base_url: str) -> str | None:
    """The proxy that the environment names for this address. Not aiohttp's `trust_env`.

    NOTE: that one also puts what a .netrc holds in the place of our key.
    """
    url, proxies = urlsplit(base_url), getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _socket(address: Any) -> socket.socket:
    """A socket whose kernel notices a dead peer. Over plain http there is none of it.

    A model next door has no NAT before it, and may be slow to read.
    NOTE: the kernel also bounds by it how long a peer leaves a long prompt unread.
    """
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    return made
