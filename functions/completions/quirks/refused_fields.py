"""Find the fields of a request that a refusal is about.

APIs name them in `param`, or only in words. A name counts only if it was in the request, so the
words can be read generously: in a sentence that refuses something, any name that is quoted, has an
underscore, or is called a parameter. Returns paths, see `field_paths`. Knows requests as they go
up, but no models, and not what is done with the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from completions.quirks.tool_schemas import schemas_in

NEEDED = frozenset(
    {
        *("messages", "input", "model", "stream", "instructions", "prompt"),
        *("previous_response_id", "conversation"),
    }
)
"""Fields without which it is not this request."""
_OPENED = frozenset({"stream_options", "response_format", "reasoning", "text"})
"""Objects that may be refused in part. Other fields are refused whole: the contents of `metadata`
or `logit_bias` are the caller's."""
_KEPT_INSIDE = frozenset(
    {
        *("type", "role", "content", "tool_calls", "tool_call_id", "call_id", "id", "function"),
        *("name", "arguments", "output", "encrypted_content", "summary"),
        *("parameters", "description", "format", "json_schema", "schema"),
    }
)
"""Keys that messages, tools and opened objects cannot do without. The `name` of a message (who
speaks) is dispensable."""
_SCHEMA_KEPT = frozenset({"type", "properties", "items", "required", "enum", "description"})
"""Keywords of a tool's schema without which the model would not know what to send."""

# Patterns are compiled on first use: most environments never see a refusal.
_REFUSES = (
    r"(?i)unsupported|unknown|unrecogni[sz]ed|unexpected|extra(?:neous)?\b|additional\b|cannot find"
    r"|not (?:\w+ )?(?:supported|permitted|allowed|accepted|available|recogni[sz]ed|implemented)"
    r"|(?:doesn'?t|don'?t|not) (?:support|allow|accept|recogni[sz]e|take)"
    r"|cannot (?:both )?be (?:used|set|specified|combined)|only the default|only .{1,40} is allowed"
    r"|deprecated|disallowed|forbidden|unavailable"
    r"|invalid (?:parameter|argument|field|property|key)"
)
_BLAMES_VALUE = (
    r"(?i)must be (?!satisfied)|should be|expected|out of range|(?:greater|less|more|fewer) than"
    r"|at (?:most|least)|too (?:long|large|big|small|short|many|few|high|low)|maximum|minimum"
    r"|does not exist|not found|invalid (?:value|type)|not one of|exceeds|\bmissing\b|is required"
)
_ADVICE = (
    r"(?i)\b(?:expected|did you mean|instead|please|to drop|use|try|see|supported \w+ are"
    r"|allowed \w+ are)\b"
)
"""What an API would rather have follows these words."""
_CLAUSE = r"[\n;]+|(?<=[.!?])\s+"
_MARKED = r"""['"`“‘\[]([A-Za-z_$][\w.$-]*(?:\[\d*\][\w.]*)*)\\?['"`”’\]]"""
_SNAKE = r"[A-Za-z$][\w$]*(?:(?:\.|\[)[\w\]]+|_\w+)+"
_WORD = r"([A-Za-z]\w*(?:\s*,\s*[A-Za-z]\w*)*)\b(?!\.\w|\[)"
_KIND = r"(?:parameter|argument|field|propert(?:y|ie)|option|key|input)s?"
_NAMES_A_FIELD = (
    rf"(?i)\b(?:{_KIND}(?: supplied)?|support|model|invalid|un\w+ed|unknown)\b(?=\W{{1,4}}{_WORD})",
    rf"(?i){_WORD}\W{{1,3}}{_KIND}\b",
    rf"(?i)^\W*{_WORD}\W? ?(?::|(?:is|are) )",
)
"""Where the text says that an ordinary word is a field."""
_SEGMENT = r"[^.\[\]'\"\s/#]+"


def refused_fields(stated: Iterable[str], words: str, body: Mapping[str, Any]) -> list[str]:
    """Return the refused paths of `body`: those that the API states, else those its words name."""
    found = [path for one in stated if (path := _path(one, body))]
    return list(dict.fromkeys(found)) or list(dict.fromkeys(_named(words, body)))


