"""Coerces an object into its JSON Schema by respelling values, without inventing any.

Knows how models misspell values: `"0"` for a number, `"True"`, an object as a string, another
case, null for what is not known. Does not know how the object was written (`loose_json`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from completions.tools.loose_json import is_json, read_float, read_object
from completions.tools.schemas import VIOLATIONS_LIMIT, Path, Schema, Violation

_EXACT_FLOAT_LIMIT = 2**53
"""Doubles below this keep every digit before the point."""


class _Absent:
    """Stands in for a value whose property is to be removed."""


_ABSENT = _Absent()


def coerced(value: dict[str, Any], schema: Schema) -> dict[str, Any] | None:
    """Return `value` respelt so that it fits the schema, or None. Its meaning stays the same.

    Takes the respelling that leaves the fewest violations, again and again while that helps.
    """
    violations = schema.violations(value)
    if not violations:
        return value
    for _ in range(VIOLATIONS_LIMIT):
        if not violations:
            # A schema's own values may be none of JSON.
            return value if is_json(value) else None
        if len(violations) == VIOLATIONS_LIMIT:
            return None
        before = violations
        for candidate in list(_respellings(value, violations, schema.properties)):
            left = schema.violations(candidate)
            if _distance(left) < _distance(violations):
                value, violations = candidate, left
        if violations is before:
            return None
    return None


def _distance(violations: list[Violation]) -> tuple[int, int]:
    # As many violations, but deeper: a string that turned out to be an object came nearer.
    return len(violations), -sum(len(violation.path) for violation in violations)


def _respellings(
    value: dict[str, Any], violations: list[Violation], properties: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield copies of `value`, each with one violation dealt with in one way."""
    # A misspelt name violates twice, as a missing and as an extra property: rename before drop.
    for violation in sorted(violations, key=lambda one: one.keyword != "required"):
        here = _get(value, violation.path)
        known = {} if violation.path else properties
        spellings: Iterator[Any]
        if violation.keyword == "required" and isinstance(here, dict):
            spellings = _with_property(here, violation.details["property"], known)
        elif "unexpected" in violation.details and isinstance(here, dict):
            spellings = _without_unexpected(here, violation.details["unexpected"], known)
        else:
            spellings = _spellings_of(here, violation)
            if here in (None, "") and violation.path and isinstance(violation.path[-1], str):
                # A value that is not known is left out.
                spellings = itertools.chain([_ABSENT], spellings)
        for spelling in spellings:
            changed = _put(value, violation.path, spelling)
            if isinstance(changed, dict):
                yield changed


def _with_property(
    here: dict[str, Any], name: str, known: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    alike = [other for other in here if normalised(other) == normalised(name)]
    if len(alike) == 1:
        yield {name if key == alike[0] else key: here[key] for key in here}
    spec = known.get(name)
    for keyword in ("default", "const"):
        if isinstance(spec, Mapping) and keyword in spec:
            yield {**here, name: spec[keyword]}


def _without_unexpected(
    here: dict[str, Any], unexpected: list[str], properties: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Rename unexpected properties that are misspelt, and drop the others."""
    known = {normalised(name): name for name in properties}
    changed = {name: item for name, item in here.items() if name not in unexpected}
    for other in unexpected:
        name = known.get(normalised(other))
        if name in changed and changed[name] != here[other]:
            return  # Two spellings of one name, and two values: only the model knows which.
        if name is not None:
            changed[name] = here[other]
    yield changed


def normalised(text: str) -> str:
    """Return letters and digits only, without case: `End-Call` and `end_call` are one name."""
    return "".join(character for character in text.casefold() if character.isalnum())


def _spellings_of(value: Any, violation: Violation) -> Iterator[Any]:
    """Yield other spellings of one value that its schema may accept, likely ones first."""
    for option in violation.details.get("options", ()) or _constant(violation):
        if _same(option, value):
            yield option
    types = violation.details.get("types", ())
    if isinstance(value, str):
        yield from _spellings_of_string(value, types)
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


def _same(option: Any, value: Any) -> bool:
    if str(option).strip().casefold() == str(value).strip().casefold():
        return True
    # Punctuation matters in short numbers and symbols ("-1", "*"), not in words and telephone
    # numbers.
    word = normalised(str(option))
    return (
        isinstance(option, str)
        and word == normalised(str(value))
        and (len(word) > 4 or any(character.isalpha() for character in word))
    )


def _constant(violation: Violation) -> list[Any]:
    details = violation.details
    return [details["expected_value"]] if "expected_value" in details else []


def _spellings_of_string(value: str, types: list[str]) -> Iterator[Any]:
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
    """Return a copy of `value` with `new` at `path`; the original stays as it is."""
    if not path:
        return new
    step, *rest = path
    if isinstance(value, dict):
        copy = {**value, step: _put(value[step], tuple(rest), new)}
        return {key: item for key, item in copy.items() if item is not _ABSENT}
    items = list(value)
    items[int(step)] = _put(items[int(step)], tuple(rest), new)
    return items
