"""The Chat Completions dialect: platform.openai.com/docs/api-reference/chat. See `dialect.Dialect`.

Knows nothing of time, retries or HTTP. Imports point down::

    request · reader · whole     one task each
    writer                       one stream under one identity
"""

from __future__ import annotations

from collections.abc import Callable

from completions.dialects.chat.reader import read
from completions.dialects.chat.request import ask, prepare, reask
from completions.dialects.chat.whole import whole
from completions.dialects.chat.writer import ChatWriter
from completions.dialects.deltas import Delta
from completions.dialects.request import Asked
from completions.sse import Frame

__all__ = ["ask", "path", "prepare", "read", "reader", "reask", "whole", "writer"]

path = "/chat/completions"


def reader() -> Callable[[Frame], tuple[Delta, ...]]:
    """Frames of this dialect stand for themselves: nothing is remembered between them."""
    return read


def writer(asked: Asked) -> ChatWriter:
    """For one streamed answer."""
    return ChatWriter(asked)
