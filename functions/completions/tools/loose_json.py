"""Reads the JSON object that a model meant from what it wrote.

Knows how models misspell JSON, not schemas. Never completes a text that was cut: half an argument
is no argument. Never chooses or makes up a value: it gives up on an object that gives one name two
different values, on a number that no double can hold, and on a lone surrogate.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pydantic_core import from_json

LIMIT_CHARS = 8 * 1024
"""Longer texts are read strictly only: loose reading takes more than linear time, and the length
may be an attack."""
_FENCE = re.compile(r"```\w*")
_EMPTY_FIRST = re.compile(r"(?:\{\s*\}\s*)+(?=\{)")
# A string, or the text between two strings.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|' r"'(?:[^'\\]|\\.)*'" r"|[^\"']+|[\"']", re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)")
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_PYTHON_WORD = re.compile(r"\b(?:True|False|None)\b")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def read_strictly(text: str) -> dict[str, Any] | None:
    """Return the object if the text is valid JSON that every parser reads alike, or None."""
    try:
        from_json(text, allow_inf_nan=False)  # Refuses lone surrogates and endless nesting.
        value = _STRICT_DECODER.decode(text)
    except (ValueError, TypeError):  # What pydantic raises for a text that cannot be encoded.
        return None
    return value if isinstance(value, dict) else None


def read_object(text: str) -> dict[str, Any] | None:
    """Return the object that the text means, or None.

    Accepts an empty text and `null` (no arguments), a code fence or words around the object, an
    object encoded twice, quotation marks around it without escapes inside (as in the voice
    platform's own documentation of keypad tones), the same object or property twice, empty objects
    before it (with which gateways begin a call), single quotes, bare keys, `True`, `False` and
    `None`, trailing commas, surplus closing brackets and raw line ends.
    """
    if (strict := read_strictly(text)) is not None:
        return strict
    text = text.strip()
    if text in {"", "null", '""', "''", "None"}:
        return {}
    if len(text) > LIMIT_CHARS:
        return None
    opening = _FENCE.match(text)
    unfenced = text[opening.end() :] if opening else text
    unfenced = unfenced.removesuffix("```").strip()
    start, end = unfenced.find("{"), unfenced.rfind("}")
    core = unfenced[start : end + 1] if 0 <= start < end else unfenced
    if empty := _EMPTY_FIRST.match(core):
        core = core[empty.end() :]
    for candidate in (text, core, _tidy(core), core.replace('\\"', '"')):
        value = _first_value(candidate)
        for _ in range(2):
            if isinstance(value, str):
                value = _first_value(value.strip())
        if isinstance(value, dict) and is_json(value):
            return value
    return None


def dumps(value: Any) -> str:
    """Write compact JSON; approximate what JSON cannot hold (see `is_json`)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()


def is_json(value: Any) -> bool:
    """Return whether every JSON parser reads the value back: no Infinity, no lone surrogate."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return False
    return True


def _first_value(text: str) -> Any:
    """Return the first JSON value; None if anything follows but noise or the same value."""
    try:
        value, end = _DECODER.raw_decode(text)
        rest = text[end:].strip()
        if rest.strip("`;,}]") and not _same(_DECODER.decode(rest), value):
            return None
    except (ValueError, RecursionError):
        return None
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def read_float(text: str) -> float:
    """Return a number whose size a double can hold.

    Raises:
        ValueError: It would become infinite, or zero, or `text` is not a number.
    """
    number = float(text)
    vanished = number == 0 and re.search("[1-9]", re.split("[eE]", text)[0])
    if vanished or not math.isfinite(number):
        raise ValueError("no double holds this number")
    return number


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse_conflicts(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found and not _same(found[name], value):
            raise ValueError("a name comes twice, with different values")
        found[name] = value
    return found


def _same(one: Any, other: Any) -> bool:
    """Compare two values as JSON does: in Python, true equals 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


_STRICT_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=read_float, object_pairs_hook=_refuse_repeats
)
# strict=False, because models write raw line ends inside strings.
_DECODER = json.JSONDecoder(
    strict=False,
    parse_constant=_refuse_constant,
    parse_float=read_float,
    object_pairs_hook=_refuse_conflicts,
)


def _tidy(text: str) -> str:
    """Turn an object in Python's or JavaScript's notation into JSON; strings keep their text."""
    parts: list[str] = []
    between = ""
    for token in _TOKEN.findall(text):
        if token[0] in "\"'" and len(token) > 1:
            parts += (_tidy_punctuation(between), _tidy_string(token))
            between = ""
        else:
            between += token
    return "".join((*parts, _tidy_punctuation(between)))


def _tidy_string(token: str) -> str:
    if token[0] == '"':
        return token
    # JSON has no \', and needs \" where a single-quoted string did not.
    inner = _ESCAPE.sub(lambda m: "'" if m[1] == "'" else m[0], token[1:-1])
    return '"' + re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', inner) + '"'


def _tidy_punctuation(text: str) -> str:
    text = _PYTHON_WORD.sub(lambda word: _PYTHON_WORDS[word[0]], text)
    return _BARE_KEY.sub(r'\1"\2"\3', _TRAILING_COMMA.sub(r"\1", text))
