r"""Joins characters that were cut in two, so that each frame of an answer is valid text.

A server that cuts its text by bytes or by UTF-16 units puts one half of a character into each of
two events, as an escape (`\ud83d`, RFC 8259, section 8.2) or as bytes that are not UTF-8. A half
that nothing completes becomes U+FFFD, as in decoders. Knows JSON and deltas, not the dialects.
Costs nothing while characters are whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from completions.dialects.deltas import CallPart, Delta, Done, Finish, Reasoning, Refusal, Text

REPLACEMENT = "\ufffd"
_CUT = re.compile(rb"\\u[dD][89a-fA-F]")
# Some servers do not escape these, such as a tab in a string.
_CONTROL = re.compile(rb"[\x00-\x1f]")
_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
# Bytes that are not UTF-8, as Python's "surrogateescape" spells them.
_BYTES = re.compile(r"[\udc80-\udcff]+")
_FIRST_HALF = re.compile(r"(?:[\ud800-\udbff]|[\udcc2-\udcf4][\udc80-\udcbf]{0,2})\Z")
_HALF = re.compile(r"[\udc80-\udcff]+|[\ud800-\udfff]")
# Escapes of lone halves in JSON. An even number of backslashes before one is text.
_HIGH_ALONE = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
_LOW_ALONE = re.compile(
    rb"(?<!\\)(?<!\\u[dD][89abAB][0-9a-fA-F]{2})((?:\\\\)*)\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_TEXT_FIELDS = frozenset(
    [
        "arguments",
        "content",
        "delta",
        "reasoning",
        "reasoning_content",
        "refusal",
        "text",
        "thinking",
    ]
)


def whole_characters(data: bytes) -> bytes:
    """Return JSON with U+FFFD for each half of a character; the same bytes where there is none.

    Repairs a caller's body before it is read, so that reading stays strict.
    """
    if not _is_utf8(data):
        data = data.decode(errors="replace").encode()
    if not _CUT.search(data):
        return data
    return _LOW_ALONE.sub(rb"\1\\ufffd", _HIGH_ALONE.sub(rb"\1\\ufffd", data))


def read_json(data: bytes) -> Any:
    """Return decoded JSON, with all of its characters whole.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return from_json(data)
    except ValueError:
        return _read_repaired(data)


def read_json_with_halves(data: bytes) -> Any:
    """Return JSON that `from_json` refuses only for its characters; texts may keep halves.

    Raises:
        ValueError: It is not JSON.
    """
    return _read_repaired(data, _TEXT_FIELDS)


def _read_repaired(data: bytes, keeping: frozenset[str] = frozenset()) -> Any:
    if not (_CUT.search(data) or _CONTROL.search(data)) and _is_utf8(data):
        raise ValueError("not JSON")
    try:
        value = json.loads(data.decode(errors="surrogateescape"), strict=False)
        return _repaired(value, keeping)
    except (ValueError, RecursionError) as error:
        raise ValueError("not JSON") from error


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _repaired(value: Any, keeping: frozenset[str] = frozenset(), name: str = "") -> Any:
    """Return the value with whole characters, except in the fields that keep halves."""
    if isinstance(value, str):
        return value if name in keeping else _HALF.sub(REPLACEMENT, _joined(value))
    if isinstance(value, list):
        return [_repaired(one, keeping, name) for one in value]
    if isinstance(value, dict):
        return {_repaired(key): _repaired(one, keeping, key) for key, one in value.items()}
    return value


def _joined(text: str) -> str:
    """Return the text with adjacent halves joined."""
    text = _PAIR.sub(lambda m: m[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _BYTES.sub(
        lambda m: m[0].encode(errors="surrogateescape").decode(errors="surrogateescape"), text
    )


class Halves:
    """Joins the characters that two deltas of one answer share."""

    def __init__(self) -> None:
        self.held: dict[Any, str] = {}
        """Halves that wait for the other half, by type or by the number of the call."""

    def join(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Return the deltas with whole characters; a half at the end is held back."""
        joined: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Text | Reasoning | Refusal):
                if text := self._join(type(delta), delta.text):
                    joined.append(replace(delta, text=text))
            elif isinstance(delta, CallPart):
                arguments = self._join(delta.index, delta.arguments)
                joined.append(replace(delta, arguments=arguments))
            else:
                if isinstance(delta, Finish | Done):
                    joined += self._rest()
                joined.append(delta)
        return joined

    def _join(self, place: Any, text: str) -> str:
        text = _joined(self.held.pop(place, "") + text)
        if half := _FIRST_HALF.search(text):
            self.held[place], text = half[0], text[: half.start()]
        return _HALF.sub(REPLACEMENT, text)

    def _rest(self) -> list[Delta]:
        places, self.held = list(self.held), {}
        return [
            CallPart(place, None, None, REPLACEMENT)
            if isinstance(place, int)
            else place(REPLACEMENT)
            for place in places
        ]
