"""YAML in which every value knows its line, so that an error can say where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Path_ = tuple[str | int, ...]
PLACES_LIMIT = 20_000
"""Aliases of aliases can turn a small file into a huge value."""
_TAG = "tag:yaml.org,2002:"
_KNOWN = {_TAG + kind for kind in ("str", "int", "float", "bool", "null", "seq", "map")}
_NAMES = {_TAG + kind for kind in ("str", "merge")}


class CallFileError(Exception):
    """A call file cannot be understood: file, line, field and why."""

    def __init__(self, file: Path, line: int, field: str, why: str) -> None:
        super().__init__(f"{file}:{line}: {field}: {why}" if field else f"{file}:{line}: {why}")
        self.line, self.field = line, field


class Document:
    """One file: its value, and the line of each place in it."""

    def __init__(self, file: Path) -> None:
        """Read it. Raises `CallFileError` if it is not YAML, or has a field twice."""
        self.file = file
        self._lines: dict[Path_, int] = {(): 1}
        try:
            loader = yaml.SafeLoader(file.read_text("utf-8"))
            node = loader.get_single_node()
            if node is not None:
                self._walk(node, ())
            self.value: Any = None if node is None else loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise CallFileError(
                file, line, "", f"no YAML: {error.problem or error.context}"
            ) from error
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise CallFileError(file, line, "", "no UTF-8") from error
        except yaml.reader.ReaderError as error:
            raise CallFileError(file, 1, "", f"no YAML: {error.reason}") from error
        except (RecursionError, ValueError) as error:
            # A date such as 2020-13-45 is a ValueError of the constructor's.
            why = "too deep" if isinstance(error, RecursionError) else str(error)
            raise CallFileError(file, 1, "", f"no YAML: {why}") from error

    def wrong(self, place: Path_, why: str) -> CallFileError:
        """Return the error for a place; a missing place has the line of its nearest parent."""
        known = place
        while known not in self._lines:
            known = known[:-1]
        return CallFileError(self.file, self._lines[known], spelt(place), why)

    def _walk(self, node: yaml.Node, place: Path_) -> None:
        line = node.start_mark.line + 1
        self._lines.setdefault(place, line)
        if len(self._lines) > PLACES_LIMIT:
            raise CallFileError(self.file, line, "", f"more than {PLACES_LIMIT} values")
        if why := _no_json(node):
            raise CallFileError(self.file, line, spelt(place), why)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._walk(item, (*place, index))
            return
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag not in _NAMES:
                kind = key.tag.rpartition(":")[2]
                raise CallFileError(
                    self.file, line, spelt(place), f"a name that YAML reads as {kind}: quote it"
                )
            name = str(key.value)
            if (*place, name) in self._lines:
                raise CallFileError(self.file, line, spelt((*place, name)), "it is there twice")
            self._lines[(*place, name)] = line
            self._walk(value, (*place, name))


def _no_json(node: yaml.Node) -> str:
    """Return why a value cannot be sent as JSON; empty if it can."""
    if node.tag not in _KNOWN:
        return f"YAML reads it as a {node.tag.rpartition(':')[2]}: quote it"
    if node.tag.endswith(":float") and node.value.lstrip("+-").lower() in {".nan", ".inf"}:
        return f"{node.value} is not a number in JSON"
    if isinstance(node, yaml.ScalarNode) and any("\ud800" <= one <= "\udfff" for one in node.value):
        return "half of a character"
    return ""


def spelt(place: Path_) -> str:
    """Return a place as people write it: `turns[1].expect.says`, counted from 1."""
    text = ""
    for part in place:
        text += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text
