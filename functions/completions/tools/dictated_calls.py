"""Tells which calls written as text only repeat what the caller has said.

A caller who says "read me this" and dictates a call must not trigger it. Knows the caller's last
turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from completions.tools.loose_json import read_strictly
from completions.tools.written_calls import WrittenCall

_OBJECTS_LIMIT = 64
_DECODER = json.JSONDecoder(strict=False)


class Dictation:
    """What the caller said last; parsed only when a call needs it."""

    def __init__(self, said: str) -> None:
        self._said = said

    def holds(self, call: WrittenCall, text: str) -> bool:
        """Return whether the caller said this call: the `text` around it, or its arguments."""
        written, arguments = _squeezed(text), _squeezed(call.arguments)
        if any(len(one) > len("{}") and one in self._words for one in (written, arguments)):
            return True
        meant = read_strictly(call.arguments)
        return bool(meant) and meant in self._objects

    @cached_property
    def _words(self) -> str:
        return _squeezed(self._said)

    @cached_property
    def _objects(self) -> list[Any]:
        return list(_objects_in(self._said))


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _objects_in(text: str) -> Iterator[Any]:
    """Yield the JSON objects in the text, including nested ones."""
    position = -1
    for _ in range(_OBJECTS_LIMIT):
        if (position := text.find("{", position + 1)) < 0:
            return
        try:
            yield _DECODER.raw_decode(text, position)[0]
        except (ValueError, RecursionError):
            continue
