"""Calls held until they are whole, and what may be passed on of them as it came."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator

import pytest

from completions.responder import Conversation, Event, Say
from tests.support.in_process import PlayedUpstream
from tests.support.script import Done, Finish, Raw, Role
from tests.support.turns import Caller
from tests.support.ways import CHAT

pytestmark = pytest.mark.looptime

TRANSFER = {
    "name": "transfer_to_agent",
    "description": "Transfers to a specialist.",
    "parameters": {"type": "object", "properties": {"agent_number": {"type": "integer"}}},
}


async def test_arguments_sent_as_an_object_become_one_json_string() -> None:
    """Clients parse `arguments` as text: a frame with an object in it is not relayed."""
    part = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "transfer_to_agent", "arguments": {"agent_number": 2}},
    }
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"tool_calls": [part]}, "finish_reason": None}],
    }
    frame = Raw(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    caller = CHAT.caller(PlayedUpstream([Role(), frame, Finish("tool_calls"), Done()]))
    heard = await CHAT.post(caller, CHAT.body(tools=[TRANSFER]))
    ((_, call),) = heard.calls
    assert json.loads(call["function"]["arguments"]) == {"agent_number": 2}
    assert CHAT.read(heard).calls == [("transfer_to_agent", {"agent_number": 2})]


async def test_an_agent_that_will_not_be_stopped_does_not_hold_its_caller() -> None:
    """Cancelling is waited for half a second, then the turn goes on without the agent."""
    released = asyncio.Event()

    async def stubborn(_: Conversation) -> AsyncGenerator[Event, None]:
        yield Say("Hm, ")
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    caller = Caller(PlayedUpstream())
    caller.environment = dataclasses.replace(caller.environment, responder=stubborn)
    heard = await caller.post(CHAT.body(), remaining_s=4)
    released.set()
    assert heard.ends == 1
    assert heard.pieces[-1][0] == 2500 + 500
