"""What the description of a system tool lists as the values of a parameter.

The voice platform names languages and telephone numbers in words, where JSON Schema has `enum`:
a model that makes up another one moves the caller nowhere. Knows those two tools, by name only,
and takes no example and nothing doubtful for a list: a wrong list would refuse good calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from completions.dialects.request import Tool
from completions.tools.coercion import normalised

_CODE = r"\b(?:[a-z]{2}|fil)(?:-[A-Za-z]{2,4})?\b"
_RUN = re.compile(rf"{_CODE}(?:(?: *[,;/|] *(?:and |or )?| +(?:and|or) +){_CODE})+")
_MARKED = re.compile(rf"[\"'`(\[]({_CODE})[\"'`)\]]")
_HEADS = re.compile(rf"^[^\w\n]*({_CODE})\s*[:=–—]", re.MULTILINE)
_WORDS = frozenset(
    "am an as at be by do go he hi if in is it me my no of oh ok on or so to up us we".split()  # noqa: SIM905 - 28 quoted words are no easier to read
)
"""English words that look like codes; a list of nothing else is none."""
_NUMBER = re.compile(r"\+\d[\d ().-]{5,}\d|\b\d{7,}\b|\bsips?:[^\s,;\"')]+")
_EXAMPLES = re.compile(r"(?:\be\.g\.|\bfor example\b|\bsuch as\b|\blike\b)[^.;)]*", re.IGNORECASE)


def with_enum_hints(tool: Tool) -> Tool:
    """The tool, with what its description lists as the only values allowed."""
    for known, parameter, values_in in _TOOLS:
        properties = tool.parameters.get("properties")
        spec = properties.get(parameter) if isinstance(properties, Mapping) else None
        if (
            normalised(tool.name) != normalised(known)
            or not isinstance(spec, Mapping)
            or spec.get("type") != "string"
            or spec.get("enum") is not None
        ):
            continue
        said = f"{tool.description}\n{spec.get('description') or ''}"
        if listed := values_in(_EXAMPLES.sub("", said)):
            changed = {**(properties or {}), parameter: {**spec, "enum": listed}}
            return replace(tool, parameters={**tool.parameters, "properties": changed})
    return tool


def _codes(said: str) -> list[str]:
    runs = [re.findall(_CODE, run[0]) for run in _RUN.finditer(said)]
    codes = [code for run in runs for code in run if code not in {"and", "or"}]
    codes += _MARKED.findall(said) + _HEADS.findall(said)
    listed = list(dict.fromkeys(codes))
    return listed if len(listed) > 1 and not _WORDS.issuperset(listed) else []


def _numbers(said: str) -> list[str]:
    return list(dict.fromkeys(number.rstrip(".:") for number in _NUMBER.findall(said)))


_TOOLS: tuple[tuple[str, str, Callable[[str], list[str]]], ...] = (
    ("language_detection", "language", _codes),
    ("transfer_to_number", "transfer_number", _numbers),
)
