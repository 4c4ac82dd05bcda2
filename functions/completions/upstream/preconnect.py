"""Open a connection before there is a request for it: DNS, TCP and TLS, but not a byte more.

Knows aiohttp; not when a connection is wanted (`connections`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession


class _Opened(Exception):
    """Raised to stop a request that has got its connection: it must not be written."""


def has_idle(session: ClientSession) -> bool:
    """Return True if a connection waits for a request.

    NOTE: aiohttp has no public name for them.
    """
    assert session.connector is not None  # noqa: S101 - only a closed session has none
    waiting = session.connector._conns.values()  # noqa: SLF001
    return any(protocol.is_connected() for queue in waiting for protocol, _ in queue)


async def open_connection(session: ClientSession, url: str) -> None:
    """Open a connection for the session's next request to this host.

    A request is prepared like all others, so that it takes the same route (proxy, certificates),
    and given up once it has a connection.

    Raises:
        TimeoutError: it took too long.
        aiohttp.ClientError: there is none to be had.
    """

    async def connect(request: ClientRequest, _: ClientHandlerType) -> ClientResponse:
        assert session.connector is not None  # noqa: S101 - only a closed session has none
        connection = await session.connector.connect(request, traces=[], timeout=session.timeout)
        connection.release()
        raise _Opened

    with suppress(_Opened):
        await session.get(url, middlewares=(connect,))
