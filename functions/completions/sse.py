"""Server-sent events, both directions: cut a byte stream into events, write an event.

Knows the event stream format (WHATWG HTML, section 9.2.6, "Interpreting an event stream"), how
servers break it, and where an event's JSON ends, but not what it says. An event keeps its bytes as
they came, so that it can be relayed unchanged.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic_core import from_json

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_NEXT_DATA = re.compile(rb"[\r\n]data:")
_BOUNDARY = re.compile(_BLANK_LINE.pattern + b"|" + _NEXT_DATA.pattern)
"""What may end an event: a further line of data does where the one before it is whole."""
_DATA_LINE = re.compile(rb"(?:^|(?<=[\r\n]))data:([^\r\n]*)(?:\r\n|\r|\n|\Z)")
_TAIL_BYTES = len(b"\ndata:") - 1
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
    chunk, or for `flush`. Some servers end their events by a single line end: then an event is
    over when the next one begins.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._more = bytearray()
        """What follows `_rest` while no blank line has come: joined once, not at each chunk."""
        self._tail = b""
        self._begun = False
        self._boundary = _BOUNDARY

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that this chunk completes.

        Raises:
            ValueError: An event exceeds EVENT_LIMIT_BYTES.
        """
        if self._rest and self._begun and not self._boundary.search(self._tail + chunk):
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
            events: list[ServerSentEvent] = []
            for part in parts:
                # The common events are one line of data, alone or behind its name: no call.
                name, line = b"", part
                if part.startswith(b"event: "):
                    name, _, line = part.partition(b"\n")
                if line.startswith(b"data: ") and b"\n" not in line:
                    events.append(ServerSentEvent(part + b"\n\n", line[6:], name[7:]))
                else:
                    events += _separated(part + b"\n\n", part)
        else:
            events = self._feed_any_line_end(buffered)
        self._tail = b""
        if self._rest:
            self._boundary = _BOUNDARY
            if _has_lines_of_data(self._rest):
                *whole, last = _separated(self._rest, self._rest)
                events += whole
                self._rest = last.raw
                if _has_lines_of_data(self._rest):
                    self._boundary = _BLANK_LINE  # Looked at once: its lines are joined.
            self._keep_tail(self._rest)
        return events

    def _keep_tail(self, chunk: bytes) -> None:
        # The last byte of a boundary may come with the next chunk.
        self._tail = (self._tail + chunk[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        if len(self._rest) + len(self._more) > EVENT_LIMIT_BYTES:
            raise ValueError(f"an event of more than {EVENT_LIMIT_BYTES} bytes")

    def _feed_any_line_end(self, buffered: bytes) -> list[ServerSentEvent]:
        events = []
        start = 0
        for match in _BLANK_LINE.finditer(buffered):
            # A lone CR at the very end may be the first half of a CRLF: wait for the next byte.
            if match.end() == len(buffered) and buffered.endswith(b"\r"):
                break
            raw, lines = buffered[start : match.end()], buffered[start : match.start()]
            events += _separated(raw, lines)
            start = match.end()
        self._rest = buffered[start:]
        return events

    def flush(self) -> list[ServerSentEvent]:
        """Return what is left at the end of the stream: servers often omit the last blank line."""
        rest, self._rest = self._rest + self._more, b""
        self._more.clear()
        lines = rest.rstrip(b"\r\n")
        return _separated(lines + b"\n\n", lines) if lines else []


def _event(raw: bytes, lines: bytes) -> ServerSentEvent:
    data: list[bytes] = []
    event = b""
    for line in lines.splitlines():
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
        elif name == b"error" and value:
            # llama.cpp sends an error as a field of its own.
            event = name
            data.append(value)
    return ServerSentEvent(raw, b"\n".join(data), event)


def _separated(raw: bytes, lines: bytes) -> list[ServerSentEvent]:
    """Return the events in lines that have no blank line between them; mostly one.

    A complete JSON object, or the terminator, ends its event: the next line of data belongs to
    another one.
    """
    events = []
    start = end = 0
    for line in _DATA_LINE.finditer(lines) if _has_lines_of_data(lines) else ():
        if end:
            whole = lines[start:end].rstrip(b"\r\n")
            events.append(_event(whole + b"\n\n", whole))
            start = end
        if not _is_whole(line[1]):
            break
        end = line.end()
    return [*events, _event(raw[start:], lines[start:])]


def _has_lines_of_data(lines: bytes) -> bool:
    """Return whether there may be more than one; JSON holds no line ends."""
    second = lines.find(b"data:", lines.find(b"data:") + 1)
    return second > 0 and _NEXT_DATA.search(lines, second - 1) is not None


def _is_whole(data: bytes) -> bool:
    data = data.strip()
    if not data.startswith(b"{"):
        return data.upper() == b"[DONE]"
    try:
        from_json(data)
    except ValueError:
        return False
    return True


def encode(data: bytes, event: str = "") -> bytes:
    """Return one event. `data` must hold no line ends; JSON as this package writes it has none."""
    return (b"event: " + event.encode() + b"\n" if event else b"") + b"data: " + data + b"\n\n"


DONE = encode(b"[DONE]")
"""OpenAI's terminator."""
