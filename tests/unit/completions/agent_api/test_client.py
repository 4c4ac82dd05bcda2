"""The OpenAI client whose transport is the turn: what it asks, and how it is answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from completions.responder import Conversation, Event, Say
from local.scripted.script import answer
from tests.support.agents import turn
from tests.support.ways import Way

pytestmark = pytest.mark.looptime


async def test_streamed_completions_are_heard_as_they_come(way: Way) -> None:
    """Each piece is a chunk of the SDK's."""

    async def relays(conversation: Conversation) -> AsyncGenerator[Event, None]:
        stream = await conversation.client.chat.completions.create(
            model="m", messages=list(conversation.messages), stream=True
        )
        async for chunk in stream:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield Say(text)

    got, caller = await turn(way, relays, answer("It is sunny."))
    assert got.text == "It is sunny."
    assert len(caller.upstream.requests) == 1
    assert caller.upstream.requests[0].json["stream"] is True


async def test_whole_completions_are_streamed_by_the_model(way: Way) -> None:
    """So the race's timers hold for them, too."""

    async def asks(conversation: Conversation) -> AsyncGenerator[Event, None]:
        completion = await conversation.client.chat.completions.create(
            model="m", messages=list(conversation.messages)
        )
        yield Say(completion.choices[0].message.content or "")

    got, caller = await turn(way, asks, answer("It is sunny."))
    assert got.text == "It is sunny."
    assert caller.upstream.requests[0].json["stream"] is True
