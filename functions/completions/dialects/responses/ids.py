"""Makes up ids, and recognises them when a client sends them back.

No upstream knows them. Clients return whole items, or with `store` only their ids (Vercel's AI
SDK), or the id of a whole response (LiveKit). Nothing is kept between turns, so the id itself says
that it is ours, and whether the item was buffer words, which are not part of a history.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

_PREFIXES = {
    "call": "call",
    "message": "msg",
    "function_call": "fc",
    "reasoning": "rs",
    "response": "resp",
}
_OURS = re.compile(r"[a-z]+_vcw?_[0-9a-f]{32}")
_BUFFER_WORDS = re.compile(r"msg_vcw_[0-9a-f]{32}")


def new_id(kind: str) -> str:
    """Return a new id with its type's prefix, without which OpenAI's API refuses it."""
    return f"{_PREFIXES.get(kind, 'item')}_vc_{secrets.token_hex(16)}"


def new_buffer_words_id() -> str:
    """Return a new id for a message of buffer words."""
    return f"msg_vcw_{secrets.token_hex(16)}"


def is_ours(value: Any) -> bool:
    """Return True for an id that we made up, in any turn."""
    return isinstance(value, str) and _OURS.fullmatch(value) is not None


def is_buffer_words(value: Any) -> bool:
    """Return True for the id of a message of buffer words."""
    return isinstance(value, str) and _BUFFER_WORDS.fullmatch(value) is not None
