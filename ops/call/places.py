"""YAML whose every value knows its line, so that an error can say where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Path_ = tuple[str | int, ...]


class Misspelt(Exception):
    """A call file says something that cannot be understood: file, line, field and why."""

    def __init__(self, file: Path, line: int, field: str, why: str) -> None:
        super().__init__(f"{file}:{line}: {field}: {why}" if field else f"{file}:{line}: {why}")
        self.line, self.field = line, field


class Document:
    """One file: its value, and the line of each place in it."""

    def __init__(self, file: Path) -> None:
        """Read it. Raises `Misspelt` where it is no YAML, or says a field twice."""
        self.file = file
        self._lines: dict[Path_, int] = {(): 1}
        loader = yaml.SafeLoader(file.read_text("utf-8"))
        try:
            node = loader.get_single_node()
            if node is not None:
                self._walk(node, ())
            self.value: Any = None if node is None else loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise Misspelt(file, line, "", f"no YAML: {error.problem or error.context}") from error
        finally:
            loader.dispose()

    def wrong(self, place: Path_, why: str) -> Misspelt:
        """Return the error of a place; of one that is not there, its nearest parent's line."""
        known = place
        while known not in self._lines:
            known = known[:-1]
        return Misspelt(self.file, self._lines[known], spelt(place), why)

    def _walk(self, node: yaml.Node, place: Path_) -> None:
        self._lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._walk(item, (*place, index))
            return
        if not isinstance(node, yaml.MappingNode):
            return
        for name, line, value in _fields(node):
            if (*place, name) in self._lines:
                raise Misspelt(self.file, line, spelt((*place, name)), "it is there twice")
            self._lines[(*place, name)] = line
            self._walk(value, (*place, name))


def _fields(node: yaml.MappingNode) -> Iterator[tuple[str, int, yaml.Node]]:
    for key, value in node.value:
        yield str(key.value), key.start_mark.line + 1, value


def spelt(place: Path_) -> str:
    """Return a place as people write it: `turns[1].expect.says`, counted from 1."""
    text = ""
    for part in place:
        text += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text
