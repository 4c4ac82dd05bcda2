"""Unwraps arguments that a model wrapped once more: in an object `arguments`, beside a name.

Small models repeat the whole call, or the schema's own keywords, where only the arguments belong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from completions.tools.loose_json import read_object
from completions.tools.value_conversions import normalised

_WRAPPERS = frozenset(
    {"arguments", "args", "parameters", "params", "kwargs"}
    | {"input", "inputs", "tool_input", "properties", "function"}
)
"""Names that may hold the arguments themselves."""
_NAMES = frozenset({"name", "tool", "tool_name", "function", "function_name"})
"""Names beside them that may hold the tool's own name."""
_LABELS = frozenset({"type", "id"})
"""Names beside them that may hold anything."""
_LAYERS = 3


def unwrapped(
    arguments: dict[str, Any], tool: str, properties: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the inner arguments, or `arguments` itself unless it clearly wraps them.

    A property that the tool describes wraps nothing. Neither does an object that holds anything
    else beside the wrapped one, or another tool's name.
    """
    for _ in range(_LAYERS):
        inside = [
            (name, inner)
            for name, value in arguments.items()
            if name not in properties
            and (name in _WRAPPERS or normalised(name) == normalised(tool))
            and (inner := _object(value)) is not None
        ]
        if len(inside) != 1:
            break
        (wrapper, inner) = inside[0]
        beside = {name: value for name, value in arguments.items() if name != wrapper}
        if not all(_is_label(name, value, tool, properties) for name, value in beside.items()):
            break
        arguments = inner
    return arguments


def _object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return read_object(value)
    return value if isinstance(value, dict) else None


def _is_label(name: str, value: Any, tool: str, properties: Mapping[str, Any]) -> bool:
    if name in properties or not isinstance(value, str):
        return False
    return name in _LABELS or (name in _NAMES and normalised(value) == normalised(tool))
