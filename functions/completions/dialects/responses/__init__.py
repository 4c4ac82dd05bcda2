"""The Responses dialect: platform.openai.com/docs/api-reference/responses. See `dialect.Dialect`.

Knows nothing of time, retries or HTTP. Imports point down::

    request · over_chat · reader · writer · whole     one task each
    stream                                            a stream that keeps its own rules
    shapes · output                                   what a request, and an answer, is made of
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

__all__ = ["as_chat", "buffered", "parse", "path", "prepare", "reader", "with_feedback", "writer"]

path = "/responses"


def reader() -> Callable[[ServerSentEvent], tuple[Delta, ...]]:
    """For one answer: tells what each of its frames says that no earlier one has said."""
    return ResponsesReader().read


def writer(request: ParsedRequest) -> ResponsesWriter:
    """For one streamed answer."""
    return ResponsesWriter(request)
