"""Play whole turns in virtual time, without HTTP, and return their timed answers.

`Caller` is a deployment and its caller; `Heard` is the answer to one request.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from completions import responder
from completions.dialects import chat
from completions.dialects.dialect import Dialect
from completions.quirks.quirks import Quirks
from completions.race.health import Health
from completions.settings import Settings
from completions.turn import plan
from completions.turn.plan import AppState, Arrival
from completions.turn.turn import Turn
from completions.web.body import parse
from tests.support.in_process import PlayedUpstream

FALLBACK = {"fallback_base_url": "http://fallback.invalid/v1"}


@dataclass
class Heard:
    """The answer to one request: each piece of the body with its time in milliseconds."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    ended: bool = False
    started_ms: int | None = None
    """When status and headers left."""

    @property
    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(data for _, data in self.pieces)

    @property
    def events(self) -> list[tuple[int, Any]]:
        """Return the JSON of each `data:` line with its time; the terminator as a string."""
        found = []
        for at_ms, data in self.pieces:
            for line in data.decode().split("\n"):
                if line.startswith("data:"):
                    text = line.removeprefix("data:").strip()
                    found.append((at_ms, text if text == "[DONE]" else json.loads(text)))
        return found

    @property
    def speech(self) -> list[tuple[int, str]]:
        """Return each spoken text of a chat completion with its time."""
        return [
            (at_ms, choice["delta"]["content"])
            for at_ms, event in self.events
            if isinstance(event, dict)
            for choice in event.get("choices", ())
            if choice["delta"].get("content")
        ]

    @property
    def text(self) -> str:
        """Return all that was spoken in a chat completion."""
        return "".join(text for _, text in self.speech)

    @property
    def calls(self) -> list[tuple[int, dict[str, Any]]]:
        """Return each part of a tool call in a chat completion with its time."""
        return [
            (at_ms, part)
            for at_ms, event in self.events
            if isinstance(event, dict)
            for choice in event.get("choices", ())
            for part in choice["delta"].get("tool_calls") or ()
        ]

    @property
    def finishes(self) -> list[str]:
        """Return every finish reason of a chat completion."""
        return [
            choice["finish_reason"]
            for _, event in self.events
            if isinstance(event, dict)
            for choice in event.get("choices", ())
            if choice.get("finish_reason")
        ]

    @property
    def ends(self) -> int:
        """Return how many terminators were written."""
        return sum(event == "[DONE]" for _, event in self.events)


def body(text: str = "What is the weather?", **more: Any) -> dict[str, Any]:
    """Return a chat request as the voice platform sends it, with one user message."""
    messages = [
        {"role": "system", "content": "You are a helpful voice agent."},
        {"role": "user", "content": text},
    ]
    return {"model": "m", "messages": messages, "stream": True, **more}


class Caller:
    """One execution environment and its callers, over a scripted upstream.

    The turns of one `Caller` share the environment's health book and quirks.

    caller = Caller(PlayedUpstream(answer("Yes.")), responder="completions.agents.shop:answer")
    heard = await caller.post(body("Do you have helmets?"))
    """

    def __init__(
        self,
        upstream: PlayedUpstream,
        *,
        agent: responder.Responder | None = None,
        **settings: Any,
    ) -> None:
        self.upstream = upstream
        if "fallback" in upstream.names:
            settings = {**FALLBACK, **settings}
        settings = {"upstream_base_url": "http://primary.invalid/v1", **settings}
        self.settings = Settings(**settings)
        name = self.settings.responder
        self.state = AppState(
            self.settings,
            upstream,
            Health(lambda: asyncio.get_running_loop().time()),
            Quirks(lambda: asyncio.get_running_loop().time()),
            responder.load(name) if name else agent,
        )

    async def post(
        self,
        request: Mapping[str, Any] | None = None,
        *,
        dialect: Dialect = chat,
        on_failure: str = "",
        comments: bool = False,
        age_ms: float = 0,
        remaining_s: float | None = None,
        late_ms: float = 0,
        hang_up_ms: float | None = None,
        takes_bytes: float = math.inf,
        session: str = "",
    ) -> Heard:
        """Play one turn. Times in the answer are milliseconds from the request's arrival.

        Before this moment, `late_ms` have passed since the function saw the request, when Lambda
        left it `remaining_s`, or `age_ms` since the Function URL received it. The caller hangs up
        after `hang_up_ms`, or takes no more than `takes_bytes` and stays. `session` is the id that
        it wants back in each chunk.
        """
        loop = asyncio.get_running_loop()
        arrived = loop.time() - (age_ms or late_ms) / 1000
        heard = Heard()
        sent_body = False

        async def receive() -> dict[str, Any]:
            nonlocal sent_body
            if not sent_body:
                sent_body = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if hang_up_ms is None:
                await asyncio.Event().wait()
            await asyncio.sleep(arrived + (hang_up_ms or 0) / 1000 - loop.time())
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                heard.status = message["status"]
                heard.started_ms = round((loop.time() - arrived) * 1000)
                heard.headers = {k.decode(): v.decode() for k, v in message["headers"]}
                return
            assert not heard.ended, "a message after the end"
            if len(heard.body) >= takes_bytes:
                await asyncio.Event().wait()
            if message.get("body"):
                heard.pieces.append((round((loop.time() - arrived) * 1000), message["body"]))
            heard.ended = not message.get("more_body")

        turn = Turn(
            self.state,
            dialect,
            parse(dialect, dict(request or body()), session),
            Arrival(
                loop.time() - age_ms / 1000 if age_ms else None,
                remaining_s,
                loop.time() - late_ms / 1000,
            ),
            on_failure=on_failure or self.settings.on_failure,
            comments=comments,
        )
        # The wall clock, which gives the request's age, is the virtual clock here.
        with (
            patch.object(plan, "time", SimpleNamespace(time=loop.time)) if age_ms else nullcontext()
        ):
            await turn({"type": "http"}, receive, send)
        return heard
