"""Finds what a Responses request names instead of sending it: stored responses and items.

Knows a request's body, not who stored them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from completions.dialects.responses.ids import is_ours
from completions.errors import ChainNotFound


def is_chained(body: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the upstream holds the history or a part of it."""
    return bool(body.get("previous_response_id") or body.get("conversation")) or any(
        item.get("type") == "item_reference" for item in items
    )


def check_chain(body: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> None:
    """Raise ChainNotFound for a link that we made up, which no upstream knows."""
    references = (item.get("id") for item in items if item.get("type") == "item_reference")
    if any(is_ours(link) for link in (body.get("previous_response_id"), *references)):
        raise ChainNotFound


def thoughts_by_id(body: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the input names reasoning only by ids of items that may be stored."""
    return body.get("store") is not False and any(
        item.get("type") == "reasoning" and item.get("id") and not item.get("encrypted_content")
        for item in items
    )
