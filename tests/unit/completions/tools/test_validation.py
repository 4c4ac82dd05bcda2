"""Complete tool calls checked against the tools of one request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.dialects.deltas import Call
from completions.dialects.request import Tool
from completions.tools.validation import Verdict, check


def tool(name: str, description: str = "", *, required: str = "", **properties: Any) -> Tool:
    """A tool; a property is a schema or the name of a type."""
    specs = {
        key: {"type": spec} if isinstance(spec, str) else spec for key, spec in properties.items()
    }
    schema = {"type": "object", "properties": specs, "required": required.split()}
    return Tool(name, description, schema)


def offered(*tools: Tool) -> dict[str, Tool]:
    """The tools of a request."""
    return {one.name: one for one in tools}


END_CALL = tool("end_call", required="reason", reason="string", message="string")
LANGUAGE = tool(
    "language_detection",
    required="reason language",
    reason="string",
    language={"type": "string", "enum": ["en", "de"]},
)
TO_AGENT = tool("transfer_to_agent", required="agent_number", agent_number="integer")
SKIP = tool("skip_turn", reason="string")
TONES = tool("play_keypad_touch_tone", required="dtmf_tones", dtmf_tones="string", reason="string")
TOOLS = offered(END_CALL, LANGUAGE, TO_AGENT, SKIP, TONES)


def called(name: str, arguments: str, tools: dict[str, Tool] = TOOLS) -> Verdict:
    """Check a call."""
    return check(Call("call_1", name, arguments), tools)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("end_call", '{"reason": "done"}'),
        ("end_call", ' {"reason":"done",\n "message": "Bye!" }'),
        ("transfer_to_agent", '{"agent_number":0}'),
        ("skip_turn", "{}"),
    ],
)
def test_a_valid_call_is_not_changed(name: str, arguments: str) -> None:
    """Even its white space stays."""
    call = Call("call_1", name, arguments)
    assert check(call, TOOLS) == Verdict(call, changed=False, problem=None)


@pytest.mark.parametrize(
    ("name", "arguments", "delivered"),
    [
        ("transfer_to_agent", '{"agent_number": "0"}', '{"agent_number":0}'),
        ("end_call", "```json\n{'reason': 'done'}\n```", '{"reason":"done"}'),
        ("end_call", '{"reason": "done", "message": "<farewell>"}', '{"reason":"done"}'),
        ("skip_turn", "", "{}"),
        ("end_call", '{"reason":"done","reason":"done"}', '{"reason":"done"}'),
        ("transfer_to_agent", '{"arguments": {"agent_number": "0"}}', '{"agent_number":0}'),
        ("play_keypad_touch_tone", '{"input": "{\\"dtmf_tones\\": 2}"}', '{"dtmf_tones":"2"}'),
        ("transfer_to_agent", '{}{"agent_number":0}', '{"agent_number":0}'),
    ],
    ids=[
        "coerced",
        "read loosely",
        "placeholder dropped",
        "no arguments",
        "said twice",
        "wrapped",
        "wrapped as text",
        "behind an empty object",
    ],
)
def test_misspelt_arguments_become_valid(name: str, arguments: str, delivered: str) -> None:
    """The call is delivered with compact JSON that fits the schema, marked as changed."""
    assert called(name, arguments) == Verdict(Call("call_1", name, delivered), changed=True)


@pytest.mark.parametrize(
    "name",
    [
        "End_Call",
        " end_call ",
        "functions.end_call",
        "default_api:end_call",
        "endCall",
        "end-call",
        "end_call()",
        "end_call<|channel|>commentary",
        "functions/end_call",
        '"end_call"',
    ],
)
def test_a_misspelt_name_is_corrected(name: str) -> None:
    """The only tool that can be meant is called with the same arguments."""
    arguments = '{"reason": "done"}'
    assert called(name, arguments) == Verdict(Call("call_1", "end_call", arguments), changed=True)


@pytest.mark.parametrize("name", ["hang_up", "", "()", "end", "."])
def test_an_unknown_tool_is_explained(name: str) -> None:
    """The model is told which tools are offered."""
    verdict = called(name, "{}")
    assert verdict.call is None
    assert verdict.problem == (
        f"There is no tool '{name}'. Offered are: end_call, language_detection, "
        "transfer_to_agent, skip_turn, play_keypad_touch_tone."
    )


def test_a_name_that_fits_two_tools_is_unknown() -> None:
    """Only the exact name finds one of them."""
    tools = offered(tool("end_call"), tool("endCall"))
    assert called("END_CALL", "{}", tools).call is None
    assert called("endCall", "{}", tools).changed is False


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        (
            "transfer_to_agent",
            '{"agent_number": "the repair shop"}',
            (
                "The call of 'transfer_to_agent' is not valid: agent_number: the value is not of "
                "type \"integer\". Expected: 'agent_number' (integer, required)."
            ),
        ),
        (
            "language_detection",
            '{"reason": "r", "language": "fr"}',
            (
                "The call of 'language_detection' is not valid: language: the value is not one of "
                "\"en\" or \"de\". Expected: 'reason' (string, required), 'language' (string, "
                'required, one of ["en","de"]).'
            ),
        ),
        (
            "end_call",
            "{}",
            (
                "The call of 'end_call' is not valid: the object: \"reason\" is a required "
                "property. Expected: 'reason' (string, required), 'message' (string)."
            ),
        ),
        (
            "end_call",
            '{"reason": "cut in the mid',
            (
                "The call of 'end_call' is not valid: its arguments must be one JSON object, "
                "each name in it once. Expected: 'reason' (string, required), 'message' (string)."
            ),
        ),
    ],
)
def test_an_invalid_call_is_explained(name: str, arguments: str, problem: str) -> None:
    """The model learns what is wrong and what is expected, without its own values."""
    assert called(name, arguments) == Verdict(None, problem=problem)


WEIGH = tool("weigh", required="kg", kg="number", note="string", of="object")


@pytest.mark.parametrize(
    "arguments",
    [
        '{"kg":1,"kg":2}',
        '{"kg":2,"note":"a","note":"b"}',
        '{"kg":1,"of":{"a":1,"a":2}}',
        '{"kg":1,"kg":true}',
        '{"kg":1e999}',
        '{"kg":1,"note":1e999}',
        '{"kg":-1e999}',
        '{"kg":1e-999}',
        '{"kg":"1e999"}',
        '{"kg":"1e-999"}',
        '{"kg":1,"note":"\\ud83d"}',
        '{"kg":1,"of":{"\\udc00":1}}',
        "{'kg': 1, 'kg': 2}",
        '{"kg":1}{"kg":true}',
    ],
)
def test_an_ambiguous_value_is_asked_for_again(arguments: str) -> None:
    """Two values for a name, a number beyond a double and half a character are not guessed."""
    verdict = called("weigh", arguments, offered(WEIGH))
    assert verdict.call is None
    assert verdict.problem


@pytest.mark.parametrize(
    ("spec", "arguments"),
    [
        ({"default": float("inf")}, "{}"),
        ({"const": float("inf")}, "{}"),
        ({"enum": [float("inf")]}, '{"kg":"inf"}'),
    ],
    ids=str,
)
def test_a_schema_with_infinity_fills_in_nothing(spec: Any, arguments: str) -> None:
    """A caller's `1e999` is read as Infinity, and a call with it would be no JSON."""
    assert called("weigh", arguments, offered(tool("weigh", required="kg", kg=spec))).call is None


