"""Recognise a refusal that is about things which only the upstream that made them keeps.

These are earlier responses, conversations and items, which a Responses request names by their ids.
A missing one says nothing about the model, so nothing is learnt from it. Knows requests and
refusals, not who is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from completions.errors import UpstreamRefused

_STATUSES = frozenset({400, 404, 410, 422, 501})
_FIELDS = frozenset({"previous_response_id", "response_id", "conversation", "item_reference"})
_SPELT_OUT = ("previous_response_id", "item_reference")
_CODES = re.compile(r"(response|conversation|item)(_?id)?_?not_?found", re.IGNORECASE)


def names_stored(error: UpstreamRefused, body: Mapping[str, Any]) -> bool:
    """Return True if the upstream lacks what the request names, or keeps nothing at all.

    OpenAI's API says so in `code` (`previous_response_not_found`), in `param`, or only in words
    ("Item with id 'rs_1' not found."); other servers in words that name the field or the id.
    """
    if error.status not in _STATUSES:
        return False
    if _CODES.search(error.code) or (error.param or "").split(".")[0] in _FIELDS:
        return True
    return any(name in error.message for name in (*_SPELT_OUT, *_ids(body)))


def _ids(body: Mapping[str, Any]) -> Iterator[str]:
    conversation = body.get("conversation")
    yield from _id(body.get("previous_response_id"))
    yield from _id(conversation.get("id") if isinstance(conversation, dict) else conversation)
    items = body.get("input")
    for item in items if isinstance(items, list) else ():
        yield from _id(item.get("id") if isinstance(item, dict) else None)


def _id(value: Any) -> Iterator[str]:
    # A shorter id could occur in any sentence.
    if isinstance(value, str) and len(value) > 5:
        yield value
