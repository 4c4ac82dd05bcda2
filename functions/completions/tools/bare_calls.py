"""A tool call that a model wrote as text without a mark: as JSON, or as `name(…)`.

Only its content tells it from words, so it counts only if it is the whole answer, or all of its
last lines, and it is never carried out: the model is asked again. Knows text and the names of
tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from completions.tools.written_calls import (
    ARGUMENT_KEYS,
    LIST_KEYS,
    NAME_KEYS,
    WrittenCall,
    in_python,
    read_calls,
    without_fence,
)

LIMIT_CHARS = 4 * 1024
"""A longer answer is not held back to its end."""
BARE_START = re.compile(r"```|[{\[]")
"""How such a call begins after lines of words; a name alone may be a word."""
_PHI = "functools"
"""What Phi-4-mini writes before its list."""
_KEYS = tuple(f'"{key}":' for key in (*NAME_KEYS, *ARGUMENT_KEYS, *LIST_KEYS, "type", "id"))
_NAMESPACE = re.compile(r"^.*[.:/]")
_DECODER = json.JSONDecoder(strict=False)


def may_be_bare(text: str, offered: Collection[str]) -> bool:
    """Return whether an answer that begins like this may be a call without marks."""
    squeezed = "".join(text.split())
    for before in ("```json", "```", _PHI):
        if len(squeezed) < len(before) and before.startswith(squeezed):
            return True
        squeezed = squeezed.removeprefix(before)
    if squeezed[:1] in {"", "{", "["}:
        inner = squeezed.removeprefix("[").removeprefix("{")
        if len(inner) == len(squeezed) - 1 and squeezed[:1] == "[":
            return not inner or _begins_name(inner, offered)
        if (named := _FIRST_NAME.match(inner)) and _NAMESPACE.sub("", named[1]) not in offered:
            return False
        return any(key.startswith(inner[: len(key)]) for key in _KEYS)
    return _begins_name(squeezed, offered)


def _begins_name(text: str, offered: Collection[str]) -> bool:
    for before in ("print(", "default_api.", "functions."):
        if before.startswith(text):
            return True
        text = text.removeprefix(before)
    return any(f"{name}(".startswith(text[: len(name) + 1]) for name in offered)


_FIRST_NAME = re.compile(r'"(?:name|tool_name|function_name|tool)":"([^"]*)"')
_BARE_NAME = re.compile(r'"(?:name|tool|tool_name|function|function_name)"\s*:\s*"([^"]+)"')


def bare_call(text: str, offered: Collection[str]) -> WrittenCall | None:
    """Return the call of an offered tool if it is the whole text, or None.

    An incomplete call counts, too: it is not carried out, only asked for again.
    """
    text = without_fence(text).removeprefix(_PHI)
    calls = read_calls(text) if text[:1] in {"{", "["} else list(in_python(text))
    for call in calls:
        if _NAMESPACE.sub("", call.name) in offered:
            return call
    if not calls and text[:1] in {"{", "["}:
        named = _BARE_NAME.search(text)
        if named and named[1] in offered and not _followed_by_words(text):
            return WrittenCall(named[1], text)
    return None


def _followed_by_words(text: str) -> bool:
    try:
        _, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return bool(text[end:].strip("`;,}] \n"))
