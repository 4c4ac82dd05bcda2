"""Checks an object against a JSON Schema that a caller sent.

The only module that knows the JSON Schema library. The schema comes from the caller, so it may
be broken or hostile: then nothing is checked, but nothing raises, reaches the network or hangs.
Does not know tools or coercion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from completions.immutable import immutable
from completions.tools.impossible_schemas import make_satisfiable

if TYPE_CHECKING:
    import jsonschema_rs

_NODES_LIMIT = 10_000
"""No tool's schema unfolds to more nodes than this; checking one that does could take for ever."""
_BACKTRACK_LIMIT = 10_000
"""Stops a `pattern` after about a millisecond. Patterns without look-around never backtrack."""

VIOLATIONS_LIMIT = 32
"""An object with more violations than this is not misspelt; it is a different object."""

Path = tuple[str | int, ...]


@immutable
class Violation:
    """One place where an object does not fit its schema.

    `keyword` is the schema's keyword that it violates, `details` are the library's facts about
    it, and `message` says it in words, without the value.
    """

    path: Path
    keyword: str
    details: dict[str, Any]
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path)) or 'the object'}: {self.message}"


class Schema:
    """A JSON Schema of any draft. One that cannot be used accepts everything."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = _validator(schema)
        properties = schema.get("properties")
        self.properties: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
        """The schemas of the top-level properties."""

    def violations(self, value: Any) -> list[Violation]:
        """Return what is wrong with `value`, at most VIOLATIONS_LIMIT things.

        Where no branch of `anyOf` or `oneOf` fits, the violations of each branch are listed.
        """
        if self._validator is None:
            return []
        try:
            return list(islice(_leaves(self._validator.iter_errors(value)), VIOLATIONS_LIMIT))
        except Exception:
            # A turn must not fail because the library cannot handle the value.
            return []


def _leaves(errors: Any) -> Iterator[Violation]:
    for error in errors:
        if error.kind.name in {"anyOf", "oneOf"} and any(error.kind.context):
            for branch in error.kind.context:
                yield from _leaves(branch)
            continue
        details = error.kind.as_dict()
        if error.kind.name == "pattern" and "error" in details:
            continue  # Stopped at the backtracking limit: not checked.
        yield Violation(tuple(error.instance_path), error.kind.name, details, error.message)


def warm() -> None:
    """Load the library now rather than at the first tool call."""
    import jsonschema_rs  # noqa: F401 - imported for its effect


def _validator(schema: Mapping[str, Any]) -> jsonschema_rs.Validator | None:
    # Takes 3 to 8 ms (measured 2026-11-22): paid by the first tool call, not by every cold
    # start, unless `warm` has put it into a snapshot.
    import jsonschema_rs

    try:
        usable = make_satisfiable(schema)
        if not _is_small(usable):
            return None
        return jsonschema_rs.validator_for(
            usable,
            offline=True,
            validate_formats=False,
            mask="the value",
            pattern_options=jsonschema_rs.FancyRegexOptions(
                backtrack_limit=_BACKTRACK_LIMIT, size_limit=1 << 18
            ),
        )
    except Exception:
        return None


def _is_small(schema: dict[str, Any]) -> bool:
    """Return whether the schema refers only to itself and unfolds to at most _NODES_LIMIT nodes."""
    left = _NODES_LIMIT
    todo: list[tuple[Any, frozenset[str]]] = [(schema, frozenset())]
    while todo:
        node, followed = todo.pop()
        left -= 1
        if left < 0:
            return False
        if isinstance(node, list):
            todo += ((item, followed) for item in node)
        elif isinstance(node, dict):
            todo += ((item, followed) for item in node.values())
            if "$dynamicRef" in node or "$recursiveRef" in node:
                return False
            reference = node.get("$ref")
            if isinstance(reference, str) and reference not in followed:
                target = _target(schema, reference)
                if target is None:
                    return False
                todo.append((target, followed | {reference}))
    return True


def _target(schema: dict[str, Any], reference: str) -> Any:
    """Return what a JSON pointer (RFC 6901) into the schema refers to, or None."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    node: Any = schema
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict):
            node = node.get(name)
        elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            return None
    return node
