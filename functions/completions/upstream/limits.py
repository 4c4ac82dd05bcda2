"""How much an upstream may send, whoever runs it.

The limits are far above any voice agent's answer: they stop answers that never end. Knows bytes and
counts, not their meaning.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from completions.observability import log

ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
"""A request's 6 MB repeated three times, as the Responses API does, plus the longest answer."""
EVENTS_LIMIT = 100_000
"""Six for each token of the longest answer. An event takes about a kilobyte while it is held."""


class AnswerLimit:
    """Counts what an answer has sent, and stops an endless one."""

    def __init__(self, received_bytes: int = 0) -> None:
        self._bytes_left = ANSWER_LIMIT_BYTES - received_bytes
        self._events_left = EVENTS_LIMIT

    def count(self, size_bytes: int, events: int = 0) -> None:
        """Count a chunk and the events in it.

        Raises:
            ValueError: The answer is over the limit.
        """
        self._bytes_left -= size_bytes
        self._events_left -= events
        if self._bytes_left < 0 or self._events_left < 0:
            log.warning("upstream.endless", events=EVENTS_LIMIT - self._events_left)
            raise ValueError("an answer without end")


async def read_whole(chunks: AsyncIterator[bytes], opening: bytes = b"") -> bytes:
    """Return the body that begins with `opening`.

    Raises:
        ValueError: The body is over the limit.
    """
    body, limit = bytearray(opening), AnswerLimit(len(opening))
    async for chunk in chunks:
        limit.count(len(chunk))
        body += chunk
    return bytes(body)
