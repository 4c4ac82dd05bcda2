"""The voice platform's system tools, each with a conversation that needs it and calls of it.

The conversations are those of the event files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.scripted.script import Script
from tests.support import history
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Heard
from tests.support.ways import Answer, Way

EVENTS = Path(__file__).parents[2] / "events"


@dataclass(frozen=True)
class Case:
    """A system tool with good calls, misspelt calls that are coerced, and invalid calls."""

    good: Mapping[str, Any]
    coerced: Mapping[str, Mapping[str, Any]]
    """What a model may write, and which arguments must arrive."""
    invalid: Mapping[str, str]
    """What a model may write, and which words its feedback must contain."""
    says: str = ""
    """What models often say in the same turn."""


def event(name: str) -> dict[str, Any]:
    """Return the request in the tool's event file."""
    path = EVENTS / f"url-chat-tool-{name.replace('_', '-')}.json"
    body: dict[str, Any] = json.loads(json.loads(path.read_text())["body"])
    return body


DONE = {"reason": "All is done."}
TONES = {"reason": "Navigating to customer service", "dtmf_tones": "2"}
PERSON = {
    "transfer_number": "+15550101",
    "client_message": "One moment, I connect you.",
    "agent_message": "A complaint.",
}
CASES: dict[str, Case] = {
    "end_call": Case(
        {"reason": "All is done.", "message": "Goodbye!"},
        {
            '{"reason": "All is done.",}': DONE,
            '```json\n{"reason": "All is done."}\n```': DONE,
            "{'reason': 'All is done.'}": DONE,
            '{"reason": "All is done.", "message": null}': DONE,
            '{"reason": "All is done.", "message": "<farewell>"}': DONE,
            '{"Reason": "All is done."}': DONE,
        },
        {
            "{}": "reason",
            '{"message": "Goodbye!"}': "reason",
            '{"reason": "<reason>"}': "reason: the value is a placeholder",
            '{"reason": "{{reason}}"}': "reason: the value is a placeholder",
            '{"reason": "All': "one JSON object",
            "All is done.": "one JSON object",
            "[]": "one JSON object",
        },
        says="It was a pleasure. ",
    ),
    "language_detection": Case(
        {"reason": "The user speaks German.", "language": "de"},
        {
            '{"reason": "r", "language": "DE"}': {"reason": "r", "language": "de"},
            '{"reason": "r", "language": " de"}': {"reason": "r", "language": "de"},
        },
        {
            '{"reason": "r", "language": "fr"}': '["en","de","es"]',
            '{"reason": "r", "language": "German"}': '["en","de","es"]',
            '{"language": "de"}': "reason",
            '{"reason": "r"}': "language",
        },
        says="Einen Moment. ",
    ),
    "transfer_to_agent": Case(
        {"agent_number": 0, "reason": "warranty"},
        {
            '{"agent_number": "0"}': {"agent_number": 0},
            '{"agent_number": "1", "reason": null}': {"agent_number": 1},
            '{"agentNumber": 0}': {"agent_number": 0},
            '"{\\"agent_number\\": 0}"': {"agent_number": 0},
        },
        {
            '{"agent_number": "repairs"}': "agent_number",
            '{"agent_number": 0.5}': "agent_number",
            '{"reason": "warranty"}': "agent_number",
        },
        says="I'm transferring you to the workshop. ",
    ),
    "transfer_to_number": Case(
        PERSON,
        {
            json.dumps({**PERSON, "transfer_number": "+1 555-0101"}): PERSON,
            json.dumps({**PERSON, "transfer_number": 15550101}): PERSON,
        },
        {
            json.dumps({**PERSON, "transfer_number": "+15559999"}): '["+15550100","+15550101"]',
            json.dumps({**PERSON, "transfer_number": "<number>"}): "transfer_number",
            json.dumps({"transfer_number": "+15550101"}): "client_message",
        },
        says="I'll get the manager. ",
    ),
    "skip_turn": Case(
        {"reason": "The user is looking for a number."},
        {"": {}, "null": {}, '{"reason": null}': {}},
        {'{"reason': "one JSON object"},
    ),
    "play_keypad_touch_tone": Case(
        TONES,
        {
            # The voice platform's documentation prints exactly this.
            '"{"reason": "Navigating to customer service", "dtmf_tones": "2"}"': TONES,
            '{"dtmf_tones": 2}': {"dtmf_tones": "2"},
        },
        {'{"reason": "menu"}': "dtmf_tones", '{"dtmf_tones": "<tones>"}': "dtmf_tones"},
    ),
    "voicemail_detection": Case(
        {"reason": "An automated greeting."},
        {'{"reason": "An automated greeting.",}': {"reason": "An automated greeting."}},
        {"{}": "reason"},
    ),
    "update_state": Case(
        {"customer_name": "Kim", "bicycles": 2, "is_urgent": True, "frame_size_cm": 54.5},
        {
            '{"bicycles": "2", "is_urgent": "true", "frame_size_cm": "54.5"}': {
                "bicycles": 2,
                "is_urgent": True,
                "frame_size_cm": 54.5,
            },
            '{"customer_name": "Kim", "bicycles": null}': {"customer_name": "Kim"},
            "{'is_urgent': True}": {"is_urgent": True},
        },
        {'{"bicycles": "two"}': "bicycles", '{"is_urgent": "perhaps"}': "is_urgent"},
    ),
}
GOOD = sorted(CASES)
COERCED = [(name, sent) for name in GOOD for sent in CASES[name].coerced]
INVALID = [(name, sent) for name in GOOD for sent in CASES[name].invalid]


def request_of(way: Way, name: str, *more: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the request of this way for the event's conversation, continued by `more`."""
    given = event(name)
    tools = [tool["function"] for tool in given["tools"]]
    messages = [*given["messages"], *more]
    return way.body(tools=tools, **{**history.of(way, messages), **fields})


async def turn(
    way: Way, name: str, *scenes: Script, post: Mapping[str, Any] | None = None, **fields: Any
) -> tuple[Answer, PlayedUpstream, Heard]:
    """Play one turn of the event's conversation."""
    upstream = PlayedUpstream(*scenes)
    heard = await way.post(way.caller(upstream), request_of(way, name, **fields), **(post or {}))
    return way.read(heard), upstream, heard


def feedback(upstream: PlayedUpstream) -> str:
    """Return the feedback in the second request."""
    role, text = history.texts(upstream.requests[1].json)[-1]
    assert role == "user"
    return text
