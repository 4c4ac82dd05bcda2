"""Whole tool calls: checked against what this request offers, put right, or explained.

Knows the voice platform's system tools as far as a turn must: one that skips the turn, one that
ends the call with a farewell. They are known by name or, renamed, by what their description
says; their parameters are always the request's. Knows nothing of frames, time or asking again.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json

from completions.dialects.deltas import Call
from completions.dialects.request import ParsedRequest, Tool
from completions.tools.coercion import normalised, repaired
from completions.tools.loose_json import LIMIT_CHARS, dumps, read_object
from completions.tools.schemas import Schema
from completions.tools.system_tools import with_enum_hints

_PROBLEM_LIMIT_CHARS = 800

# What models leave of a name: `functions.end_call`, `default_api:end_call`, `end_call<|channel|>`.
_NAMESPACE = re.compile(r"^.*[.:/]")
_JUNK = re.compile(r"(<\||[({\s\"'`]).*$", re.DOTALL)

_SAYS: dict[str, re.Pattern[str]] = {
    "skip_turn": re.compile(
        r"\b(skip|pass)\w*\b.{0,30}\bturn\b|\b(stay|remain)\w*\b.{0,20}\bsilent\b"
    ),
    "end_call": re.compile(
        r"\b(end|ends|ending|terminat\w+|hangs? up|finish\w*)\b.{0,20}\b(call|conversation)\b"
    ),
}
"""What the description of a renamed system tool says, lower-cased."""

_PLACEHOLDER = re.compile(
    r"\s*(?:<[a-z][\w ,.'-]*>|\{\{?\s*[a-z_][\w .-]*\}?\}|\[[a-z][\w ,.'-]*\]|placeholder|todo)\s*",
    re.IGNORECASE,
)
"""What a model writes where it knows nothing: `<reason>`, `{{reason}}`, `[reason]`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`call` is what may be delivered, `changed` says that it is not what the model wrote.

    Without a call, `problem` tells the model what is wrong and what is expected.
    """

    call: Call | None
    changed: bool = False
    problem: str | None = None


def check(call: Call, tools: Mapping[str, Tool]) -> Verdict:
    """Whether the offered tool can take the call, if need be in another spelling. Never raises.

    What is valid is handed back to the letter. A tool whose schema cannot be used takes every
    JSON object.
    """
    name = _offered_name(call.name, tools)
    if name is None:
        offered = ", ".join(tools) or "none"
        return _hopeless(f"There is no tool '{call.name[:80]}'. Offered are: {offered}.")
    arguments, strict = _read(call.arguments)
    tool = with_enum_hints(tools[name])
    if arguments is None:
        problem = "its arguments must be one JSON object"
        return _hopeless(f"The call of '{name}' is not valid: {problem}. {_expected(tool)}")
    schema = Schema(tool.parameters)
    misfits = schema.misfits(arguments)
    fitting: dict[str, Any] | None = arguments
    if misfits:
        small = len(call.arguments) <= LIMIT_CHARS
        fitting = repaired(arguments, schema) if small else None
    if fitting is None:
        problem = "; ".join(dict.fromkeys(map(str, misfits[:5])))
        return _hopeless(f"The call of '{name}' is not valid: {problem}. {_expected(tool)}")
    if blank := _placeholders(fitting, schema):
        required = tool.parameters.get("required")
        if needed := [one for one in blank if isinstance(required, list) and one in required]:
            problem = "; ".join(f"{one}: the value is a placeholder" for one in needed)
            return _hopeless(f"The call of '{name}' is not valid: {problem}. {_expected(tool)}")
        fitting = {key: value for key, value in fitting.items() if key not in blank}
    if strict and fitting is arguments:
        if name == call.name:
            return Verdict(call)
        return Verdict(replace(call, name=name), changed=True)
    return Verdict(replace(call, name=name, arguments=dumps(fitting)), changed=True)


def _hopeless(problem: str) -> Verdict:
    return Verdict(None, problem=problem[:_PROBLEM_LIMIT_CHARS])


def _offered_name(name: str, tools: Mapping[str, Tool]) -> str | None:
    if name in tools:
        return name
    bare = _JUNK.sub("", name.strip(" \t\r\n\"'`"))
    for spelling in (bare, _NAMESPACE.sub("", bare)):
        alike = [offered for offered in tools if normalised(offered) == normalised(spelling)]
        if len(alike) == 1 and normalised(spelling):
            return alike[0]
    return None


def _read(arguments: str) -> tuple[dict[str, Any] | None, bool]:
    """The arguments, and whether they are JSON as they stand."""
    try:
        value = from_json(arguments, allow_inf_nan=False)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value, True
    return read_object(arguments), False


def _placeholders(arguments: Mapping[str, Any], schema: Schema) -> list[str]:
    """The arguments that say nothing: models fill them in before they know."""
    blank = []
    for name, value in arguments.items():
        spec = schema.properties.get(name)
        listed = isinstance(spec, Mapping) and ("enum" in spec or "const" in spec)
        if isinstance(value, str) and not listed and _PLACEHOLDER.fullmatch(value):
            blank.append(name)
    return blank


def _expected(tool: Tool) -> str:
    """The parameters in words, for the model."""
    properties = tool.parameters.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return "It takes no arguments: {}."
    required = tool.parameters.get("required")
    words = []
    for name, given in properties.items():
        spec = given if isinstance(given, Mapping) else {}
        facts = [str(spec["type"])] if isinstance(spec.get("type"), str) else []
        if isinstance(required, list) and name in required:
            facts.append("required")
        if isinstance(spec.get("enum"), list):
            facts.append("one of " + dumps(spec["enum"]))
        words.append(f"'{name}' ({', '.join(facts)})" if facts else f"'{name}'")
    return f"Expected: {', '.join(words)}."


def skip_turn_call(request: ParsedRequest) -> Call | None:
    """A valid call of the offered tool that skips the turn, or None.

    None also when it was called since the last user message: a model that says nothing twice
    would skip for ever.
    """
    tool = _system_tool("skip_turn", request.tools)
    if tool is None or any(call.recent and call.name == tool.name for call in request.calls):
        return None
    properties = tool.parameters.get("properties")
    required = tool.parameters.get("required")
    arguments = {
        name: _filler(properties.get(name) if isinstance(properties, Mapping) else None)
        for name in (required if isinstance(required, list) else [])
        if isinstance(name, str)
    }
    call = Call(f"call_{uuid.uuid4().hex[:24]}", tool.name, dumps(arguments))
    return check(call, request.tools).call


def _filler(spec: Any) -> Any:
    if not isinstance(spec, Mapping):
        return ""
    for keyword in ("default", "const"):
        if keyword in spec:
            return spec[keyword]
    if isinstance(spec.get("enum"), list) and spec["enum"]:
        return spec["enum"][0]
    kind = spec.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    empty: dict[Any, Any] = {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    return empty.get(kind, "Nothing needs to be said now.")


def without_heard_farewell(call: Call, spoken: str, tools: Mapping[str, Tool]) -> Call:
    """The call without its `message` if it ends the call and `spoken` holds the same farewell.

    The platform speaks `message` before it hangs up, so the caller would hear it twice. Case,
    punctuation and what was said around it do not matter. Where the schema requires `message`, it
    becomes empty.
    """
    tool = _system_tool("end_call", tools)
    if tool is None or call.name != tool.name:
        return call
    arguments, _ = _read(call.arguments)
    message = arguments.get("message") if arguments else None
    if arguments is None or not isinstance(message, str):
        return call
    heard = _words(message)
    if not heard.strip() or heard not in _words(spoken):
        return call
    required = tool.parameters.get("required")
    if isinstance(required, list) and "message" in required:
        arguments["message"] = ""
    else:
        del arguments["message"]
    return replace(call, arguments=dumps(arguments))


def _words(text: str) -> str:
    """Words in one case with one space around each, so that `bye` is not found in `goodbye`."""
    return " ".join(["", *re.findall(r"\w+", text.casefold()), ""])


def _system_tool(known: str, tools: Mapping[str, Tool]) -> Tool | None:
    for name, tool in tools.items():
        if normalised(name) == normalised(known):
            return tool
    said = [tool for tool in tools.values() if _SAYS[known].search(tool.description.casefold())]
    return said[0] if len(said) == 1 else None
