"""The ASGI response, started once the status is known.

Knows ASGI's two messages and the headers of an event stream; nothing of what is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pydantic_core import to_json
from starlette.types import Send

from completions.errors import CompletionsError

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # Proxies such as nginx would hold the words back.
    (b"x-accel-buffering", b"no"),
]


class ResponseSender:
    """Sends one response: either `write` … `close`, or `json` once."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        """0 until the response has started."""
        self.closed = False
        self.closed_at: float | None = None
        """When the last byte was handed over, in the event loop's time."""

    @property
    def started(self) -> bool:
        """True once the status has been sent: an error can only be told in the body then."""
        return self.status > 0

    async def write(self, data: bytes) -> None:
        """Send a piece of the event stream; the first piece starts the response."""
        if not data:
            return
        if not self.status:
            await self._start(200, STREAM_HEADERS)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def close(self, data: bytes = b"") -> None:
        """Send a last piece and end the response."""
        await self._start(200, STREAM_HEADERS)
        await self._end(data)

    async def json(
        self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a JSON answer in one piece."""
        names = {"content-type": "application/json", "content-length": str(len(body))}
        raw = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in {**names, **(headers or {})}.items()
        ]
        await self._start(status, raw)
        await self._end(body)

    async def refuse(self, error: CompletionsError) -> None:
        """Send the error with its own status."""
        await self.json(to_json(error.body()), error.status, error.headers)

    async def _end(self, data: bytes) -> None:
        self.closed = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})
        self.closed_at = asyncio.get_running_loop().time()

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if not self.started:
            self.status = status
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