STRICTLY = Tool(
    "hold",
    "",
    {
        "properties": {"seconds": {"type": "integer", "default": 5}},
        "required": ["seconds"],
        "additionalProperties": False,
    },
)


def test_wrapped_arguments_are_not_replaced_by_defaults() -> None:
    """The model said the inner values, not the default or an empty object."""
    verdict = called("hold", '{"parameters": {"seconds": 30}}', offered(STRICTLY))
    assert verdict == Verdict(Call("call_1", "hold", '{"seconds":30}'), changed=True)
    problem = called("hold", '{"parameters": {"seconds": "long"}}', offered(STRICTLY)).problem
    assert problem is not None
    assert "seconds: the value is not of type" in problem


def test_a_tool_with_an_impossible_schema_is_still_called() -> None:
    """The mistake is its author's, and no other call could fix it."""
    seats = {"type": "integer", "enum": ["2", "4"]}
    tools = offered(tool("book", required="seats gone", seats=seats))
    assert called("book", '{"seats":4}', tools) == Verdict(Call("call_1", "book", '{"seats":4}'))
    assert called("book", '{"seats":"4"}', tools).call == Call("call_1", "book", '{"seats":4}')
    assert called("book", '{"seats":3}', tools).call is None


def test_a_tool_with_an_unusable_schema_accepts_every_object() -> None:
    """A caller's broken schema must not block calls."""
    tools = offered(Tool("a", "", {"type": "nonsense"}), Tool("b"))
    for name in tools:
        assert called(name, '{"x": 1}', tools).changed is False
        assert called(name, "[1]", tools).call is None


@given(st.text(), st.text(), st.dictionaries(st.text(max_size=3), st.text() | st.none()))
def test_nothing_raises(name: str, arguments: str, schema: dict[str, Any]) -> None:
    """For any text and schema the call is valid JSON or explained."""
    tools = {**TOOLS, name: Tool(name, "", {"properties": schema, "required": schema})}
    for one in (name, "end_call"):
        verdict = called(one, arguments, tools)
        assert (verdict.call is None) == (verdict.problem is not None)
        if verdict.call:
            assert isinstance(json.loads(verdict.call.arguments), dict)
