"""An answer's bytes as they come from aiohttp: no byte is lost, and no wait is unbounded.

Knows how aiohttp's reader behaves, not what the bytes say.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from completions.upstream.compression import Unpacker, is_plain

if TYPE_CHECKING:
    from aiohttp import ClientResponse, StreamReader


PIECE_BYTES = 32 * 1024
"""The most that is handed out at once. While the caller takes nothing, a piece is held as events,
at ten times its size; the rest waits as bytes."""


def body_of(response: ClientResponse, silence_s: float) -> Body:
    """Return the body of an answer, to be read once."""
    connection = response.connection  # None once the whole answer is here.
    protocol = None if connection is None else connection.protocol
    # NOTE: not by truth value: a protocol without messages is false.
    closed = None if protocol is None else protocol.closed
    coding = response.headers.get("content-encoding", "")
    if is_plain(coding):
        return Body(response.content, silence_s, closed)
    return _PackedBody(Unpacker(coding, PIECE_BYTES), response.content, silence_s, closed)


class Body:
    """Iterates over an answer's chunks, once, inside `with`.

    A chunk is all that has arrived, up to `PIECE_BYTES`.

    Raises:
        aiohttp.ClientError: The answer broke off; everything that came before was handed out.
        aiohttp.SocketTimeoutError: No byte came for `silence_s`. It is noticed within twice that.

    `closed` is done when the connection is.
    """

    def __init__(
        self,
        content: StreamReader,
        silence_s: float,
        closed: asyncio.Future[None] | None = None,
    ) -> None:
        self._content = content
        self._silence_s = silence_s
        self._closed = closed
        self._waiting = False
        self._broken: Exception | None = None

    def __enter__(self) -> Self:
        self._schedule_check()
        if self._closed is not None:
            self._closed.add_done_callback(self._end_with_connection)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._closed is not None:
            self._closed.remove_done_callback(self._end_with_connection)
            # The connection outlives the answer; nothing else retrieves the error that closed it,
            # and asyncio would log that.
            self._closed.remove_done_callback(_retrieve)
            self._closed.add_done_callback(_retrieve)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._broken is not None:
            raise self._broken
        self._waiting = True
        try:
            chunk = await self._content.read(PIECE_BYTES)
        except Exception as error:
            # aiohttp raises as soon as the connection breaks. If the reader was held up meanwhile,
            # what came before is still in its buffer.
            self._content.set_exception(None)  # type: ignore[arg-type] # there is no other way
            chunk = self._content.read_nowait()
            broken = _as_client_error(error)
            if not chunk:
                raise broken from (error if broken is not error else None)
            self._broken = broken
        finally:
            self._waiting = False
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def _end_with_connection(self, _: asyncio.Future[None]) -> None:
        # NOTE: aiohttp closes a connection on a malformed chunk without telling its reader: one
        # that waits would wait on, and one that comes later gets a RuntimeError (3.14).
        if not self._content.is_eof() and self._content.exception() is None:
            from aiohttp import ClientPayloadError

            self._content.set_exception(ClientPayloadError("the connection was closed"))

    def _schedule_check(self) -> None:
        # aiohttp's own limit sets a new timer for each chunk; one that looks now and then is cheap.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            self._silence_s, self._check_silence, self._content.total_bytes
        )

    def _check_silence(self, bytes_before: int) -> None:
        # If the caller is slow to take what is there, the model is not silent.
        if self._content.total_bytes != bytes_before or not self._waiting:
            self._schedule_check()
            return
        from aiohttp import SocketTimeoutError

        self._content.set_exception(SocketTimeoutError(f"nothing came for {self._silence_s:g} s"))


class _PackedBody(Body):
    """A compressed body: a chunk is a piece of its unpacked bytes.

    Raises:
        ValueError: It is not compressed in the way that its header says.
    """

    def __init__(
        self,
        unpacker: Unpacker,
        content: StreamReader,
        silence_s: float,
        closed: asyncio.Future[None] | None,
    ) -> None:
        super().__init__(content, silence_s, closed)
        self._unpacker = unpacker

    async def __anext__(self) -> bytes:
        # A few bytes may unpack to gigabytes: the limit of the answer is counted by its pieces.
        await asyncio.sleep(0)
        while not (piece := self._unpacker.take()):
            self._unpacker.feed(await super().__anext__())
        return piece


def _as_client_error(error: Exception) -> Exception:
    """Return an aiohttp error for whatever its reader raises: its parser's errors are not."""
    from aiohttp import ClientError, ClientPayloadError

    if isinstance(error, ClientError | OSError):
        return error
    return ClientPayloadError(f"{type(error).__name__}: {error}")


def _retrieve(closed: asyncio.Future[None]) -> None:
    if not closed.cancelled():
        closed.exception()
