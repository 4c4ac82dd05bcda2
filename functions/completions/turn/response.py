"""The ASGI response, started when its status is settled.

Knows ASGI's two messages and the headers of an event stream, not what is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from pydantic_core import to_json
from starlette.types import Message, Send

from completions.errors import CompletionsError

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # Proxies such as nginx would hold the words back.
    (b"x-accel-buffering", b"no"),
]


UNREAD_LIMIT_S = 30.0
"""A caller who takes nothing for this long is gone; noticed after half of it at the earliest.

Nobody listens to an answer that late, but the model costs money and its connection is held."""


class ResponseSender:
    """Sends one response: either `write` … `close`, begun by `start` or not, or `json` once.

    `stopped_reading` is done when the caller has taken nothing for `UNREAD_LIMIT_S`. Create the
    sender inside the event loop, and `release` it at the end.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self.stopped_reading: asyncio.Future[None] = self._loop.create_future()
        self._message: Message | None = None
        """The message that is being sent."""
        self._background: asyncio.Task[None] | None = None
        """What is being sent while the turn waits for something else."""
        self._check: asyncio.TimerHandle | None = None
        self.last_comment: Callable[[], bytes] | None = None
        """Makes the comment before an event stream's last piece, if the caller asked for it."""
        self.status = 0
        """0 until the response has started."""
        self.closed = False
        self.closed_at: float | None = None
        """When the last byte was handed over, in the event loop's time."""

    @property
    def started(self) -> bool:
        """True once the status has been sent: from then on an error can only be in the body."""
        return self.status > 0

    async def start(self) -> None:
        """Send the status and the headers of an event stream, if nothing has been sent yet."""
        await self._start(200, STREAM_HEADERS)

    async def write(self, data: bytes) -> None:
        """Send a piece of the event stream; the first piece starts the response."""
        if not data:
            return
        if self._background is not None:
            await asyncio.wait({self._background})
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        if not self.status:
            await self._start(200, STREAM_HEADERS)
        # Two stores a piece and a timer now and then are cheaper than a timer for each.
        self._message = message = {"type": "http.response.body", "body": data, "more_body": True}
        await self._send(message)
        self._message = None

    def write_in_background(self, data: bytes) -> asyncio.Task[None]:
        """Send a piece without waiting, or start the response without one; later pieces wait.

        The turn must not be sending anything at the time.
        """
        self._background = asyncio.create_task(self._send_after(self._background, data))
        self._background.add_done_callback(self._background_is_sent)
        return self._background

    async def _send_after(self, before: asyncio.Task[None] | None, data: bytes) -> None:
        if before is not None:
            try:
                await asyncio.wait({before})
            except asyncio.CancelledError:
                before.cancel()
                raise
        await (self._write(data) if data else self.start())

    @property
    def sending(self) -> bool:
        """True while the caller has not taken everything that was sent."""
        return self._message is not None or self._background is not None

    def _background_is_sent(self, sent: asyncio.Task[None]) -> None:
        if self._background is sent:
            self._background = None
        if not sent.cancelled():
            sent.exception()  # If the caller is gone, the next message raises.

    async def close(self, data: bytes = b"") -> None:
        """Send a last piece and end the response."""
        await self._start(200, STREAM_HEADERS)
        if self.last_comment is not None:
            data = self.last_comment() + data
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
        if self._background is not None:
            await asyncio.wait({self._background})
        self.closed = True
        self._message = message = {"type": "http.response.body", "body": data, "more_body": False}
        await self._send(message)
        self.closed_at = self._loop.time()
        self.release()

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if not self.started:
            self.status = status
            self._schedule_check(None)
            self._message = {"type": "http.response.start", "status": status, "headers": headers}
            await self._send(self._message)
            self._message = None

    def _schedule_check(self, seen: Message | None) -> None:
        self._check = self._loop.call_later(UNREAD_LIMIT_S / 2, self._check_taken, seen)

    def _check_taken(self, seen: Message | None) -> None:
        if seen is None or seen is not self._message:
            self._schedule_check(self._message)
        elif not self.stopped_reading.done():
            self.stopped_reading.set_result(None)

    def release(self) -> None:
        """Stop watching the caller, and drop what he has not taken."""
        self._message = None
        if self._background is not None:
            self._background.cancel()
        if self._check is not None:
            self._check.cancel()
            self._check = None
