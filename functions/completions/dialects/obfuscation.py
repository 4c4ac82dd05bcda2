"""Removes the padding that hides the length of each word from those who watch the network.

OpenAI adds a field `obfuscation` of random letters to its events unless it is told not to
(platform.openai.com/docs/api-reference/chat-streaming, `include_obfuscation`). A platform that
counts bytes, as Cartesia does, would count it as speech. Knows no dialect.
"""

from __future__ import annotations

import re

NAME = "obfuscation"
_FIELD = re.compile(rb'"obfuscation"\s*:\s*"(?:[^"\\]|\\.)*"')


def without_padding(raw: bytes) -> bytes:
    """Return an event's bytes without its padding.

    Quotation marks in the model's text are escaped, so nothing in it looks like the field.
    """
    start = raw.find(b'"obfuscation"')
    field = _FIELD.search(raw, start) if start >= 0 else None
    if field is None:
        return raw
    before, after = raw[: field.start()].rstrip(), raw[field.end() :]
    if before.endswith(b","):
        return before[:-1] + after
    return raw[: field.start()] + after.lstrip().removeprefix(b",").lstrip()
