"""Paths of fields in a request: read a field, or remove it.

    temperature · stream_options.include_usage · tools[].function.strict · messages[user].name
    tools[].function.parameters.**.default      a keyword anywhere in the schemas
    reasoning.effort=minimal                    where it has this value

Knows decoded JSON only, not what the fields mean.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from completions.quirks.tool_schemas import without_keyword


def value_at(body: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path through objects; None if there is none."""
    value: Any = body
    for step in _steps(path):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def fields_without(body: Mapping[str, Any], paths: Collection[str]) -> dict[str, Any]:
    """Return the body without the values at these paths, and without objects left empty by that.

    Unchanged parts are the same objects as before.
    """
    kept = dict(body)
    for entry in paths:
        path, _, value = entry.partition("=")
        top, *rest = _steps(path)
        if top not in kept or (value and value != str(value_at(body, path))):
            continue
        left = _without(kept[top], rest) if rest else None
        if left or left == kept[top]:
            kept[top] = left
        else:
            del kept[top]
    return kept


def _steps(path: str) -> list[str]:
    """Return the steps of a path; `[…]` is a step of its own."""
    return re.findall(r"\[[^\]]*\]|[^.\[\]]+", path)


def _without(value: Any, steps: list[str]) -> Any:
    step, rest = steps[0], steps[1:]
    if step == "**":
        return without_keyword(value, rest[0])
    if step.startswith("["):
        if not isinstance(value, list):
            return value
        role = step[1:-1]
        return [
            _without(one, rest)
            if not role or (isinstance(one, dict) and one.get("role") == role)
            else one
            for one in value
        ]
    if not isinstance(value, dict) or step not in value:
        return value
    if not rest:
        return {name: one for name, one in value.items() if name != step}
    return {**value, step: _without(value[step], rest)}
