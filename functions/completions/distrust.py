"""What an upstream may do to us, whoever runs it: how much it may send, and what of it is shown.

The limits lie far above every answer of a voice agent: they hold what never ends. Knows bytes,
frames and texts; nothing of HTTP and of what a frame says.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

from completions.observability import log
from completions.sse import Frame

ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
"""A request's 6 MB told back three times, as the Responses API does, and the longest answer."""
FRAMES_LIMIT = 100_000
"""Six for each token of the longest answer. A frame costs about a kilobyte while it is held."""
MESSAGE_LIMIT_CHARS = 2000
PASSED_ON_HEADERS = ("retry-after", "retry-after-ms", "x-request-id")
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_PLAIN_LIMIT_CHARS = 128
_KEY_CHARS = 16
"""A shorter key may be a word (`none`, `ollama`) and is not taken out of what a model says."""


class Allowance:
    """What an answer may still bring."""

    def __init__(self, spent_bytes: int = 0) -> None:
        self._bytes = ANSWER_LIMIT_BYTES - spent_bytes
        self._frames = FRAMES_LIMIT

    def spend(self, size: int, frames: int = 0) -> None:
        """Counts a chunk and the frames in it. Raises ValueError when nothing is left."""
        self._bytes -= size
        self._frames -= frames
        if self._bytes < 0 or self._frames < 0:
            log.warning("upstream.endless", frames=FRAMES_LIMIT - self._frames)
            raise ValueError("an answer without end")


async def whole(chunks: AsyncIterator[bytes], opening: bytes = b"") -> bytes:
    """The body that begins with `opening`. Raises ValueError for one without end."""
    body, allowance = bytearray(opening), Allowance(len(opening))
    async for chunk in chunks:
        allowance.spend(len(chunk))
        body += chunk
    return bytes(body)


def key_in(headers: Mapping[str, str]) -> str:
    """The key that a request of ours carried; empty for one too short to be looked for."""
    key = headers.get("authorization", "").removeprefix("Bearer ")
    return key if len(key) >= _KEY_CHARS else ""


def without(key: bytes, frames: list[Frame]) -> list[Frame]:
    """The frames, in none of which our key stands: some servers repeat what they were sent."""
    if key:
        for position, (raw, data, event) in enumerate(frames):
            if key in (raw or data):
                frames[position] = Frame(raw.replace(key, b"***"), data.replace(key, b"***"), event)
    return frames


def shown_message(message: object, key: str) -> str | None:
    """The words of an upstream's error, cut to a length and without our key; None for no words."""
    if not isinstance(message, str):
        return None
    return (message.replace(key, "***") if key else message)[:MESSAGE_LIMIT_CHARS]


def shown_name(value: object, key: str = "") -> str | None:
    """A code, a type, the name of a field: short, or it is none; not our key, either."""
    if not isinstance(value, str) or not 0 < len(value) <= _PLAIN_LIMIT_CHARS:
        return None
    return None if key and key in value else value


def passed_on(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Of a refusal's headers those that help our caller, if there is nothing odd in them."""
    return {
        name: value
        for name in PASSED_ON_HEADERS
        if (value := shown_name(headers.get(name), key)) and _PLAIN.fullmatch(value)
    }
