"""The whole app over a scripted model, as callers of one dialect see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2

from completions.app import create_app
from completions.keys.keys import Keys
from completions.settings import Settings
from local.scripted.script import Script, refused
from local.scripted.script_player import RecordedRequest, Scene
from tests.support.deployment import CALM
from tests.support.in_process import PlayedUpstream
from tests.support.secrets import CALLER_SECRET, UPSTREAM_SECRET, FakeSecrets
from tests.support.ways import Way

FOR_A_PROGRAM = {"x-completions-on-failure": "error"}
HELLO = "Hello there."
USER = {"role": "user", "content": "Hello?"}
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}
PLATFORM_ONLY = {
    "elevenlabs_extra_body": {"anything": [1, {"a": None}]},
    "user_id": "user_1",
    "call": {"id": "1", "type": "webCall"},
    "phoneNumber": {"number": "+15550100"},
    "customer": {"name": "Kim"},
    "assistant": {"id": "a"},
    "timestamp": 1_795_338_000_000,
    "conversation_id": "conv_1",
    "no_such_field": {"deeply": ["nested"]},
    "": 1,
}
ABSENT: Any = object()


@dataclass
class Endpoint:
    """The app over a scripted model, as callers of one dialect see it."""

    way: Way
    client: httpx2.AsyncClient
    upstream: PlayedUpstream

    @property
    def path(self) -> str:
        """Return the path of the dialect."""
        return f"/v1{self.way.dialect.path}"

    async def post(self, path: str = "", headers: Any = None, **fields: Any) -> httpx2.Response:
        """Send an ordinary request with these fields changed; `ABSENT` removes one."""
        body = self.way.body(**fields)
        for name in [name for name, value in fields.items() if value is ABSENT]:
            body.pop(name, None)
        return await self.client.post(path or self.path, json=body, headers=headers)

    async def model_receives(self, **fields: Any) -> dict[str, Any]:
        """Send a request that must be answered; return the last request that the model received."""
        response = await self.post(**fields)
        assert response.status_code == 200, response.text
        if response.headers["content-type"].startswith("text/event-stream"):
            assert self.way.stream(response.content).text == HELLO
        else:
            assert HELLO in response.text
        return self.upstream.requests[-1].json

    async def refusal_of(self, **fields: Any) -> dict[str, Any]:
        """Send a request that must be a 400 without a request to the model; return its error."""
        response = await self.post(**fields)
        assert response.status_code == 400, response.text
        assert self.upstream.requests == []
        error: dict[str, Any] = response.json()["error"]
        assert error["type"] == "invalid_request_error"
        return error


def app_over(upstream: PlayedUpstream, **settings: Any) -> Any:
    """Return the whole application over a scripted model."""
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=300, connect=FakeSecrets().connect)
    if "fallback" in upstream.names:
        settings["fallback_base_url"] = "http://fallback.invalid/v1"
    given: dict[str, Any] = {"upstream_base_url": "http://primary.invalid/v1", **CALM, **settings}
    return create_app(Settings(**given), keys, upstream)  # type: ignore[arg-type]


def scene_for(way: Way, script: Script) -> Scene:
    """Return the script for an upstream that has this way's endpoint, or lacks it."""

    def play(seen: RecordedRequest) -> Script:
        return refused(404) if way.over_chat and seen.path == "/responses" else script

    return play
