"""Turns that an agent answers in the model's place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from completions.responder import Conversation, Event, Responder
from local.scripted.script_player import Scene
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Caller
from tests.support.ways import Answer, Way


def with_agent(
    way: Way, agent: Responder, *scenes: Scene, fallback: Scene | None = None, **settings: Any
) -> Caller:
    """Return an environment with this agent; the scenes answer its questions to a model."""
    return way.caller(PlayedUpstream(*scenes, fallback=fallback), agent=agent, **settings)


async def turn(
    way: Way,
    agent: Responder,
    *scenes: Scene,
    fallback: Scene | None = None,
    post: Mapping[str, Any] | None = None,
    **fields: Any,
) -> tuple[Answer, Caller]:
    """Play one turn; `post` holds arguments of `Caller.post`, `fields` those of the request."""
    caller = with_agent(way, agent, *scenes, fallback=fallback)
    heard = await way.post(caller, way.body(**fields), **(post or {}))
    return way.read(heard), caller


async def relays(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Pass on a model's answer."""
    async for event in conversation.ask():
        yield event
