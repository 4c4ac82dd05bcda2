"""Reads the tool calls that a model wrote as text, in the notations of many chat templates.

Knows the text between the marks of a call; `speech.marks` knows the marks, `dictated_calls` which
calls only repeat the caller, and `validation` which are valid.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

from completions.immutable import immutable
from completions.tools.loose_json import LIMIT_CHARS, dumps, read_object

_SPECIAL = r"(?:<[|｜][^<>]{1,40}[|｜]>|</s>)"
_LAST_SPECIAL = re.compile(_SPECIAL + r"\Z")
_KIND = re.compile(rf"(?:call:|function\s?{_SPECIAL})\s?")
"""What Gemma and DeepSeek write before a name."""
_QUOTE = re.compile(r'<\|"\|>|<escape>')  # Gemma 4's quotation mark, and FunctionGemma's.
_NAME = r"[A-Za-z_][\w.\-/]*"
_ELEMENT = re.compile(
    r"<(?:[|｜]DSML[|｜])?(?:function|invoke)(?:\s+name)?\s*=\s*[\"']?"
    rf"({_NAME}(?::{_NAME})?)[\"']?\s*>?(.*?)"
    r"(?:</(?:[|｜]DSML[|｜])?(?:function|invoke)>|\Z)",
    re.DOTALL,
)
_PARAMETER = re.compile(
    r"<(?:[|｜]DSML[|｜])?parameter(?:\s+name)?\s*=\s*[\"']?([\w.\-]+)[\"']?[^>]*>\n?(.*?)\n?"
    r"(?:</(?:[|｜]DSML[|｜])?parameter>|(?=<(?:[|｜]DSML[|｜])?parameter\b)|\Z)",
    re.DOTALL,
)
_PAIR = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
"""GLM's arguments, after the name."""
_BETWEEN = rf"(?:\s|:\d+\b|{_SPECIAL}|\[CALL_ID\][^\[\s]*|\[ARGS\]|```(?:json)?|\bjson\b)*"
"""What may come between a name and its arguments: Kimi's number, separators, a fence."""
_NAMED_OBJECT = re.compile(rf"({_NAME}){_BETWEEN}(\{{.*\}}){_BETWEEN}\Z", re.DOTALL)
NAME_KEYS = ("name", "tool_name", "function_name", "recipient_name", "tool", "function", "action")
ARGUMENT_KEYS = (
    "arguments",
    "parameters",
    "args",
    "input",
    "tool_input",
    "action_input",
    "params",
    "kwargs",
)
LIST_KEYS = ("tool_calls", "tool_uses", "function_calls", "calls", "function_call", "tool_call")
_WORDS_OF_JSON = {"true": True, "false": False, "null": None}


@immutable
class WrittenCall:
    """A call as the model wrote it; `arguments` is JSON, or was meant to be."""

    name: str
    arguments: str


def read_calls(text: str) -> list[WrittenCall]:
    """Return the calls in the text between two marks; none if it holds anything else."""
    text = text.strip()
    while last := _LAST_SPECIAL.search(text[-48:]):
        text = text[: -len(last[0])].rstrip()
    if found := [_element(one) for one in _ELEMENT.finditer(text)]:
        return found
    if len(text) <= LIMIT_CHARS and (pairs := _PAIR.findall(text)):
        name = text[: text.index("<arg_key>")].strip()
        values = {key.strip(): value.strip("\n") for key, value in pairs}
        return [WrittenCall(name, dumps(values))] if name else []
    return list(_in_json(text)) or list(_named(text)) or list(in_python(text))


def looks_like_call(text: str) -> bool:
    """Return whether the text between two marks looks like a call, though none can be read."""
    return bool(re.match(rf"\s*(?:[\[{{<]|{_NAME}[({{\[<])", text)) or "\n{" in text


def without_fence(text: str) -> str:
    """Return the content of a code block, or the text itself if it is not one."""
    text = text.strip()
    if not text.startswith("```"):
        return text
    return text.removeprefix("```").removeprefix("json").removesuffix("```").strip()


def _element(found: re.Match[str]) -> WrittenCall:
    name, content = found[1], found[2].strip()
    if values := _PARAMETER.findall(content):
        return WrittenCall(name, dumps(dict(values)))
    return WrittenCall(name, content.removeprefix(">").strip() or "{}")


def _named(text: str) -> Iterator[WrittenCall]:
    """Yield the call that a name with an object after it makes."""
    text = _KIND.sub("", _QUOTE.sub('"', text), count=1)
    if len(text) <= LIMIT_CHARS and (found := _NAMED_OBJECT.match(text)):
        yield WrittenCall(found[1], found[2])


def _in_json(text: str) -> Iterator[WrittenCall]:
    """Yield the calls of objects, in a list or one after the other."""
    for value in _values(text):
        yield from _of_value(value)


def _values(text: str) -> list[Any]:
    """Return the JSON values that make up the text; empty if there is anything else in it."""
    text = without_fence(text)
    if text[:1] not in {"{", "["}:
        return []
    values: list[Any] = []
    position = 0
    try:
        while position < len(text):
            value, position = _DECODER.raw_decode(text, position)
            values.append(value)
            while position < len(text) and text[position] in " \t\r\n;,":
                position += 1
    except (ValueError, RecursionError):
        if text[0] == "[":
            read = read_object('{"calls": ' + text + "}")
            return [read["calls"]] if read else []
        read = read_object(text) if text.endswith("}") else None
        return [read] if read else []
    return values


_DECODER = json.JSONDecoder(strict=False)


def _of_value(value: Any) -> Iterator[WrittenCall]:
    if isinstance(value, list):
        for one in value:
            yield from _of_value(one)
    if not isinstance(value, dict):
        return
    for key in LIST_KEYS:
        if isinstance(value.get(key), dict | list):
            yield from _of_value(value[key])
            return
    if isinstance(value.get("function"), dict):
        yield from _of_value(value["function"])
        return
    name = next((value[key] for key in NAME_KEYS if isinstance(value.get(key), str)), None)
    if name:
        arguments = next((value[key] for key in ARGUMENT_KEYS if key in value), None)
        text = arguments if isinstance(arguments, str) else dumps(arguments or {})
        yield WrittenCall(name, text)


def in_python(text: str) -> Iterator[WrittenCall]:
    """Yield the calls of an expression: `f(x=1)`, `print(api.f(x=1))`, `[f(x=1), g()]`."""
    if len(text) > LIMIT_CHARS or "(" not in text:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Warnings about the text as a program do not matter.
            body = ast.parse(text).body
        nodes = [node.value for node in body if isinstance(node, ast.Expr)]
        nodes = [one for node in nodes for one in _elements(node)]
        yield from [_of_node(node) for node in nodes]
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError, LookupError):
        return


def _elements(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
        return list(node.args)
    return list(node.elts) if isinstance(node, ast.List | ast.Tuple) else [node]


def _of_node(node: ast.expr) -> WrittenCall:
    if not isinstance(node, ast.Call):
        raise TypeError("no call")
    name = ast.unparse(node.func).removesuffix(".call")
    arguments: dict[str, Any] = {}
    for position in node.args:
        arguments |= dict(_literal(position))
    for keyword in node.keywords:
        arguments |= {keyword.arg: _literal(keyword.value)} if keyword.arg else {}
    return WrittenCall(name, dumps(arguments))


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return _WORDS_OF_JSON[node.id]
    if isinstance(node, ast.Dict):
        return {
            ast.literal_eval(key): _literal(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(one) for one in node.elts]
    return ast.literal_eval(node)
