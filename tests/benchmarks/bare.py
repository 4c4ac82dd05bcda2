"""Python's floor: a relay on asyncio's own protocols, which does not read the bytes.

Run directly, it relays to the model and prints its URL. Standard library only.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit


class Side(asyncio.Protocol):
    """One end of a pair: what comes in at one goes out at the other."""

    def __init__(self) -> None:
        self.other: Side = self
        self._transport: asyncio.Transport | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what came before this end was connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._early)

    def send(self, data: bytes) -> None:
        """Send what came in at the other end."""
        if self._transport is None:
            self._early += data
        else:
            self._transport.write(data)

    def abort(self) -> None:
        """Drop the connection of this end at once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close this end."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Pass on what came in."""
        self.other.send(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end, too."""
        self.other.close()


async def relay(
    host: str, port: int, side: Callable[[], Side] = Side, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Relay every connection to this address on its own connection; `tls` ends here."""
    loop = asyncio.get_running_loop()
    opening = set()

    def accept() -> Side:
        here, there = side(), side()
        here.other, there.other = there, here
        task = loop.create_task(loop.create_connection(lambda: there, host, port))
        opening.add(task)
        task.add_done_callback(opening.discard)
        return here

    return await loop.create_server(accept, "127.0.0.1", 0, ssl=tls)


async def _main() -> None:
    model = urlsplit(os.environ["UPSTREAM"])
    server = await relay(str(model.hostname), int(model.port or 80))
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
