"""Calls that models wrote as text, in the notations of many chat templates."""

from __future__ import annotations

import json
import time

import pytest

from completions.tools.loose_json import read_object
from completions.tools.written_calls import WrittenCall, looks_like_call, read_calls

ARGUMENTS = {"people": 4, "when": "19:00"}
JSON = json.dumps(ARGUMENTS)
ONE = ("book", ARGUMENTS)

NOTATIONS = {
    "Hermes": f'\n{{"name": "book", "arguments": {JSON}}}\n',
    "Llama": f'{{"name": "book", "parameters": {JSON}}}',
    "Llama, with a type": f'{{"type": "function", "name": "book", "parameters": {JSON}}}',
    "OpenAI": f'{{"id": "c", "type": "function", "function": '
    f'{{"name": "book", "arguments": {json.dumps(JSON)}}}}}',
    "a list": f'{{"tool_calls": [{{"function": {{"name": "book", "arguments": {JSON}}}}}]}}',
    "parallel": f'{{"tool_uses": [{{"recipient_name": "book", "parameters": {JSON}}}]}}',
    "Command R": f'[{{"tool_call_id": "0", "tool_name": "book", "parameters": {JSON}}}]',
    "single quotes": str({"name": "book", "arguments": ARGUMENTS}),
    "a fence": f'```json\n{{"name": "book", "arguments": {JSON}}}\n```',
    "Mistral": f'[{{"name": "book", "arguments": {JSON}}}]',
    "newer Mistral": f"book[ARGS]{JSON}",
    "Mistral, with an id": f"book[CALL_ID]a1b2c3d4e[ARGS]{JSON}",
    "Mistral, bare": f"book{JSON}",
    "Kimi": f"book:0<|tool_call_argument_begin|>{JSON}",
    "DeepSeek": f"function<｜tool▁sep｜>book\n```json\n{JSON}\n```",
    "newer DeepSeek": f"book<｜tool▁sep｜>{JSON}",
    "harmony": f"book\n{JSON}",
    "harmony, cut": f"book\n json{JSON}<|call|>",
    "XML with JSON": f"<function=book>{JSON}</function>",
    "XML, unclosed": f"<function=book>{JSON}",
    "XML, glued": f"<function=book{JSON}</function>",
    "call:": 'call:book{people:4,when:<|"|>19:00<|"|>}',
    "Python": "book(people=4, when='19:00')",
    "printed": "\nprint(default_api.book(people=4, when='19:00'))\n",
    "a dictionary": f"book({JSON})",
    "a list of calls": 'book(people=4, when="19:00"),',
    "Llama's tools": 'book.call(people=4, when="19:00")',
}
AS_TEXT = {
    "Qwen": "\n<function=book>\n<parameter=people>\n4\n</parameter>\n"
    "<parameter=when>\n19:00\n</parameter>\n</function>\n",
    "Qwen, unclosed": "<function=book>\n<parameter=people>\n4\n<parameter=when>\n19:00\n",
    "Anthropic": '<invoke name="book"><parameter name="people">4</parameter>\n'
    '<parameter name="when">19:00</parameter></invoke>',
    "DeepSeek 3.2": '<｜DSML｜invoke name="book">\n<｜DSML｜parameter name="people" '
    'string="false">4</｜DSML｜parameter>\n<｜DSML｜parameter name="when" string="true">19:00'
    "</｜DSML｜parameter>\n</｜DSML｜invoke>",
    "GLM": "book\n<arg_key>people</arg_key>\n<arg_value>4</arg_value>\n"
    "<arg_key>when</arg_key>\n<arg_value>19:00</arg_value>",
}
"""Their values are text, which is later coerced to the tool's schema."""


def understood(text: str) -> list[tuple[str, object]]:
    """Names, without a namespace, and decoded arguments."""
    return [(call.name.split(".")[-1], read_object(call.arguments)) for call in read_calls(text)]


@pytest.mark.parametrize("notation", NOTATIONS)
def test_each_notation_is_read(notation: str) -> None:
    """Name and arguments are found, whatever surrounds them."""
    assert understood(NOTATIONS[notation]) == [ONE]


@pytest.mark.parametrize("notation", AS_TEXT)
def test_parameters_in_elements_are_text(notation: str) -> None:
    """Line breaks at their ends are layout."""
    assert understood(AS_TEXT[notation]) == [("book", {"people": "4", "when": "19:00"})]


@pytest.mark.parametrize(
    "text",
    [
        f'[{{"name": "book", "arguments": {JSON}}}, {{"name": "list"}}]',
        f'{{"name": "book", "arguments": {JSON}}}\n{{"name": "list", "arguments": null}}',
        f'{{"name": "book", "arguments": {JSON}}}; {{"name": "list", "parameters": {{}}}}',
        f"<function=book>{JSON}</function><function=list></function>",
        '[book(people=4, when="19:00"), list()]',
        'book(people=4, when="19:00")\nlist()',
    ],
)
def test_several_calls_are_all_read(text: str) -> None:
    """They stand one after the other, or in a list."""
    assert understood(text) == [ONE, ("list", {})]


def test_javascripts_literals_are_understood() -> None:
    """Models write them into calls in Python's notation."""
    assert understood("f(a=true, b=null, c=[false], d={'e': -1})") == [
        ("f", {"a": True, "b": None, "c": [False], "d": {"e": -1}})
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "Hello there.",
        "a < b (or so)",
        "{}",
        "[1, 2]",
        '{"people": 4}',
        '{"name": "book", "arguments": {"people": 4',
        "book(people=people)",
        "book(people=open('x'))",
        "1 + 1",
        "(" * 5000,
        "[" * 5000,
        '{"name": ' * 3000,
    ],
)
def test_anything_else_is_no_call(text: str) -> None:
    """Words, data, half a call and programs cause no call."""
    assert read_calls(text) == []


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ('{"name": "book", "argum', True),
        ("[oops", True),
        ("<function", True),
        ("book(people=", True),
        ("book\n{", True),
        ("Hello there (I think).", False),
        ("a < b", False),
        ("press [1]", False),
    ],
)
def test_broken_calls_are_told_from_words(text: str, like: bool) -> None:
    """A call that cannot be read is asked for again, while words are spoken."""
    assert looks_like_call(text) is like


@pytest.mark.parametrize(
    "text",
    [
        " " * 16_000 + "x",
        "a" + " " * 16_000 + "{" + "}" * 100 + " " * 16_000 + "x",
        "<function=" * 1600,
        "<arg_key>" * 1800,
        "<function=f>" + "<parameter=p>" * 1200,
        "{" * 16_000,
        "a." * 8000 + "{",
        "<|x|>" * 3000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """Text that a caller may dictate must not block the event loop."""
    begun = time.process_time()
    read_calls(text)
    assert time.process_time() - begun < 0.5


def test_arguments_that_are_not_json_are_kept_for_the_check() -> None:
    """The model learns from it what is wrong."""
    assert read_calls("<function=f>people: 4</function>") == [WrittenCall("f", "people: 4")]
