"""A connection opened before there is a request for it: the name, TCP and TLS, and no byte more.

Knows aiohttp; not when a connection is wanted (`connections`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession


class _Opened(Exception):
    """The request has a connection, and must not be written."""


def has_idle(session: ClientSession) -> bool:
    """Return True if a connection waits for a request.

    NOTE: aiohttp keeps them without a name for the public.
    """
    assert session.connector is not None  # noqa: S101 - only a closed session has none
    waiting = session.connector._conns.values()  # noqa: SLF001
    return any(protocol.is_connected() for queue in waiting for protocol, _ in queue)


async def open_connection(session: ClientSession, url: str) -> None:
    """Open a connection for the session's next request to this host.

    A request is prepared as all others are, so that it takes the same way (proxy, certificates),
    and given up as soon as it has a connection.

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
