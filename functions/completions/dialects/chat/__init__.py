"""The Chat Completions dialect: platform.openai.com/docs/api-reference/chat. See `dialect.Dialect`.

Does not know time, retries or HTTP. Imports point down::

    request · reader · buffered     one task each
    writer                          one stream under one identity
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from completions.dialects.chat.buffered import buffered
from completions.dialects.chat.reader import ChatReader
from completions.dialects.chat.request import message_text, parse, prepare, with_feedback
from completions.dialects.chat.writer import ChatWriter
from completions.dialects.deltas import Delta
from completions.dialects.request import ParsedRequest
from completions.sse import ServerSentEvent

__all__ = [
    "as_chat",
    "buffered",
    "message_text",
    "optional",
    "parse",
    "path",
    "prepare",
    "reader",
    "with_feedback",
    "writer",
]

path = "/chat/completions"
optional = False


def as_chat(_: dict[str, Any]) -> None:
    """Return None: the body already is a Chat Completions body."""


def reader(request: ParsedRequest | None = None) -> Callable[[ServerSentEvent], tuple[Delta, ...]]:
    """Return a function that reads one answer, with all its choices unless one was asked for."""
    return ChatReader(single=request is not None and request.single).read


def writer(request: ParsedRequest) -> ChatWriter:
    """Return a writer for one streamed answer."""
    return ChatWriter(request)