def blames_value(words: str) -> bool:
    """Return True if the words are about a field's value, not about the field."""
    return bool(re.search(_BLAMES_VALUE, words)) and not re.search(_REFUSES, words)


def _named(words: str, body: Mapping[str, Any]) -> Iterator[str]:
    for clause in re.split(_CLAUSE, words):
        if not (refuses := re.search(_REFUSES, clause)):
            continue
        advice = re.search(_ADVICE, clause[refuses.end() :])
        refusing = clause[: refuses.end() + advice.start()] if advice else clause
        refusing = re.sub(r"(?i)\broles?\W{1,3}\w+", "", refusing)  # `user` is a field as well.
        marked = [*re.findall(_MARKED, refusing), *re.findall(_SNAKE, refusing)]
        named = [one for pattern in _NAMES_A_FIELD for one in re.findall(pattern, refusing)]
        paths = [path for name in marked if (path := _path(name, body))]
        paths += (
            name
            for word in re.findall(r"\w+", " ".join(named))
            if (name := _snake(word)) in body and name not in NEEDED
        )
        if re.search(r"\bboth\b", refusing):
            paths = paths[-1:]  # Leaving out either one is enough.
        yield from paths


def _path(name: str, body: Mapping[str, Any]) -> str | None:
    """Return the path of the dispensable field with this name; None if it is not there."""
    segments = re.findall(_SEGMENT, name)
    for skipped in range(min(len(segments), 3)):
        # Before the field there may be a word for the body: `body.x`, `parameter.x`.
        for spelt in (segments[skipped:], [_snake(one) for one in segments[skipped:]]):
            if path := _from_top(spelt, body):
                return path
        if segments[skipped] in body:
            return None
    if len(segments) == 1:
        return _within(segments[0], body) or _within(_snake(segments[0]), body)
    return None


def _from_top(segments: list[str], body: Mapping[str, Any]) -> str | None:
    top, rest = segments[0], segments[1:]
    if top not in body:
        return None
    if top in {"messages", "input", "tools"} and rest:
        return _inside(top, body[top], rest)
    if top in _OPENED and rest and isinstance(body[top], dict):
        return _inside(top, body[top], rest)
    return None if top in NEEDED else top


def _inside(path: str, value: Any, segments: list[str]) -> str | None:
    """Return the path below; words for a union's branch (`user`) are skipped."""
    name = ""
    for segment in segments:
        if isinstance(value, list):
            index = int(segment) if segment.isdigit() else -1
            if not -len(value) <= index < len(value):
                return None
            value = value[index]
            role = value.get("role") if isinstance(value, dict) else None
            path += f"[{role}]" if path in {"messages", "input"} and role else "[]"
        elif isinstance(value, dict) and segment in value:
            name, value = segment, value[segment]
            path += f".{segment}"
        elif path.endswith(".parameters"):
            return None
    needed = name in _KEPT_INSIDE and not re.fullmatch(r"messages\[\w*\]\.name", path)
    return path if name and path.endswith(f".{name}") and not needed else None


def _within(name: str, body: Mapping[str, Any]) -> str | None:
    """Return the path of a bare name inside messages, tools, schemas or options."""
    if name in _KEPT_INSIDE and name != "name":
        return None
    for top in ("messages", "input"):
        items = _dicts(body.get(top))
        if any(name in one for one in items):
            return f"{top}[].{name}"
        if any(name in call for one in items for call in _dicts(one.get("tool_calls"))):
            return f"{top}[].tool_calls[].{name}"
    if name in _KEPT_INSIDE:
        return None
    for tool in _dicts(body.get("tools")):
        function = tool.get("function")
        if name in tool:
            return f"tools[].{name}"
        if isinstance(function, dict) and name in function:
            return f"tools[].function.{name}"
        inner, path = (function, ".function") if isinstance(function, dict) else (tool, "")
        schemas = schemas_in(inner.get("parameters"))
        if name not in _SCHEMA_KEPT and any(name in one for one in schemas):
            return f"tools[]{path}.parameters.**.{name}"
    for top in sorted(_OPENED & body.keys()):
        if isinstance(body[top], dict) and name in body[top]:
            return f"{top}.{name}"
    return None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _snake(name: str) -> str:
    """Return a camel-case name as OpenAI spells it."""
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
