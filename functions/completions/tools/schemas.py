"""Does an object fit a JSON Schema that a caller sent, and if not, what is wrong?

The only module that knows the JSON Schema library. The schema comes from the caller, so it may
be broken or hostile: it then checks nothing, but it cannot raise, reach the network or hang.
Knows nothing of tools and of repairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jsonschema_rs

_NODES_LIMIT = 10_000
"""A schema that unfolds to more than this is no tool's; checking it could take for ever."""
_BACKTRACK_LIMIT = 10_000
"""About a millisecond of a `pattern` that backtracks. Patterns without look-around never do."""

MISFITS_LIMIT = 32
"""With more than this an object is not misspelt, it is another one."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Misfit:
    """One thing that is wrong: where, what the schema says (`keyword`, `facts`), and in words."""

    path: Path
    keyword: str
    facts: dict[str, Any]
    words: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path)) or 'the object'}: {self.words}"


class Schema:
    """A JSON Schema of any draft. One that cannot be used finds nothing wrong."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = _validator(schema)
        properties = schema.get("properties")
        self.properties: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
        """The schemas of the properties at the top."""

    def misfits(self, value: Any) -> list[Misfit]:
        """What is wrong with `value`; inside `anyOf` and `oneOf`, what is wrong in each branch.

        At most MISFITS_LIMIT things.
        """
        if self._validator is None:
            return []
        try:
            return list(islice(_leaves(self._validator.iter_errors(value)), MISFITS_LIMIT))
        except Exception:
            # Whatever the library cannot take is not the caller's turn to pay for.
            return []


def _leaves(errors: Any) -> Iterator[Misfit]:
    for error in errors:
        if error.kind.name in {"anyOf", "oneOf"} and any(error.kind.context):
            for branch in error.kind.context:
                yield from _leaves(branch)
            continue
        facts = error.kind.as_dict()
        if error.kind.name == "pattern" and "error" in facts:
            continue  # given up at the limit: unchecked
        yield Misfit(tuple(error.instance_path), error.kind.name, facts, error.message)


def warm() -> None:
    """Loads the library, for whoever has the time before a first tool call."""
    import jsonschema_rs  # noqa: F401 - see above


def _validator(schema: Mapping[str, Any]) -> jsonschema_rs.Validator | None:
    # 3 to 8 ms (measured 2026-11-22), at the first tool call rather than at every cold start,
    # unless a snapshot holds it.
    import jsonschema_rs

    try:
        usable = _without_nulls(schema)
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


def _without_nulls(schema: Any) -> Any:
    """Serialisers write keywords that are not set as null, which no draft allows."""
    if isinstance(schema, list):
        return [_without_nulls(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: _without_nulls(item)
        for name, item in schema.items()
        if item is not None or name in {"const", "default"}
    }


def _is_small(schema: dict[str, Any]) -> bool:
    """True for a schema that refers to itself only, and stays small with references unfolded."""
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
    """What a JSON pointer into the schema itself refers to (RFC 6901), else None."""
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
