"""What one JSON value may mean as another type: `"2"` for 2, `"True"`, an object as a text.

Models and hand-written schemas have such values. What a value means stays the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from completions.tools.loose_json import read_float, read_object

_EXACT_FLOAT_LIMIT = 2**53
"""Doubles below this keep every digit before the point."""
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def is_of(value: Any, types: Collection[str]) -> bool:
    """Return whether a value has one of JSON Schema's types."""
    match value:
        case None:
            names = {"null"}
        case bool():
            names = {"boolean"}
        case int():
            names = {"integer", "number"}
        case float():
            names = {"number", "integer"} if value.is_integer() else {"number"}
        case str():
            names = {"string"}
        case list():
            names = {"array"}
        case _:
            names = {"object"}
    return not names.isdisjoint(types)


def conversions(value: Any, types: Collection[str]) -> Iterator[Any]:
    """Yield what the value may mean where one of these types is expected, likely ones first."""
    if isinstance(value, str):
        yield from _conversions_of_text(value, types)
    elif isinstance(value, bool):
        if "string" in types:
            yield str(value).lower()
    elif isinstance(value, int | float):
        # Python writes a larger float with other digits than the model did.
        if "string" in types and (isinstance(value, int) or abs(value) < _EXACT_FLOAT_LIMIT):
            yield str(value)
        if "boolean" in types and value in (0, 1):
            yield bool(value)
    elif isinstance(value, list) and len(value) == 1:
        yield value[0]
    if "array" in types and value is not None and not isinstance(value, list):
        yield [value]


def _conversions_of_text(value: str, types: Collection[str]) -> Iterator[Any]:
    text = value.strip()
    if text != value:
        yield text
    if re.fullmatch(r"[+-]?\d{1,18}(\.0+)?", text) and {"integer", "number"} & {*types}:
        yield int(text.partition(".")[0])
    if "number" in types:
        with suppress(ValueError):
            number = read_float(text)
            if abs(number) < _EXACT_FLOAT_LIMIT:
                yield number
    if "boolean" in types and text.casefold() in _BOOLEANS:
        yield _BOOLEANS[text.casefold()]
    if "null" in types and text.casefold() in {"", "null", "none"}:
        yield None
    if "object" in types and (inner := read_object(text)):
        yield inner
    if "array" in types and (inner := read_object(f'{{"array": {text}}}')):
        yield inner["array"]


def normalised(text: str) -> str:
    """Return the letters and digits, without case: `End-Call` and `end_call` are one name."""
    return "".join(character for character in text.casefold() if character.isalnum())
