"""Server-sent events with their time of arrival, cut as a strict client cuts them.

Knows the event stream format (WHATWG HTML, section 9.2.6), not what an event says.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ops.doctor.wire import Piece

BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")


@dataclass(frozen=True, slots=True)
class Event:
    """One event with data, and when its last byte arrived."""

    at_ms: float
    data: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """All events of a body, without comments."""

    events: tuple[Event, ...]
    odd: bytes = b""
    """The first line that does not belong in an event stream."""
    rest: bytes = b""
    """The rest after the last blank line, which clients never see."""


def read(pieces: Sequence[Piece]) -> Stream:
    """Return the body's events in order."""
    body = b"".join(piece.data for piece in pieces)
    ends = list(accumulate(len(piece.data) for piece in pieces))
    events: list[Event] = []
    odd = b""
    start = 0
    for match in BLANK_LINE.finditer(body):
        data: list[bytes] = []
        name = b""
        for line in body[start : match.start()].splitlines():
            field, colon, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data" and colon:
                data.append(value)
            elif field == b"event" and colon:
                name = value
            elif field not in {b"", b"id", b"retry"} or not colon:
                odd = odd or line
        if data:
            at_ms = pieces[bisect_left(ends, match.end())].at_ms
            events.append(Event(at_ms, b"\n".join(data), name.decode("latin-1")))
        start = match.end()
    return Stream(tuple(events), odd, body[start:].strip())
