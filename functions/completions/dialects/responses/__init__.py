"""The Responses dialect: platform.openai.com/docs/api-reference/responses. See `dialect.Dialect`.

Does not know time, retries or HTTP. Imports point down::

    request · over_chat · reader · writer · buffered     one task each
    stream                                               a stream that obeys the protocol
    events · repeated_events                             what a stream's events are about
    input · output                                       what requests and answers consist of
"""

from __future__ import annotations

from collections.abc import Callable

from completions.dialects.deltas import Delta
from completions.dialects.request import ParsedRequest
from completions.dialects.responses.buffered import buffered
from completions.dialects.responses.over_chat import as_chat
from completions.dialects.responses.reader import ResponsesReader
from completions.dialects.responses.request import parse, prepare, with_feedback
from completions.dialects.responses.writer import ResponsesWriter
from completions.sse import ServerSentEvent

__all__ = [
    "as_chat",
    "buffered",
    "optional",
    "parse",
    "path",
    "prepare",
    "reader",
    "with_feedback",
    "writer",
]

path = "/responses"
optional = True


def reader(_: ParsedRequest | None = None) -> Callable[[ServerSentEvent], tuple[Delta, ...]]:
    """Return a reader for one answer: each event yields only what no earlier event had."""
    return ResponsesReader().read


def writer(request: ParsedRequest) -> ResponsesWriter:
    """Return a writer for one streamed answer."""
    return ResponsesWriter(request)
