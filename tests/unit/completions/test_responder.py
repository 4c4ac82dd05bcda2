"""A responder's events become a turn like a model's, whatever it yields."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from completions.responder import Call, Conversation, Event, Responder, ResponderError, Say, load
from tests.support.in_process import PlayedUpstream
from tests.support.script import Script, calls
from tests.support.turns import Caller, body

pytestmark = pytest.mark.looptime

TOOL = {
    "type": "function",
    "function": {
        "name": "set_count",
        "parameters": {"type": "object", "properties": {"count": {"type": "integer"}}},
    },
}


def calling(responder: Responder, *scripts: Script) -> Caller:
    caller = Caller(PlayedUpstream(*scripts))
    caller.state = dataclasses.replace(caller.state, responder=responder)
    return caller


async def passes_on(conversation: Conversation) -> AsyncGenerator[Event, None]:
    async for event in conversation.ask():
        yield event


async def test_thoughts_in_what_it_says_are_not_spoken() -> None:
    """A `<think>` block is taken out of a responder's words, even when its tags are split."""

    async def thinks(_: Conversation) -> AsyncGenerator[Event, None]:
        for piece in ("<thi", "nk>The caller is angry.</th", "ink>Good morning."):
            yield Say(piece)

    heard = await calling(thinks).post()
    assert heard.text == "Good morning."


@pytest.mark.parametrize("written", ['{"count": "3",}', '```json\n{"count": 3}\n```'])
async def test_a_models_call_that_is_passed_on_is_repaired(written: str) -> None:
    """What the turn puts right for a model it puts right for one that a responder asked."""
    caller = calling(passes_on, calls("set_count", written))
    heard = await caller.post(body(tools=[TOOL]))
    assert [part["function"]["arguments"] for _, part in heard.calls] == ['{"count":3}']


async def test_half_a_call_is_never_made_a_whole_one() -> None:
    """Arguments that were cut are not delivered as an empty call: the responder is run again."""
    caller = calling(
        passes_on, calls("set_count", '{"count": 3'), calls("set_count", '{"count":4}')
    )
    heard = await caller.post(body(tools=[TOOL]))
    assert [part["function"]["arguments"] for _, part in heard.calls] == ['{"count":4}']
    assert "not carried out" in caller.upstream.requests[1].json["messages"][-1]["content"]


async def test_a_responder_sees_the_arguments_that_a_model_meant() -> None:
    """To run a tool of its own, a responder gets arguments as an object, repaired JSON included."""
    seen: list[Any] = []

    async def looks(conversation: Conversation) -> AsyncGenerator[Event, None]:
        async for event in conversation.ask(tools=[TOOL]):
            if isinstance(event, Call):
                seen.append((event.name, event.arguments))
        yield Say("Done.")

    heard = await calling(looks, calls("set_count", "{'count': 3,}")).post()
    assert heard.text == "Done."
    assert seen == [("set_count", {"count": 3})]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("answer", "must be package.module:function"),
        ("no_such_package.agent:answer", "cannot be imported"),
        ("completions.agents:answer", "has no 'answer'"),
        ("completions.responder:load", "is no async generator"),
    ],
)
def test_a_wrong_name_is_told_at_start(name: str, hint: str) -> None:
    """The error names the variable, what it holds and what is wrong with it."""
    with pytest.raises(ResponderError) as caught:
        load(name)
    assert "COMPLETIONS_RESPONDER" in str(caught.value)
    assert name in str(caught.value)
    assert hint in str(caught.value)
