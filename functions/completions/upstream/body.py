"""An answer's bytes, as they come from aiohttp: none are lost, and none are waited for for ever.

Knows how aiohttp's reader behaves; nothing of what the bytes say.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from aiohttp import StreamReader


class Body:
    """Iterate it once, inside `with`; a piece is whatever has arrived since the last one.

    Raises aiohttp.ClientError after the last piece of an answer that breaks off, and
    aiohttp.SocketTimeoutError when a piece was waited for `silence_s`, or up to twice as long.
    """

    def __init__(self, content: StreamReader, silence_s: float) -> None:
        self._content = content
        self._silence_s = silence_s
        self._waiting = False
        self._broken: Exception | None = None

    def __enter__(self) -> Self:
        self._look_later()
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
            piece = await self._content.readany()
        except Exception as error:
            # aiohttp tells of a break at once. What came before it is still there, if whoever
            # reads was held up in between.
            self._content.set_exception(None)  # type: ignore[arg-type] # there is no other way
            piece = self._content.read_nowait()
            if not piece:
                raise
            self._broken = error
        finally:
            self._waiting = False
        if not piece:
            raise StopAsyncIteration
        return piece

    def _look_later(self) -> None:
        # aiohttp's own limit is a timer set anew for each chunk: this one looks now and then.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._silence_s, self._look, self._content.total_bytes)

    def _look(self, before: int) -> None:
        # Whoever is slow to take what is there is no silence of the model's.
        if self._content.total_bytes != before or not self._waiting:
            self._look_later()
            return
        from aiohttp import SocketTimeoutError

        self._content.set_exception(SocketTimeoutError(f"nothing came for {self._silence_s:g} s"))
