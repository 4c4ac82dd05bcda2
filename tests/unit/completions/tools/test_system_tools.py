"""The platform's own tools: recognised by name or description, each with its rule."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from completions.dialects.deltas import Call
from completions.dialects.request import ParsedRequest, PastCall, Tool
from completions.tools.system_tools import (
    detected_language,
    skip_turn_call,
    with_enum_hints,
    without_heard_farewell,
)
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
SKIP = tool("skip_turn", reason="string")


def values(name: str, parameter: str, says: str, **spec: Any) -> Any:
    """Return the values that the parameter may have, or None for any."""
    properties = {parameter: {"type": "string", **spec}, "reason": {"type": "string"}}
    tool = Tool(name, says, {"type": "object", "properties": properties})
    return with_enum_hints(tool).parameters["properties"][parameter].get("enum")


def test_only_values_listed_in_a_description_are_allowed() -> None:
    """The tool's or the parameter's description counts; without a list, anything is allowed."""
    for name, parameter, listed, found in (
        ("language_detection", "language", "Available: en, de.", ["en", "de"]),
        ("transfer_to_number", "transfer_number", "+15550100: the workshop.", ["+15550100"]),
    ):
        assert values(name, parameter, listed) == found
        assert values(name, parameter, "Hands over.", description=listed) == found
        assert values(name, parameter, "Hands over.") is None


def test_a_schema_with_an_enum_is_not_changed() -> None:
    """Other types, other tools and tools without properties do not change either."""
    described = "Available: en, de."
    assert values("language_detection", "language", described, enum=["fr"]) == ["fr"]
    assert values("language_detection", "language", described, type="integer") is None
    assert values("translate", "language", described) is None
    bare = Tool("language_detection", described, {"properties": None})
    assert with_enum_hints(bare) is bare


def asking(*tools: Tool, calls: tuple[PastCall, ...] = ()) -> ParsedRequest:
    """A request with these tools."""
    return ParsedRequest({}, stream=True, model="m", tools=offered(*tools), calls=calls)


def test_a_turn_is_skipped_with_the_offered_tool() -> None:
    """The call has its own id and only required arguments."""
    call = skip_turn_call(asking(END_CALL, SKIP))
    assert call is not None
    assert (call.name, call.arguments) == ("skip_turn", "{}")
    assert call.id.startswith("call_")
    assert call.id != (skip_turn_call(asking(SKIP)) or call).id


def test_required_arguments_of_a_skipped_turn_are_filled() -> None:
    """They have the right types and pass the check."""
    skip = tool(
        "skip_turn",
        required="reason kind seconds quiet until notes where",
        reason="string",
        kind={"type": "string", "enum": ["wait", "think"]},
        seconds="integer",
        quiet="boolean",
        until={"const": "speech"},
        notes="array",
        where={"type": ["object", "null"]},
    )
    call = skip_turn_call(asking(skip))
    assert call is not None
    assert check(call, offered(skip)) == Verdict(call)
    assert json.loads(call.arguments)["kind"] == "wait"


def test_a_turn_is_not_skipped_without_the_tool() -> None:
    """No other tool is called instead."""
    assert skip_turn_call(asking(END_CALL)) is None


def test_two_tools_that_could_skip_are_both_ignored() -> None:
    """If two renamed tools' descriptions fit, neither is recognised."""
    renamed = [tool(name, "Skips the turn.") for name in ("wait", "wait_more")]
    assert skip_turn_call(asking(*renamed)) is None


@pytest.mark.parametrize(
    "description",
    [
        "Skip a turn when the user needs a moment.",
        "Lets the agent stay silent until spoken to.",
        "Use this to pass your turn.",
        "Skips the agent's turn.",
    ],
)
def test_a_renamed_tool_is_known_by_its_description(description: str) -> None:
    """The platform lets people rename its tools."""
    renamed = tool("wait_quietly", description)
    call = skip_turn_call(asking(replace(END_CALL, description="Ends the call."), renamed))
    assert call is not None
    assert call.name == "wait_quietly"


def test_a_turn_is_skipped_once_for_each_user_message() -> None:
    """A model that is silent twice would leave the caller alone."""
    recent = PastCall("skip_turn", "{}", recent=True)
    assert skip_turn_call(asking(SKIP, calls=(recent,))) is None
    assert skip_turn_call(asking(SKIP, calls=(replace(recent, recent=False),))) is not None


def end(message: str) -> Call:
    """A call that ends the call."""
    return Call("call_1", "end_call", json.dumps({"reason": "done", "message": message}))


@pytest.mark.parametrize(
    "spoken",
    [
        "Goodbye, and take care!",
        "goodbye and take care",
        "All done. Goodbye, and take care... ",
        "Goodbye — and take care. Thank you.",
    ],
)
def test_a_farewell_that_was_heard_is_not_spoken_again(spoken: str) -> None:
    """Otherwise the platform would speak the call's message after the same words."""
    call = without_heard_farewell(end("Goodbye, and take care."), spoken, offered(END_CALL))
    assert call == Call("call_1", "end_call", '{"reason":"done"}')


@pytest.mark.parametrize(
    ("spoken", "message"),
    [
        ("", "Goodbye."),
        ("Goodbye.", "Goodbye, and take care."),
        ("Goodbye.", "Bye."),
        ("Goodbye.", ""),
        ("Goodbye.", "..."),
    ],
)
def test_another_farewell_stays(spoken: str, message: str) -> None:
    """A message that was not heard as a whole is still to be spoken."""
    call = end(message)
    assert without_heard_farewell(call, spoken, offered(END_CALL)) is call


def test_a_required_message_becomes_empty() -> None:
    """The call stays valid where the schema requires a message."""
    required = tool("end_call", required="reason message", reason="string", message="string")
    call = without_heard_farewell(end("Goodbye."), "Goodbye!", offered(required))
    assert json.loads(call.arguments) == {"reason": "done", "message": ""}


def test_only_the_end_of_a_call_loses_its_message() -> None:
    """The platform speaks the message of its own tool, renamed or not, and of no other."""
    tools = offered(END_CALL, tool("send_text", "Sends a text.", message="string"))
    call = replace(end("Goodbye."), name="send_text")
    assert without_heard_farewell(call, "Goodbye.", tools) is call
    renamed = offered(tool("hang_up", "Ends the call when all is said.", message="string"))
    call = replace(end("Goodbye."), name="hang_up")
    assert without_heard_farewell(call, "Goodbye.", renamed).arguments == '{"reason":"done"}'


SWITCHES = tool("switch", required="reason language", reason={}, language={})
TRANSLATES = tool("translate", required="language", language={}, text={})


@pytest.mark.parametrize(
    ("name", "language"),
    [("language_detection", "de"), ("switch", "de"), ("translate", None), ("gone", None)],
)
def test_a_past_detection_sets_the_language(name: str, language: str | None) -> None:
    """A renamed tool is known by its schema: a language, a reason, and no other parameter."""
    call = PastCall(name, '{"reason": "r", "language": "de"}', recent=False)
    assert detected_language(call, offered(SWITCHES, TRANSLATES)) == language


@pytest.mark.parametrize("arguments", ["", "[]", "{", '{"language": 1}', '{"language": null}'])
def test_a_broken_past_detection_is_ignored(arguments: str) -> None:
    """Histories hold whatever models wrote."""
    assert detected_language(PastCall("language_detection", arguments, recent=True), {}) is None
