"""Calls held until they are whole, and what may be passed on of them as it came."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator

import pytest

from completions.responder import Conversation, Event, Say
from tests.support.in_process import PlayedUpstream
from tests.support.script import Done, Finish, Head, Hold, Raw, Role, answer, call
from tests.support.turns import Caller
from tests.support.ways import CHAT, WAYS, Way

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
    caller.state = dataclasses.replace(caller.state, responder=stubborn)
    heard = await caller.post(CHAT.body(), remaining_s=4)
    released.set()
    assert heard.ends == 1
    assert heard.pieces[-1][0] == 2500 + 500


MOVE = {
    "name": "move",
    "description": "Moves.",
    "parameters": {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    },
}
GOOD = call("transfer_to_agent", {"agent_number": 1}, index=0)
BAD = call("move", {"n": "far"}, index=1)
MENDED = call("move", {"n": 3}, index=0)
BOTH = [("transfer_to_agent", {"agent_number": 1}), ("move", {"n": 3})]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "buffered"])
@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_a_good_call_stands_while_its_neighbour_is_asked_for_again(
    way: Way, stream: bool
) -> None:
    """Only the bad call of a turn is re-asked; the good one is delivered once."""
    first = [Role(), *GOOD, *BAD, Finish("tool_calls"), Done()]
    upstream = PlayedUpstream(first, [Role(), *MENDED, Finish("tool_calls"), Done()])
    request = way.body(tools=[TRANSFER, MOVE], stream=stream)
    heard = await way.post(way.caller(upstream), request)
    assert way.read(heard).calls == BOTH
    assert "stands: do not repeat it" in json.dumps(upstream.requests[1].json)


async def test_a_good_call_stands_when_the_second_answer_is_in_words() -> None:
    """What the model meant to do is done, whatever it says instead of the bad call."""
    first = [Role(), *GOOD, *BAD, Finish("tool_calls"), Done()]
    upstream = PlayedUpstream(first, answer("I stay here."))
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(tools=[TRANSFER, MOVE]))
    read = CHAT.read(heard)
    assert (read.text, read.calls, read.finish) == ("I stay here.", BOTH[:1], "tool_calls")


async def test_a_buffered_answer_that_was_streamed_unasked_is_whole() -> None:
    """An upstream that streams although nobody asked it to is read to its end."""
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "All "}, None),
        ({"content": "of it."}, None),
        ({}, "stop"),
    ]
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in deltas
    ]
    frames = [Raw(f"data: {json.dumps(chunk)}\n\n".encode()) for chunk in chunks]
    upstream = PlayedUpstream([Head(), *frames, Raw(b"data: [DONE]\n\n"), Hold()])
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(stream=False))
    assert CHAT.read(heard).text == "All of it."
