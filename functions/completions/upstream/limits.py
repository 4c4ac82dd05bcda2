"""How much an upstream may send, whoever runs it.

The limits lie far above every answer of a voice agent: they stop what never ends. Knows bytes and
counts; nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from completions.observability import log

ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
"""A request's 6 MB told back three times, as the Responses API does, and the longest answer."""
FRAMES_LIMIT = 100_000
"""Six for each token of the longest answer. A frame costs about a kilobyte while it is held."""


class Allowance:
    """What an answer may still bring."""

    def __init__(self, spent_bytes: int = 0) -> None:
        self._bytes = ANSWER_LIMIT_BYTES - spent_bytes
        self._frames = FRAMES_LIMIT

    def spend(self, size: int, events: int = 0) -> None:
        """Counts a chunk and the frames in it. Raises ValueError when nothing is left."""
        self._bytes -= size
        self._frames -= events
        if self._bytes < 0 or self._frames < 0:
            log.warning("upstream.endless", events=FRAMES_LIMIT - self._frames)
            raise ValueError("an answer without end")


async def read_whole(chunks: AsyncIterator[bytes], opening: bytes = b"") -> bytes:
    """The body that begins with `opening`. Raises ValueError for one without end."""
    body, allowance = bytearray(opening), Allowance(len(opening))
    async for chunk in chunks:
        allowance.spend(len(chunk))
        body += chunk
    return bytes(body)
