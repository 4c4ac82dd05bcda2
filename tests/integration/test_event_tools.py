"""The system tools' events, sent to the deployed function while the model calls the tool.

Over real sockets and through the layer; invalid calls are played in virtual time by
`tests/unit/completions/turn/test_invalid_call_turns.py`.
"""

import json
import re
import shlex
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from local.deployment import ROOT, Deployment
from local.scripted.script import Done, Finish, Role, Say, Script, answer, call, calls
from local.scripted.upstream import ScriptedUpstream
from tests.support import rules
from tests.support.deployment import CALM_ENVIRONMENT

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = sorted((ROOT / "events").glob("url-chat-tool-*.json"))
PERSON = {"transfer_number": "+15550101", "client_message": "Wait.", "agent_message": "Angry."}
GOOD: dict[str, dict[str, Any]] = {
    "end_call": {"reason": "done"},
    "language_detection": {"reason": "r", "language": "de"},
    "play_keypad_touch_tone": {"dtmf_tones": "2"},
    "skip_turn": {"reason": "r"},
    "transfer_to_agent": {"agent_number": 0},
    "transfer_to_number": PERSON,
    "update_state": {"bicycles": 2},
    "voicemail_detection": {"reason": "r"},
}
NAMES = [
    path.stem.removeprefix("url-chat-tool-").replace("-", "_")
    for path in EVENTS
    if path.stem != "url-chat-tool-result"
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[tuple[Deployment, ScriptedUpstream]]:
    async with (
        ScriptedUpstream() as upstream,
        Deployment(upstream=upstream.base_url, environment=CALM_ENVIRONMENT) as deployment,
    ):
        yield deployment, upstream


async def invoked(
    stage: tuple[Deployment, ScriptedUpstream], name: str, *scenes: Script
) -> tuple[rules.Spoken, int]:
    """Return a strict client's reading of the answer, and the number of requests to the model."""
    deployment, upstream = stage
    upstream.plays(*scenes)
    before = len(upstream.requests)
    path = ROOT / "events" / f"url-chat-tool-{name.replace('_', '-')}.json"
    response = await deployment.invoke(json.loads(path.read_text()))
    body = b"".join([chunk async for chunk in response.body])
    assert response.status == 200
    return rules.check(body), len(upstream.requests) - before


@pytest.mark.parametrize("name", NAMES)
async def test_a_call_reaches_the_platform(
    name: str, stage: tuple[Deployment, ScriptedUpstream]
) -> None:
    """A good call arrives at once, a misspelt one corrected, a wrong one after another question."""
    good = GOOD[name]
    (spoken, count) = await invoked(stage, name, calls(name, good))
    assert [(one, json.loads(text)) for one, text in spoken.calls] == [(name, good)]
    assert (spoken.text, spoken.finish, count) == ("", "tool_calls", 1)

    spoilt = f"```json\n{json.dumps(good)[:-1]},}}\n```"
    (spoken, count) = await invoked(stage, name, calls(name, spoilt))
    assert [(one, json.loads(text)) for one, text in spoken.calls] == [(name, good)]
    assert (spoken.finish, count) == ("tool_calls", 1)

    (spoken, count) = await invoked(stage, name, calls(name, '{"reason": '), calls(name, good))
    assert [(one, json.loads(text)) for one, text in spoken.calls] == [(name, good)]
    assert (spoken.finish, count) == ("tool_calls", 2)


@pytest.mark.parametrize("name", NAMES)
async def test_words_before_a_call_that_stays_invalid(
    name: str, stage: tuple[Deployment, ScriptedUpstream]
) -> None:
    """Words before a call that stays invalid are followed by an apology, never by silence."""
    bad = [Role(), Say("One moment. "), *call(name, '{"reason": '), Finish("tool_calls"), Done()]
    (spoken, count) = await invoked(stage, name, bad)
    assert len(spoken.text) > len("One moment. One moment. ")
    assert (spoken.calls, spoken.finish, count) == ([], "stop", 2)


async def test_results_are_answered(stage: tuple[Deployment, ScriptedUpstream]) -> None:
    """The conversation continues with the platform's results."""
    (spoken, count) = await invoked(stage, "result", answer("Abrimos a las nueve."))
    assert (spoken.text, count) == ("Abrimos a las nueve.", 1)


PAGE = (ROOT / "docs/tools.md").read_text()
TRIED = re.findall(
    r"""--call (\w+) --arguments ('.*'|".*")\n"""
    r"""    make invoke EVENT=(\S+) .*\n\nIt arrives as `(.*)`""",
    PAGE,
)


@pytest.mark.parametrize(("name", "arguments", "event", "arrives"), TRIED)
async def test_the_commands_of_the_page_show_what_it_says(
    name: str,
    arguments: str,
    event: str,
    arrives: str,
    stage: tuple[Deployment, ScriptedUpstream],
) -> None:
    """docs/tools.md shows each call as the model writes it and as the platform gets it."""
    assert event == f"events/url-chat-tool-{name.replace('_', '-')}.json"
    (spoken, count) = await invoked(stage, name, calls(name, shlex.split(arguments)[0]))
    assert (spoken.calls, count) == ([(name, arrives)], 1)


async def test_the_page_has_every_tool() -> None:
    """Each tool has a section, a command and an event on the page."""
    assert {name for name, *_ in TRIED} == set(NAMES)
    assert set(re.findall(r"^### `(\w+)`", PAGE, re.MULTILINE)) == set(NAMES)


async def test_every_event_is_played() -> None:
    """Each system tool with an event has a good call here."""
    assert set(NAMES) == set(GOOD)
