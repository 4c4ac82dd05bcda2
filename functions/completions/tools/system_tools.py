"""Everything known about the voice platform's own tools ("system tools").

Knows how to recognise each one, and its rules:

- `language_detection` and `transfer_to_number` list the values of a parameter in words only;
- `skip_turn` is called for a model that says nothing;
- `end_call` must not speak a farewell that the caller has just heard;
- `language_detection` in the history tells which language is spoken.

A new system tool gets a row in `_TOOLS`, and a function here if it has its own rule. The
parameters of a tool are always those of the request. Does not know how calls are checked
(`validation`), events or time.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from completions.dialects.deltas import Call
from completions.dialects.request import ParsedRequest, PastCall, Tool
from completions.immutable import immutable
from completions.tools.loose_json import dumps, read_object
from completions.tools.value_conversions import normalised


@immutable
class _SystemTool:
    """One of the platform's tools, under the name that the platform gives it."""

    name: str
    says: re.Pattern[str] | None = None
    """Matches its description, lower-cased: the platform lets people rename its tools."""
    listed: tuple[str, Callable[[str], list[str]]] | None = None
    """A parameter whose values only the description lists, and how to read them there."""


def _language_codes(text: str) -> list[str]:
    from completions.tools import listed_values  # Patterns that only such a tool needs.

    return listed_values.language_codes(text)


def _phone_numbers(text: str) -> list[str]:
    from completions.tools import listed_values

    return listed_values.phone_numbers(text)


_TOOLS = (
    _SystemTool(
        "skip_turn",
        says=re.compile(r"\b(skip|pass)\w*\b.{0,30}\bturn\b|\b(stay|remain)\w*\b.{0,20}\bsilent\b"),
    ),
    _SystemTool(
        "end_call",
        says=re.compile(
            r"\b(end|ends|ending|terminat\w+|hangs? up|finish\w*)\b.{0,20}\b(call|conversation)\b"
        ),
    ),
    _SystemTool("language_detection", listed=("language", _language_codes)),
    _SystemTool("transfer_to_number", listed=("transfer_number", _phone_numbers)),
)
_BY_NAME = {normalised(known.name): known for known in _TOOLS}


def _offered(name: str, tools: Mapping[str, Tool]) -> Tool | None:
    """Return the request's tool that is the platform's `name`, even if renamed, or None."""
    for offered, tool in tools.items():
        if normalised(offered) == normalised(name):
            return tool
    says = _BY_NAME[normalised(name)].says
    alike = [tool for tool in tools.values() if says and says.search(tool.description.casefold())]
    return alike[0] if len(alike) == 1 else None


def with_enum_hints(tool: Tool) -> Tool:
    """Return the tool with an `enum` of the values that its description lists in words.

    The platform writes languages and telephone numbers into descriptions, and a value that the
    model makes up takes the caller nowhere. Applies to tools under the platform's own name.
    """
    known = _BY_NAME.get(normalised(tool.name))
    if known is None or known.listed is None:
        return tool
    parameter, values_in = known.listed
    properties = tool.parameters.get("properties")
    spec = properties.get(parameter) if isinstance(properties, Mapping) else None
    if (
        not isinstance(properties, Mapping)
        or not isinstance(spec, Mapping)
        or spec.get("type") != "string"
        or spec.get("enum") is not None
    ):
        return tool
    text = f"{tool.description}\n{spec.get('description') or ''}"
    if not (values := values_in(text)):
        return tool
    hinted = {**properties, parameter: {**spec, "enum": values}}
    return replace(tool, parameters={**tool.parameters, "properties": hinted})


def skip_turn_call(request: ParsedRequest) -> Call | None:
    """Make up a call of the offered tool that skips the turn; None if there is no such tool.

    Also None if the tool was called since the last user message: a model that says nothing twice
    would skip for ever. Required arguments are filled in by their types alone, so the call must
    still be checked.
    """
    tool = _offered("skip_turn", request.tools)
    if tool is None or any(call.recent and call.name == tool.name for call in request.calls):
        return None
    properties = tool.parameters.get("properties")
    required = tool.parameters.get("required")
    arguments = {
        name: _made_up_value(properties.get(name) if isinstance(properties, Mapping) else None)
        for name in (required if isinstance(required, list) else [])
        if isinstance(name, str)
    }
    return Call(f"call_{secrets.token_hex(12)}", tool.name, dumps(arguments))


def _made_up_value(spec: Any) -> Any:
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
    """Drop `message` from a call of `end_call` if `spoken` already holds the same farewell.

    The platform speaks `message` before it hangs up, so the caller would hear it twice. Case,
    punctuation and the words around it do not matter. Where the schema requires `message`, it
    becomes empty. Every other call is returned unchanged.
    """
    tool = _offered("end_call", tools)
    if tool is None or call.name != tool.name:
        return call
    arguments = read_object(call.arguments)
    message = arguments.get("message") if arguments else None
    if arguments is None or not isinstance(message, str):
        return call
    farewell = _spaced_words(message)
    if not farewell.strip() or farewell not in _spaced_words(spoken):
        return call
    required = tool.parameters.get("required")
    if isinstance(required, list) and "message" in required:
        arguments["message"] = ""
    else:
        del arguments["message"]
    return replace(call, arguments=dumps(arguments))


def _spaced_words(text: str) -> str:
    """Return the words in one case, a space around each, so that `bye` is not in `goodbye`."""
    return " ".join(["", *re.findall(r"\w+", text.casefold()), ""])


def detected_language(call: PastCall, tools: Mapping[str, Tool]) -> str | None:
    """Return the language code that a past call of `language_detection` switched to, or None."""
    try:
        arguments = from_json(call.arguments)
    except ValueError:
        return None
    language = arguments.get("language") if isinstance(arguments, dict) else None
    if not isinstance(language, str):
        return None
    if call.name == "language_detection":
        return language
    parameters = tools[call.name].parameters if call.name in tools else {}
    required, properties = parameters.get("required"), parameters.get("properties")
    # Even renamed, it is the only tool that takes a language and perhaps a reason.
    switches = (
        isinstance(required, list)
        and "language" in required
        and isinstance(properties, Mapping)
        and set(properties) <= {"language", "reason"}
    )
    return language if switches else None
