"""What the platform does when its own tools are called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.call.agent import Tool
from ops.call.system_tools import carry_out, misfit, offered

NAMES = (
    "end_call",
    "language_detection",
    "transfer_to_agent",
    "transfer_to_number",
    "skip_turn",
    "play_keypad_touch_tone",
    "voicemail_detection",
    "update_state",
)


def _tool(name: str, **settings: Any) -> Tool:
    tool = offered(name, settings)
    assert tool is not None
    return tool


@pytest.mark.parametrize(
    ("name", "arguments", "happens"),
    [
        ("end_call", {"reason": "done", "message": "Bye."}, {"ends": "hung_up", "says": "Bye."}),
        (
            "language_detection",
            {"reason": "asked", "language": "de"},
            {"language": "de", "asks_again": True},
        ),
        ("transfer_to_agent", {"agent_number": 1}, {"ends": "transferred", "shows": "to agent 1"}),
        (
            "transfer_to_number",
            {"transfer_number": "+15550100", "client_message": "Hold on.", "agent_message": "x"},
            {"ends": "transferred", "says": "Hold on.", "shows": "to +15550100"},
        ),
        ("skip_turn", {}, {"ends": None, "asks_again": False}),
        ("play_keypad_touch_tone", {"dtmf_tones": "1w#"}, {"shows": "tones 1w#", "ends": None}),
        ("voicemail_detection", {"reason": "a beep"}, {"ends": "voicemail", "says": "Call back."}),
        ("update_state", {"name": "Ada"}, {"state": {"name": "Ada"}, "asks_again": True}),
    ],
)
def test_each_tool_does_what_the_platform_does(
    name: str, arguments: dict[str, Any], happens: dict[str, Any]
) -> None:
    """A system tool takes effect at once, and the model is asked again only after some tools."""
    outcome = carry_out(_tool(name), json.dumps(arguments), voicemail_message="Call back.")
    assert outcome is not None
    assert outcome.unusable == ""
    assert {key: getattr(outcome, key) for key in happens} == happens


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("transfer_to_agent", '{"agent_number": "1"}', 'agent_number is "1", not integer'),
        ("transfer_to_agent", '{"agent_number": true}', "agent_number is true, not integer"),
        ("end_call", "{}", "reason is missing"),
        ("end_call", '{"reason": ', "no JSON"),
        ("skip_turn", "[]", "no object"),
        ("language_detection", '{"reason": "x", "language": "xx"}', "is not one of en, de, es"),
        ("play_keypad_touch_tone", '{"dtmf_tones": "one"}', "are no tones"),
        (
            "transfer_to_number",
            '{"transfer_number": "+1", "client_message": "", "agent_message": ""}',
            "is not one of +15550100",
        ),
    ],
)
def test_an_impossible_call_has_no_effect(name: str, arguments: str, why: str) -> None:
    """A call that does not fit its tool has no effect, and its result says why."""
    outcome = carry_out(_tool(name), arguments)
    assert outcome is not None
    assert why in outcome.unusable
    assert outcome.ends is None


def test_a_skipped_turn_has_no_words() -> None:
    """The platform skips a turn in silence, and words next to the call are reported."""
    outcome = carry_out(_tool("skip_turn"), "{}", already_said="Take your time.")
    assert outcome is not None
    assert "spoken words" in outcome.unusable


def test_settings_shape_what_is_offered() -> None:
    """Languages, agents and numbers appear in descriptions, variables in the schema."""
    assert "fr, it" in _tool("language_detection", languages=["fr", "it"]).description
    assert "1: spares" in _tool("transfer_to_agent", agents=["sales", "spares"]).description
    assert "+1999: Max" in _tool("transfer_to_number", numbers={"+1999": "Max"}).description
    state = _tool("update_state", variables={"age": "integer"})
    assert misfit(state, '{"age": "7"}').endswith('age is "7", not integer')


def test_another_tool_is_not_the_platforms() -> None:
    """A tool of the agent's own is not carried out by the platform."""
    assert offered("book_table") is None
    assert carry_out(Tool("book_table"), "{}") is None
    assert all(offered(name) for name in NAMES)
