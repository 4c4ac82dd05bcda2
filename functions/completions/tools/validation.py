"""Checks a complete tool call against the tools of its request, and coerces it if that helps.

Explains to the model what is wrong with any other call. The rules of the voice platform's own
tools are in `system_tools`. Does not know events, time or retries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from completions.dialects.deltas import Call
from completions.dialects.request import Tool
from completions.immutable import immutable
from completions.tools.coercion import coerced
from completions.tools.loose_json import LIMIT_CHARS, dumps, read_object, read_strictly
from completions.tools.schemas import Schema
from completions.tools.system_tools import with_enum_hints
from completions.tools.value_conversions import normalised
from completions.tools.wrapped_arguments import unwrapped

_PROBLEM_LIMIT_CHARS = 800

# What models put around a name: `functions.end_call`, `default_api:end_call`,
# `end_call<|channel|>`.
_NAMESPACE = re.compile(r"^.*[.:/]")
_JUNK = re.compile(r"(<\||[({\s\"'`]).*$", re.DOTALL)

_PLACEHOLDER = re.compile(
    r"\s*(?:<[a-z][\w ,.'-]*>|\{\{?\s*[a-z_][\w .-]*\}?\}|\[[a-z][\w ,.'-]*\]|placeholder|todo)\s*",
    re.IGNORECASE,
)
"""What a model writes in place of a value it lacks: `<reason>`, `{{reason}}`, `[reason]`."""


@immutable
class Verdict:
    """The result of a check.

    `call` may be delivered, and `changed` says that it differs from what the model wrote. Where
    `call` is None, `problem` tells the model what is wrong and what is expected.
    """

    call: Call | None
    changed: bool = False
    problem: str | None = None


def check(call: Call, tools: Mapping[str, Tool]) -> Verdict:
    """Check the call against the offered tool, and coerce it if it does not fit. Never raises.

    A valid call is returned to the letter. A tool whose schema cannot be used accepts every JSON
    object.
    """
    name = offered_name(call.name, tools)
    if name is None:
        offered = ", ".join(tools) or "none"
        return _rejected(f"There is no tool '{call.name[:80]}'. Offered are: {offered}.")
    strict = read_strictly(call.arguments)
    arguments = read_object(call.arguments) if strict is None else strict
    tool = with_enum_hints(tools[name])
    if arguments is None:
        problem = "its arguments must be one JSON object, each name in it once"
        return _rejected(f"The call of '{name}' is not valid: {problem}. {_expected(tool)}")
    schema = Schema(tool.parameters)
    violations = schema.violations(arguments)
    fitting: dict[str, Any] | None = arguments
    if violations:
        small = len(call.arguments) <= LIMIT_CHARS
        inner = unwrapped(arguments, name, schema.properties) if small else arguments
        violations = violations if inner is arguments else schema.violations(inner)
        fitting = coerced(inner, schema) if small else None
    if fitting is None:
        problem = "; ".join(dict.fromkeys(map(str, violations[:5])))
        return _rejected(f"The call of '{name}' is not valid: {problem}. {_expected(tool)}")
    if blank := _placeholders(fitting, schema):
        required = tool.parameters.get("required")
        if needed := [one for one in blank if isinstance(required, list) and one in required]:
            problem = "; ".join(f"{one}: the value is a placeholder" for one in needed)
            return _rejected(f"The call of '{name}' is not valid: {problem}. {_expected(tool)}")
        fitting = {key: value for key, value in fitting.items() if key not in blank}
    if fitting is strict:
        if name == call.name:
            return Verdict(call)
        return Verdict(replace(call, name=name), changed=True)
    return Verdict(replace(call, name=name, arguments=dumps(fitting)), changed=True)


def _rejected(problem: str) -> Verdict:
    return Verdict(None, problem=problem[:_PROBLEM_LIMIT_CHARS])


def offered_name(name: str, tools: Mapping[str, Tool]) -> str | None:
    """Return the name of the one offered tool that a model's spelling can mean, or None."""
    if name in tools:
        return name
    bare = _JUNK.sub("", name.strip(" \t\r\n\"'`"))
    for spelling in (bare, _NAMESPACE.sub("", bare)):
        alike = [offered for offered in tools if normalised(offered) == normalised(spelling)]
        if len(alike) == 1 and normalised(spelling):
            return alike[0]
    return None


def _placeholders(arguments: Mapping[str, Any], schema: Schema) -> list[str]:
    """Return the names of arguments whose values are placeholders."""
    blank = []
    for name, value in arguments.items():
        spec = schema.properties.get(name)
        listed = isinstance(spec, Mapping) and ("enum" in spec or "const" in spec)
        if isinstance(value, str) and not listed and _PLACEHOLDER.fullmatch(value):
            blank.append(name)
    return blank


def _expected(tool: Tool) -> str:
    """Describe the parameters to the model."""
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
