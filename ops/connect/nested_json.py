"""An agent in the API's form: a tree of objects, any of which may be missing or null."""

from __future__ import annotations

from typing import Any


def at(tree: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """Return the object at a path of the agent's JSON, empty if there is none."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}
