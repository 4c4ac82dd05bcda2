"""Every file in `events/` gets the answer that its name promises."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from local.deployment import ROOT, Deployment
from local.scripted.script import answer
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM_ENVIRONMENT

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = {path.stem: path for path in sorted((ROOT / "events").glob("url-*.json"))}
ANSWER = "Oil it, then wipe it."
PLATFORM_ONLY = {"elevenlabs_extra_body", "user_id"}


@dataclass
class Answer:
    """What came back, and what the upstream was asked."""

    event: dict[str, Any]
    status: int
    headers: dict[str, str]
    body: bytes
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def sent(self) -> dict[str, Any]:
        """The body of the event."""
        text = self.event["body"]
        raw = base64.b64decode(text) if self.event["isBase64Encoded"] else text
        body: dict[str, Any] = json.loads(raw)
        return body

    @property
    def json(self) -> Any:
        """The body of the answer, whose content type must be JSON."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


def streamed(got: Answer) -> None:
    assert got.status == 200
    assert got.headers["content-type"].startswith("text/event-stream")
    *frames, last = [line[6:] for line in got.body.split(b"\n\n") if line]
    assert last == b"[DONE]"
    choices = [choice for frame in frames for choice in json.loads(frame)["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == ANSWER


def buffered(got: Answer) -> None:
    assert got.status == 200
    assert got.json["choices"][0]["message"]["content"] == ANSWER


def with_tools(got: Answer) -> None:
    streamed(got)
    (body,) = got.bodies
    assert body["tools"] == got.sent["tools"]
    assert [message["role"] for message in body["messages"]][-2:] == ["assistant", "tool"]


def offering(name: str) -> Callable[[Answer], None]:
    """Assert that this system tool is offered and reaches the model unchanged."""

    def check(got: Answer) -> None:
        streamed(got)
        (body,) = got.bodies
        assert body["tools"] == got.sent["tools"]
        assert name in {tool["function"]["name"] for tool in body["tools"]}

    return check


def continued(got: Answer) -> None:
    streamed(got)
    (body,) = got.bodies
    roles = [message["role"] for message in body["messages"]]
    assert roles[-3:] == ["assistant", "tool", "tool"]
    calls, *results = got.sent["messages"][-3:]
    assert body["messages"][-2:] == results
    assert body["messages"][-3]["tool_calls"] == calls["tool_calls"]
    assert [call["id"] for call in calls["tool_calls"]] == [one["tool_call_id"] for one in results]


def without_platform_fields(got: Answer) -> None:
    streamed(got)
    assert got.sent.keys() >= PLATFORM_ONLY
    (body,) = got.bodies
    assert not PLATFORM_ONLY & body.keys()


def decoded(got: Answer) -> None:
    streamed(got)
    (body,) = got.bodies
    assert body["messages"][-1] == got.sent["messages"][-1]


def refused(got: Answer) -> None:
    assert got.status == 401
    assert "Authorization" in got.json["error"]["message"]
    assert got.bodies == []


def told_the_right_path(got: Answer) -> None:
    assert got.status == 404
    host = got.event["headers"]["host"]
    assert f"https://{host}/v1/chat/completions" in got.json["error"]["message"]
    assert got.bodies == []


def models(got: Answer) -> None:
    assert got.status == 200
    assert [model["id"] for model in got.json["data"]] == ["scripted"]


def healthy(got: Answer) -> None:
    assert got.status == 200
    assert got.json == {"status": "ok"}


def ready_for_the_call(got: Answer) -> None:
    assert got.status == 200
    assert got.json == {"type": "conversation_initiation_client_data", "dynamic_variables": {}}
    assert got.bodies == []


PROMISED: dict[str, Callable[[Answer], None]] = {
    "url-chat": buffered,
    "url-chat-base64": decoded,
    "url-chat-extra-body": without_platform_fields,
    "url-chat-no-key": refused,
    "url-chat-stream": streamed,
    "url-chat-tool-end-call": offering("end_call"),
    "url-chat-tool-language-detection": offering("language_detection"),
    "url-chat-tool-play-keypad-touch-tone": offering("play_keypad_touch_tone"),
    "url-chat-tool-result": continued,
    "url-chat-tool-skip-turn": offering("skip_turn"),
    "url-chat-tool-transfer-to-agent": offering("transfer_to_agent"),
    "url-chat-tool-transfer-to-number": offering("transfer_to_number"),
    "url-chat-tool-update-state": offering("update_state"),
    "url-chat-tool-voicemail-detection": offering("voicemail_detection"),
    "url-chat-tools": with_tools,
    **dict.fromkeys((name for name in EVENTS if name.startswith("url-platform-")), streamed),
    "url-health": healthy,
    "url-models": models,
    "url-not-found": told_the_right_path,
    "url-warm": ready_for_the_call,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[tuple[Deployment, ScriptedUpstream]]:
    async with (
        ScriptedUpstream(answer(ANSWER)) as upstream,
        Deployment(upstream=upstream.base_url, environment=CALM_ENVIRONMENT) as deployment,
    ):
        yield deployment, upstream


@pytest.mark.parametrize("name", EVENTS)
async def test_an_event_gets_what_its_name_promises(
    name: str, stage: tuple[Deployment, ScriptedUpstream]
) -> None:
    """Each event, sent unchanged to the deployed function, gets the answer in its name."""
    deployment, upstream = stage
    before = len(upstream.requests)
    event = json.loads(EVENTS[name].read_text())
    response = await deployment.invoke(event)
    body = b"".join([chunk async for chunk in response.body])
    bodies = [seen.json for seen in upstream.requests[before:] if seen.raw]
    PROMISED[name](Answer(event, response.status, dict(response.headers), body, bodies))
