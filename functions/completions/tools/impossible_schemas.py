"""Fixes a caller's schema where mistakes keep every value from fitting it.

People write tools by hand: a required name that is described nowhere, an enum of texts where a
number is due, a null for a keyword that is not set. A model cannot fix that, so its call would be
refused each time. What fits the schema as it came still fits. Does not know the schema library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from completions.tools.value_conversions import conversions, is_of

_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Keywords whose members are schemas, under names that the caller chose."""
_VALUES = frozenset({"const", "default", "enum", "examples"})
"""Keywords that hold values, not schemas."""
_PARTS = frozenset({"anyOf", "allOf", "$defs", "definitions"})
"""Keywords below which a schema may be part of another that describes what it requires."""
_CHOICES = frozenset({"oneOf", "not", "if"})
"""Keywords below which loosening a schema may tighten the whole."""
_ELSEWHERE = _PARTS | _CHOICES | {"$ref", "patternProperties", "then", "else", "dependentSchemas"}


def make_satisfiable(schema: Any, *, whole: bool = True, may_loosen: bool = True) -> Any:
    """Return the schema, changed where no value could fit it.

    `whole` says that the schema is not part of another, `may_loosen` that it may accept more.
    """
    if isinstance(schema, list):
        return [make_satisfiable(one, whole=whole, may_loosen=may_loosen) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    fixed: dict[str, Any] = {}
    for name, item in schema.items():
        if item is None and name not in {"const", "default"}:
            continue  # Serialisers write unset keywords as null, which no draft allows.
        inside = {
            "whole": whole and name not in _PARTS and name not in _CHOICES,
            "may_loosen": may_loosen and name not in _CHOICES,
        }
        if name in _VALUES:
            fixed[name] = item
        elif name in _BY_NAME and isinstance(item, Mapping):
            fixed[name] = {
                key: make_satisfiable(one, **inside) for key, one in item.items() if one is not None
            }
        else:
            fixed[name] = make_satisfiable(item, **inside)
    if whole and may_loosen:
        _drop_undescribed_names(fixed)
    if may_loosen:
        _match_enum_to_type(fixed)
    return fixed


def _drop_undescribed_names(schema: dict[str, Any]) -> None:
    """Drop required names that the properties lack, unless they may be described elsewhere."""
    required, properties = schema.get("required"), schema.get("properties")
    if not isinstance(required, list) or not isinstance(properties, Mapping):
        return
    if not _ELSEWHERE.isdisjoint(schema) or isinstance(schema.get("additionalProperties"), Mapping):
        return
    schema["required"] = [
        name for name in required if name in properties or not isinstance(name, str)
    ]


def _match_enum_to_type(schema: dict[str, Any]) -> None:
    """Respell the values of an enum to match its type; drop the type if none can match."""
    given = schema.get("type")
    types = [given] if isinstance(given, str) else given
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(types, list) or not all(isinstance(one, str) for one in types):
        return
    if not isinstance(values, list) or all(is_of(value, types) for value in values):
        return
    offered: list[Any] = []
    for value in values:
        meant = value
        if not is_of(value, types):
            respelt = (one for one in conversions(value, types) if is_of(one, types))
            meant = next(respelt, value)
        # In Python, true equals 1.
        known = any(type(one) is type(meant) and one == meant for one in offered)
        offered += [] if known else [meant]
    schema.pop("const", None)
    schema["enum"] = offered
    if not any(is_of(value, types) for value in offered):
        del schema["type"]
