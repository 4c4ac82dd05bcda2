"""Recognises events of one Responses answer that some proxies send twice.

A word may rightly come twice; the number of an event and the end of an item may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json


class Repeats:
    """What one answer has said so far that must not be said again."""

    def __init__(self) -> None:
        self._last = self._before = b""
        self._items: set[tuple[Any, ...]] = set()

    def has_event(self, raw: bytes, event: Mapping[str, Any]) -> bool:
        """Return whether an event equals the one before it, down to its number, and note it.

        A number says something only where the server counts: some give each event the same.
        """
        if raw == self._last and isinstance(number := event.get("sequence_number"), int):
            return not self._before or _number_in(self._before) != number
        self._before, self._last = self._last, raw
        return False

    def has_item(self, event: Mapping[str, Any], item: Mapping[str, Any], verb: str) -> bool:
        """Return whether an item was `added`, or `done`, before, and note it."""
        names = event.get("output_index"), item.get("id"), item.get("call_id")
        if names == (None, None, None):
            return False
        known = len(self._items)
        self._items.add((verb, *names))
        return len(self._items) == known


def _number_in(raw: bytes) -> Any:
    """Return the number of an event that has already been read."""
    try:
        return from_json(raw.partition(b"data:")[2]).get("sequence_number")
    except (ValueError, AttributeError):
        return None
