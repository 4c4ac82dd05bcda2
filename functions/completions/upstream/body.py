"""An answer's bytes as they come from aiohttp: no byte is lost, and no wait is unbounded.

Knows how aiohttp's reader behaves, not what the bytes say.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from aiohttp import StreamReader


class Body:
    """Iterates over an answer's chunks, once, inside `with`; a chunk is all that has arrived.

    Raises:
        aiohttp.ClientError: The answer broke off; everything that came before was handed out.
        aiohttp.SocketTimeoutError: No byte came for `silence_s`. It is noticed within twice that.
    """

    def __init__(self, content: StreamReader, silence_s: float) -> None:
        self._content = content
        self._silence_s = silence_s
        self._waiting = False
        self._broken: Exception | None = None

    def __enter__(self) -> Self:
        self._schedule_check()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._broken is not None:
            raise self._broken
        self._waiting = True
        try:
            chunk = await self._content.readany()
        except Exception as error:
            # aiohttp raises as soon as the connection breaks. If the reader was held up meanwhile,
            # what came before is still in its buffer.
            self._content.set_exception(None)  # type: ignore[arg-type] # there is no other way
            chunk = self._content.read_nowait()
            if not chunk:
                raise
            self._broken = error
        finally:
            self._waiting = False
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def _schedule_check(self) -> None:
        # aiohttp's own limit sets a new timer for each chunk; one that looks now and then is cheap.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            self._silence_s, self._check_silence, self._content.total_bytes
        )

    def _check_silence(self, bytes_before: int) -> None:
        # A caller who is slow to take what is there is no silence of the model.
        if self._content.total_bytes != bytes_before or not self._waiting:
            self._schedule_check()
            return
        from aiohttp import SocketTimeoutError

        self._content.set_exception(SocketTimeoutError(f"nothing came for {self._silence_s:g} s"))
