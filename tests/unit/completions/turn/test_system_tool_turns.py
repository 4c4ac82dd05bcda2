"""Good calls of the voice platform's system tools, and their results, in whole turns.

Unless it says otherwise, a test holds for every way to a model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from completions.speech.phrases import PHRASES
from local.scripted.script import (
    At,
    CallPiece,
    Done,
    Finish,
    Hold,
    Role,
    Say,
    Step,
    Usage,
    answer,
    call,
    calls,
)
from tests.support import history
from tests.support.in_process import PlayedUpstream
from tests.support.system_tools import CASES, EVENTS, GOOD, request_of, turn
from tests.support.turns import Caller
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime


def raw_chunks(script: Sequence[Step]) -> list[bytes]:
    """Return the chunks of a scripted chat completion's calls, as the model sent them."""
    from local.scripted.wires import ChatStream

    wire = ChatStream("m", include_usage=True)
    return [wire.render(step) for step in script if isinstance(step, CallPiece)]


def test_every_system_tool_has_a_case() -> None:
    """Each event file that offers a system tool has one."""
    files = {path.stem for path in EVENTS.glob("url-chat-tool-*.json")} - {"url-chat-tool-result"}
    assert files == {f"url-chat-tool-{name.replace('_', '-')}" for name in CASES}


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_call_is_delivered(way: Way, name: str) -> None:
    """It takes one request, arrives once it is complete, and nothing is spoken beside it."""
    script = calls(name, CASES[name].good, at_ms=400)
    got, upstream, heard = await turn(way, name, script)
    assert (got.text, got.calls) == ("", [(name, CASES[name].good)])
    assert got.finish == "tool_calls"
    assert {at_ms for at_ms, _ in heard.pieces} <= {0, 400}
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_call_is_relayed_in_its_own_chunks(name: str) -> None:
    """The chunks of a chat completion are relayed byte for byte."""
    script = [Role(), *call(name, CASES[name].good, pieces=5), Finish("tool_calls"), Done()]
    _, _, heard = await turn(CHAT, name, script)
    assert b"".join(raw_chunks(script)) in heard.body


@pytest.mark.parametrize("name", GOOD)
async def test_text_and_a_call_in_one_turn(way: Way, name: str) -> None:
    """The words are heard as they come, and the call arrives once it is complete."""
    words = CASES[name].says or "Just a second. "
    script = [At(400), Role(), Say(words), At(900), *call(name, CASES[name].good)]
    got, _, heard = await turn(way, name, [*script, Finish("tool_calls"), Usage(), Done()])
    assert got.speech == [(400, words)]
    assert got.calls == [(name, CASES[name].good)]
    assert got.finish == "tool_calls"
    assert heard.pieces[-1][0] == 900


@pytest.mark.parametrize("words", ["Goodbye, and take care! ", "All right. Goodbye and take care."])
async def test_a_farewell_is_heard_once(way: Way, words: str) -> None:
    """A farewell spoken in this turn is removed from `message`, which the platform speaks."""
    arguments = {"reason": "done", "message": "Goodbye, and take care."}
    script = [Role(), Say(words), *call("end_call", arguments), Finish("tool_calls"), Done()]
    got, upstream, _ = await turn(way, "end_call", script)
    assert (got.text, got.calls) == (words, [("end_call", {"reason": "done"})])
    assert len(upstream.requests) == 1


async def test_another_farewell_is_kept(way: Way) -> None:
    """The platform speaks a `message` that was not said in this turn."""
    arguments = {"reason": "done", "message": "Have a nice weekend!"}
    script = [Role(), Say("Goodbye. "), *call("end_call", arguments), Finish("tool_calls"), Done()]
    got, _, _ = await turn(way, "end_call", script)
    assert got.calls == [("end_call", arguments)]


async def test_a_buffered_farewell_is_heard_once(way: Way) -> None:
    """The platform may speak both the text and the `message` of a buffered answer."""
    arguments = {"reason": "done", "message": "Goodbye!"}
    script = [Role(), Say("Goodbye!"), *call("end_call", arguments), Finish("tool_calls"), Done()]
    got, _, _ = await turn(way, "end_call", script, stream=False)
    assert (got.text, got.calls) == ("Goodbye!", [("end_call", {"reason": "done"})])


@pytest.mark.parametrize("name", GOOD)
async def test_the_result_of_a_call_continues_the_conversation(way: Way, name: str) -> None:
    """Call and result reach the model as a pair, and its answer reaches the caller."""
    arguments = json.dumps(CASES[name].good)
    upstream = PlayedUpstream(answer("It is done.", at_ms=400))
    more = [history.called(name, arguments), history.result('{"status": "success"}')]
    heard = await way.post(way.caller(upstream), request_of(way, name, *more))
    got = way.read(heard)
    assert (got.text, got.finish) == ("It is done.", "stop")
    (request,) = [seen.json for seen in upstream.requests]
    if "messages" in request:
        calling, told = request["messages"][-2:]
        (past,) = calling["tool_calls"]
        assert past["function"] == {"name": name, "arguments": arguments}
        assert (told["role"], told["tool_call_id"]) == ("tool", past["id"])
        assert told["content"] == '{"status": "success"}'
    else:
        calling, told = request["input"][-2:]
        assert (calling["type"], told["type"]) == ("function_call", "function_call_output")
        assert calling["call_id"] == told["call_id"]
        assert (calling["name"], calling["arguments"]) == (name, arguments)
        assert told["output"] == '{"status": "success"}'


@pytest.mark.parametrize("name", GOOD)
async def test_after_a_result_the_wait_is_shorter(way: Way, name: str) -> None:
    """A silent model is given up after 8,000 ms, not 12,000."""
    upstream = PlayedUpstream([Hold()])
    more = [history.called(name, "{}"), history.result("ok")]
    heard = await way.post(way.caller(upstream), request_of(way, name, *more))
    got = way.read(heard)
    at_ms, words = got.speech[-1]
    assert (at_ms, got.finish) == (8000, "stop")
    assert words.strip() in {phrases.failure for phrases in PHRASES.values()}


async def test_renamed_tools_work(way: Way) -> None:
    """The platform lets people rename its tools, so the request's schema counts."""
    tool = {
        "name": "weitergeben",
        "description": "Hands over.",
        "parameters": {
            "type": "object",
            "properties": {"agent_number": {"type": "integer"}},
            "required": ["agent_number"],
        },
    }
    upstream = PlayedUpstream(calls("weitergeben", '{"agent_number": "2"}'))
    caller: Caller = way.caller(upstream)
    got = way.read(await way.post(caller, way.body(tools=[tool])))
    assert got.calls == [("weitergeben", {"agent_number": 2})]
