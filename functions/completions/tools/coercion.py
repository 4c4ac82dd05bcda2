"""Coerces an object into its JSON Schema by respelling values, without inventing any.

Knows how models misspell names and values: another case, null for what is not known, another
type (`value_conversions`). Does not know how the object was written (`loose_json`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from completions.tools.loose_json import is_json
from completions.tools.schemas import VIOLATIONS_LIMIT, Path, Schema, Violation
from completions.tools.value_conversions import conversions, normalised


class _Absent:
    """Stands in for a value whose property is to be removed."""


_ABSENT = _Absent()


def coerced(value: dict[str, Any], schema: Schema) -> dict[str, Any] | None:
    """Return `value` respelt so that it fits the schema, or None. Its meaning stays the same.

    Takes the respelling that leaves the fewest violations, and repeats that while it helps.
    """
    violations = schema.violations(value)
    if not violations:
        return value
    for _ in range(VIOLATIONS_LIMIT):
        if not violations:
            # A schema's own values need not be JSON.
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
    # As many violations, but deeper: a string that turned out to be an object is progress.
    return len(violations), -sum(len(violation.path) for violation in violations)


def _respellings(
    value: dict[str, Any], violations: list[Violation], properties: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield copies of `value`, each with one violation fixed in one way."""
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
                # Leave out a value that the model does not know.
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
            return  # Two spellings of one name, and two values: only the model knows which one.
        if name is not None:
            changed[name] = here[other]
    yield changed


def _spellings_of(value: Any, violation: Violation) -> Iterator[Any]:
    """Yield other spellings of one value that its schema may accept, likely ones first."""
    for option in violation.details.get("options", ()) or _constant(violation):
        if _same(option, value):
            yield option
    yield from conversions(value, violation.details.get("types", ()))


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
