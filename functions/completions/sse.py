"""Server-sent events, both directions: cut a byte stream into events, write an event.

Knows the event stream format (WHATWG HTML, section 9.2.6, "Interpreting an event stream") and
nothing of what an event says. An event keeps its bytes as they came, so that it can be relayed
unchanged.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_BOM = b"\xef\xbb\xbf"
EVENT_LIMIT_BYTES = 16 * 1024 * 1024
"""A longer event is no model's answer; it would only fill the memory."""


class ServerSentEvent(NamedTuple):
    """One event: its bytes up to and with the blank line, and what its fields hold.

    `data` is empty for comments and keep-alives; several data lines are joined by a newline.
    """

    raw: bytes
    data: bytes
    event: bytes = b""


class Decoder:
    """Cuts a byte stream into events, wherever the chunks were cut.

    Understands the standard's three line ends. Bytes after the last blank line wait for the next
    chunk, or for `flush`.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._more = bytearray()
        """What follows `_rest` while no blank line has come: joined once, not at each chunk."""
        self._tail = b""
        self._begun = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that this chunk completes.

        Raises:
            ValueError: An event exceeds EVENT_LIMIT_BYTES.
        """
        if self._rest and self._begun and not _BLANK_LINE.search(self._tail + chunk):
            self._more += chunk
            self._keep_tail(chunk)
            return []
        buffered = chunk
        if self._rest:
            buffered = b"".join((self._rest, self._more, chunk))
            self._more.clear()
        if not self._begun and buffered:
            if len(buffered) < len(_BOM) and _BOM.startswith(buffered):
                self._rest = buffered
                return []
            buffered = buffered.removeprefix(_BOM)
            self._begun = True
        if b"\r" not in buffered:
            parts = buffered.split(b"\n\n")
            self._rest = parts.pop()
            events = [_event(part + b"\n\n", part) for part in parts]
        else:
            events = self._feed_any_line_end(buffered)
        self._tail = b""
        if self._rest:
            self._keep_tail(self._rest)
        return events

    def _keep_tail(self, chunk: bytes) -> None:
        # A blank line has at most four bytes, the last of which may come with the next chunk.
        self._tail = (self._tail + chunk[-3:])[-3:]
        if len(self._rest) + len(self._more) > EVENT_LIMIT_BYTES:
            raise ValueError(f"an event of more than {EVENT_LIMIT_BYTES} bytes")

    def _feed_any_line_end(self, buffered: bytes) -> list[ServerSentEvent]:
        events = []
        start = 0
        for match in _BLANK_LINE.finditer(buffered):
            # A lone CR at the very end may be the first half of a CRLF: wait for the next byte.
            if match.end() == len(buffered) and buffered.endswith(b"\r"):
                break
            events.append(_event(buffered[start : match.end()], buffered[start : match.start()]))
            start = match.end()
        self._rest = buffered[start:]
        return events

    def flush(self) -> list[ServerSentEvent]:
        """Return what is left at the end of the stream: servers often omit the last blank line."""
        rest, self._rest = self._rest + self._more, b""
        self._more.clear()
        lines = rest.rstrip(b"\r\n")
        return [_event(lines + b"\n\n", lines)] if lines else []


def _event(raw: bytes, lines: bytes) -> ServerSentEvent:
    # The common event is one line of data: no loop for it.
    if lines.startswith(b"data:") and b"\n" not in lines and b"\r" not in lines:
        return ServerSentEvent(raw, lines[6:] if lines[5:6] == b" " else lines[5:])
    data: list[bytes] = []
    event = b""
    for line in lines.splitlines():
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    return ServerSentEvent(raw, b"\n".join(data), event)


def encode(data: bytes, event: str = "") -> bytes:
    """Return one event. `data` must hold no line ends; JSON as this package writes it has none."""
    return (b"event: " + event.encode() + b"\n" if event else b"") + b"data: " + data + b"\n\n"


DONE = encode(b"[DONE]")
"""OpenAI's terminator."""
