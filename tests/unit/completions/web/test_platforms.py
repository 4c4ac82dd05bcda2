"""What each platform sends (`events/url-platform-*.json`), according to its documentation.

No platform has confirmed these events. docs/platforms.md has a row for each.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from completions.settings import PREFIX
from local.scripted.script import answer
from local.scripted.upstream import ScriptedUpstream
from tests.support import rules
from tests.support.deployment import CALM, calling, deploy
from tests.support.logs import Logged
from tests.support.secrets import CALLER_KEY

ROOT = Path(__file__).parents[4]
EVENTS = {
    path.stem.removeprefix("url-platform-"): json.loads(path.read_text())
    for path in sorted((ROOT / "events").glob("url-platform-*.json"))
}
WITHOUT_ID = {"agora", "anam", "assemblyai", "bolna", "cartesia", "d-id"}
"""Platforms whose documentation names no place for the call's id."""
BODY_KEYS = {
    *("messages", "model", "stream", "stream_options", "temperature", "max_tokens", "tools"),
    *("parallel_tool_calls", "prompt_cache_key", "safety_identifier"),
}
MESSAGE_KEYS = {"role", "content", "name", "tool_calls", "tool_call_id"}
OWN_KEY = "local-caller-key"


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A model that always answers."""
    async with ScriptedUpstream(answer("Oil it.")) as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller who has not sent a key yet."""
    async with calling(deploy(upstream.base_url, **CALM)) as client:
        del client.headers["authorization"]
        yield client


async def _send(client: httpx2.AsyncClient, event: dict[str, Any]) -> httpx2.Response:
    headers = {name: value.replace(OWN_KEY, CALLER_KEY) for name, value in event["headers"].items()}
    url = f"{event['rawPath']}?{event['rawQueryString']}"
    return await client.post(url, content=event["body"], headers=headers)


@pytest.mark.parametrize("name", EVENTS)
async def test_a_platforms_own_fields_do_not_reach_the_model(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, name: str
) -> None:
    """Nor does what they contain: telephone numbers, names, what was interrupted."""
    response = await _send(client, EVENTS[name])
    assert rules.check(response.content).text == "Oil it."
    (request,) = upstream.requests
    assert request.json.keys() <= BODY_KEYS
    for message in request.json["messages"]:
        assert message.keys() <= MESSAGE_KEYS
    sent = EVENTS[name]["body"]
    assert request.json["messages"][-1]["content"] == json.loads(sent)["messages"][-1]["content"]
    for text in ("kept-here", "+15550100", "call-4711"):
        assert text.encode() not in request.raw
    assert len(response.content) < 256 * 1024
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize("name", EVENTS)
async def test_every_log_line_of_a_turn_has_the_platforms_call_id(
    client: httpx2.AsyncClient, logs: Logged, name: str
) -> None:
    """It is found wherever the platform puts it."""
    await _send(client, EVENTS[name])
    found = logs.event("turn.finished").get("gen_ai.conversation.id")
    assert found == (None if name in WITHOUT_ID else "call-4711")


@pytest.mark.parametrize("name", EVENTS)
async def test_a_refused_request_is_logged_with_its_calls_id(
    client: httpx2.AsyncClient, logs: Logged, name: str
) -> None:
    """A malformed request is a turn of a call, too."""
    body = {**json.loads(EVENTS[name]["body"]), "messages": "none"}
    response = await _send(client, {**EVENTS[name], "body": json.dumps(body)})
    assert response.status_code == 400
    found = logs.event("request.refused").get("gen_ai.conversation.id")
    assert found == (None if name in WITHOUT_ID else "call-4711")


def test_every_platform_has_a_row_and_a_block() -> None:
    """The page has each event's file and how to point its platform here."""
    page = (ROOT / "docs/platforms.md").read_text()
    for name in EVENTS:
        assert f"`events/url-platform-{name}.json`" in page
    told = set(re.findall(r"`events/url-platform-([\w-]+)\.json`", page))
    assert told == {*EVENTS}
    sections = re.split(r"^### ", page, flags=re.MULTILINE)[1:]
    assert len(sections) == len(EVENTS)
    for section in sections:
        assert "```" in section, section[:40]
    assert PREFIX not in page
