"""Tool calls of any name in whole turns: what arrives, and which call is asked for again."""

from __future__ import annotations

import json

import pytest

from tests.support.in_process import PlayedUpstream
from tests.support.script import Done, Finish, Raw, Role, answer, call
from tests.support.ways import CHAT, WAYS, Way

pytestmark = pytest.mark.looptime

TRANSFER = {
    "name": "transfer_to_agent",
    "description": "Transfers to a specialist.",
    "parameters": {"type": "object", "properties": {"agent_number": {"type": "integer"}}},
}


async def test_arguments_sent_as_an_object_become_one_json_string() -> None:
    """Clients parse `arguments` as text, so a chunk that holds an object is not relayed."""
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
CORRECTED = call("move", {"n": 3}, index=0)
BOTH = [("transfer_to_agent", {"agent_number": 1}), ("move", {"n": 3})]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "buffered"])
@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_only_the_bad_call_is_asked_for_again(way: Way, stream: bool) -> None:
    """The good call beside it stands, and is delivered once."""
    first = [Role(), *GOOD, *BAD, Finish("tool_calls"), Done()]
    upstream = PlayedUpstream(first, [Role(), *CORRECTED, Finish("tool_calls"), Done()])
    request = way.body(tools=[TRANSFER, MOVE], stream=stream)
    heard = await way.post(way.caller(upstream), request)
    assert way.read(heard).calls == BOTH
    assert "stands: do not repeat it" in json.dumps(upstream.requests[1].json)


async def test_a_good_call_stands_when_the_second_answer_is_in_words() -> None:
    """It is delivered whatever the model says in place of the bad call."""
    first = [Role(), *GOOD, *BAD, Finish("tool_calls"), Done()]
    upstream = PlayedUpstream(first, answer("I stay here."))
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(tools=[TRANSFER, MOVE]))
    read = CHAT.read(heard)
    assert (read.text, read.calls, read.finish) == ("I stay here.", BOTH[:1], "tool_calls")
