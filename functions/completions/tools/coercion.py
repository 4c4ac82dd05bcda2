"""Makes an object fit its JSON Schema by reading it in another spelling, without inventing.

Knows how models misspell values: `"0"` for a number, `"True"`, an object as a string, another
case, null for what is not known. Knows nothing of how the object was written (`loose_json`).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from completions.tools.loose_json import read_object
from completions.tools.schemas import MISFITS_LIMIT, Misfit, Path, Schema


class _Absent:
    """In place of a value: the property is taken out."""


_ABSENT = _Absent()


def repaired(value: dict[str, Any], schema: Schema) -> dict[str, Any] | None:
    """`value` in another spelling that fits the schema, or None. Its meaning stays.

    Of all other readings the one that leaves the fewest misfits is taken, again and again, as
    long as it gets better.
    """
    misfits = schema.misfits(value)
    for _ in range(MISFITS_LIMIT):
        if not misfits:
            return value
        if len(misfits) == MISFITS_LIMIT:
            return None
        before = misfits
        for candidate in list(_readings(value, misfits, schema.properties)):
            left = schema.misfits(candidate)
            if _distance(left) < _distance(misfits):
                value, misfits = candidate, left
        if misfits is before:
            return None
    return None


def _distance(misfits: list[Misfit]) -> tuple[int, int]:
    # As many misfits, but further inside: a text that is an object after all came nearer.
    return len(misfits), -sum(len(misfit.path) for misfit in misfits)


def _readings(
    value: dict[str, Any], misfits: list[Misfit], properties: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    # A misspelt name is two misfits, a missing property and one too many: rename before drop.
    for misfit in sorted(misfits, key=lambda misfit: misfit.keyword != "required"):
        here = _get(value, misfit.path)
        readings: Iterator[Any]
        if misfit.keyword == "required" and isinstance(here, dict):
            readings = _with(here, misfit.facts["property"], {} if misfit.path else properties)
        elif "unexpected" in misfit.facts and isinstance(here, dict):
            readings = iter(
                [_without(here, misfit.facts["unexpected"], {} if misfit.path else properties)]
            )
        else:
            readings = _readings_of(here, misfit)
            if here in (None, "") and misfit.path and isinstance(misfit.path[-1], str):
                # What is not known is left out.
                readings = itertools.chain([_ABSENT], readings)
        for reading in readings:
            changed = _put(value, misfit.path, reading)
            if isinstance(changed, dict):
                yield changed


def _with(here: dict[str, Any], name: str, known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for other in here:
        if normalised(other) == normalised(name):
            yield {name if key == other else key: here[key] for key in here}
    spec = known.get(name)
    for keyword in ("default", "const"):
        if isinstance(spec, Mapping) and keyword in spec:
            yield {**here, name: spec[keyword]}


def _without(
    here: dict[str, Any], unexpected: list[str], properties: Mapping[str, Any]
) -> dict[str, Any]:
    """Names in another spelling are put right, the others go."""
    known = {normalised(name): name for name in properties}
    kept = {name: item for name, item in here.items() if name not in unexpected}
    renamed = {known[normalised(n)]: here[n] for n in unexpected if normalised(n) in known}
    return {**renamed, **kept}


def normalised(text: str) -> str:
    """Letters and digits only, without case: `End-Call` and `end_call` are one name."""
    return "".join(character for character in text.casefold() if character.isalnum())


def _readings_of(value: Any, misfit: Misfit) -> Iterator[Any]:
    """Other spellings of one value that its schema may take, likely ones first."""
    for option in misfit.facts.get("options", ()) or _constant(misfit):
        if _same(option, value):
            yield option
    types = misfit.facts.get("types", ())
    if isinstance(value, str):
        yield from _readings_of_text(value, types)
    elif isinstance(value, bool):
        if "string" in types:
            yield str(value).lower()
    elif isinstance(value, int | float):
        if "string" in types:
            yield str(value)
        if "boolean" in types and value in (0, 1):
            yield bool(value)
    elif isinstance(value, list) and len(value) == 1:
        yield value[0]
    if "array" in types and value is not None and not isinstance(value, list):
        yield [value]


def _same(option: Any, value: Any) -> bool:
    if str(option).strip().casefold() == str(value).strip().casefold():
        return True
    # Signs count in short numbers ("-1", "*"), not in words and telephone numbers.
    word = normalised(str(option))
    return (
        isinstance(option, str)
        and word == normalised(str(value))
        and (len(word) > 4 or any(character.isalpha() for character in word))
    )


def _constant(misfit: Misfit) -> list[Any]:
    return [misfit.facts["expected_value"]] if "expected_value" in misfit.facts else []


def _readings_of_text(value: str, types: list[str]) -> Iterator[Any]:
    text = value.strip()
    if text != value:
        yield text
    if re.fullmatch(r"[+-]?\d{1,18}(\.0+)?", text) and {"integer", "number"} & {*types}:
        yield int(text.partition(".")[0])
    if "number" in types:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            yield number
    if "boolean" in types and text.casefold() in {"true", "false"}:
        yield text.casefold() == "true"
    if "null" in types and text.casefold() in {"", "null", "none"}:
        yield None
    if "object" in types and (inner := read_object(text)):
        yield inner
    if "array" in types and (inner := read_object(f'{{"array": {text}}}')):
        yield inner["array"]


def _get(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _put(value: Any, path: Path, new: Any) -> Any:
    """A copy of `value` with `new` at `path`; the original stays as it is."""
    if not path:
        return new
    step, *rest = path
    if isinstance(value, dict):
        copy = {**value, step: _put(value[step], tuple(rest), new)}
        return {key: item for key, item in copy.items() if item is not _ABSENT}
    items = list(value)
    items[int(step)] = _put(items[int(step)], tuple(rest), new)
    return items
