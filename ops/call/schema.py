"""What a call file may say: the fields of each place, and their values.

docs/calls.md explains it to people. A check returns what is wrong with a value; empty if nothing
is. Knows no files or lines.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ops.call.speech import is_expression, letters, pattern

Check = Callable[[Any], str]
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110, section 5.6.2)."""
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
JSON_TYPES = ("string", "integer", "number", "boolean", "object", "array")
ENDINGS = ("hung_up", "transferred", "voicemail", "failed", "goes_on")


def texts(value: str | Sequence[str]) -> Sequence[str]:
    """Return one or several texts as a list."""
    return [value] if isinstance(value, str) else list(value)


def _expected(what: str, value: Any) -> str:
    # YAML reads an unquoted yes, no, on and off as true or false.
    hint = ": quote it" if what.startswith("text") and isinstance(value, bool) else ""
    return f"{what} was expected, not {value!r}{hint}"


def a(what: str, *types: type) -> Check:
    """Return the check for a value of these types; true and false are not numbers."""

    def check(value: Any) -> str:
        fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
        return "" if fits else _expected(what, value)

    return check


text = a("text", str)
mapping = a("a mapping", dict)
sequence = a("a list", list)
flag = a("true or false", bool)


def number(least: float, most: float = math.inf, *, whole: bool = False) -> Check:
    """Return the check for a number within bounds."""
    what = "a whole number" if whole else "a number"
    types = (int,) if whole else (int, float)

    def check(value: Any) -> str:
        if wrong := a(what, *types)(value):
            return wrong
        if not least <= value <= most:
            bounds = f"from {least:g} to {most:g}" if most < math.inf else f"{least:g} or more"
            return _expected(f"{what}, {bounds},", value)
        return ""

    return check


def one_of(*names: str) -> Check:
    """Return the check for one of these words."""
    return lambda value: "" if value in names else _expected(f"one of {', '.join(names)}", value)


def each(check: Check) -> Check:
    """Return the check for a list or mapping in which every value passes."""

    def checked(value: Any) -> str:
        inner = value.values() if isinstance(value, dict) else value
        return next((wrong for one in inner if (wrong := check(one))), "")

    return checked


def both(*checks: Check) -> Check:
    """Return the check for a value that passes all of these."""
    return lambda value: next((wrong for check in checks if (wrong := check(value))), "")


def _said(value: Any) -> str:
    if isinstance(value, str) and not value.strip():
        return 'nothing is said; silence is written "..."'
    return text(value)


def _over(value: Any) -> str:
    if isinstance(value, str) and not is_expression(value) and not letters(value):
        return "there is no word in it"
    return _found(value)


def _found(value: Any) -> str:
    """Check a text to look for, which may be a regular expression."""
    if wrong := text(value):
        return wrong
    try:
        pattern(value)
    except re.error as error:
        return f"{value}: {error}"
    return ""


def found_within(value: Any) -> str:
    """Check values to look for; texts at any depth may be regular expressions."""
    if isinstance(value, dict | list):
        return each(found_within)(value)
    return _found(value) if isinstance(value, str) else ""


_found_texts = both(a("text or a list", str, list), lambda value: each(_found)(texts(value)))


def _headers(value: Any) -> str:
    for name, content in value.items():
        if not _TOKEN.fullmatch(name):
            return f"{name!r} is not a header's name"
        if wrong := text(content):
            return wrong
        if not _PRINTABLE.fullmatch(content):
            return f"{name} holds what no header can carry: {content!r}"
    return ""


def _parameters(value: Any) -> str:
    properties = value.get("properties", {})
    required = value.get("required", [])
    return (
        both(mapping, each(mapping))(properties)
        or both(sequence, each(text))(required)
        or ("" if value.get("type", "object") == "object" else "arguments are of type object")
    )


_scenes = a("a mapping or a list", dict, list)
_any_number = a("a number", int, float)
CALL: Mapping[str, Check] = {
    "call": text,
    "agent": mapping,
    "deployment": both(
        mapping, each(a("text, a number, a list or a mapping", str, int, float, bool, list, dict))
    ),
    "turns": sequence,
}
AGENT: Mapping[str, Check] = {
    "prompt": text,
    "first_message": text,
    "language": text,
    "tools": sequence,
    "api_type": one_of("chat_completions", "responses"),
    "model": text,
    "temperature": _any_number,
    "max_tokens": a("a whole number", int),
    "extra_body": mapping,
    "user_id": text,
    "headers": both(mapping, _headers),
    "voicemail_message": text,
    "cascade_timeout_s": number(0.1, 60),
}
TURN: Mapping[str, Check] = {
    "caller": _said,
    "over": _over,
    "model": _scenes,
    "fallback": _scenes,
    "result": mapping,
    "late_result": mapping,
    "expect": mapping,
}
SCENE: Mapping[str, Check] = {
    "say": text,
    "think": text,
    "tools": sequence,
    "after_ms": number(0, 600_000),
    "pace_ms": number(0, 60_000),
    "empty": flag,
    "hangs": flag,
    "cuts": flag,
    "fails": number(400, 599, whole=True),
}
EXPECT: Mapping[str, Check] = {
    "first_sound_within_ms": number(0),
    "answer_within_ms": number(0),
    "says": _found_texts,
    "says_once": _found_texts,
    "never_says": _found_texts,
    "calls": sequence,
    "buffer_words": number(0, whole=True),
    "model_saw": mapping,
    "ends": one_of(*ENDINGS),
    "silent": flag,
    "silent_within_ms": number(0),
    "posts": number(1, whole=True),
    "apologises": flag,
    "language": text,
    "state": both(mapping, found_within),
}
"""What a file can expect of a turn."""
SAW: Mapping[str, Check] = dict.fromkeys(
    ("system", "user", "assistant", "tool", "never"), _found_texts
)
OWN_TOOL: Mapping[str, Check] = {
    "description": text,
    "parameters": both(mapping, _parameters),
}
SETTINGS: Mapping[str, Mapping[str, Check]] = {
    "language_detection": {"languages": both(sequence, each(text))},
    "transfer_to_agent": {"agents": both(sequence, each(text))},
    "transfer_to_number": {"numbers": both(mapping, each(text))},
    "update_state": {"variables": both(mapping, each(one_of(*JSON_TYPES)))},
}
