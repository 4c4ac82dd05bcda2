"""Several calls of the voice platform's system tools in one turn.

Every test holds for every way to a model.
"""

from __future__ import annotations

import json
import re

import pytest

from local.scripted.script import CallPiece, Done, Finish, Role, Usage, call
from tests.support.system_tools import DONE, turn
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime


async def test_any_number_of_calls_in_parallel(way: Way) -> None:
    """Thirty calls arrive in order and complete, whether their pieces came interleaved or not."""
    pieces = [call("transfer_to_agent", {"agent_number": n}, index=n) for n in range(30)]
    mixed = [piece for parts in zip(*pieces, strict=True) for piece in parts]
    expected = [("transfer_to_agent", {"agent_number": n}) for n in range(30)]
    scripts = [[step for parts in pieces for step in parts]]
    if way is CHAT or way.over_chat:
        scripts.append(mixed)
    for script in scripts:
        whole = [Role(), *script, Finish("tool_calls"), Usage(), Done()]
        got, _, _ = await turn(way, "transfer_to_agent", whole)
        assert got.calls == expected


async def test_one_invalid_call_among_good_ones(way: Way) -> None:
    """The model is asked again once; if the call is still invalid, the good ones are delivered."""
    script = [
        Role(),
        *call("end_call", DONE, index=0),
        *call("transfer_to_agent", '{"agent_number": "x"}', index=1),
        Finish("tool_calls"),
        Done(),
    ]
    got, upstream, _ = await turn(way, "transfer_to_agent", script)
    assert got.calls == [("end_call", DONE)]
    assert (got.text, len(upstream.requests)) == ("", 2)


async def test_one_coerced_call_among_good_ones(way: Way) -> None:
    """The calls around it keep their arguments, order and ids."""
    script = [
        Role(),
        *call("end_call", DONE, index=0),
        *call("transfer_to_agent", '{"agent_number": "1"}', index=1),
        Finish("tool_calls"),
        Done(),
    ]
    got, _, heard = await turn(way, "transfer_to_agent", script)
    assert got.calls == [("end_call", DONE), ("transfer_to_agent", {"agent_number": 1})]
    if way is CHAT:
        assert [part["id"] for _, part in heard.calls] == ["call_0", "call_1"]
        assert [part["index"] for _, part in heard.calls] == [0, 1]


@pytest.mark.parametrize("streamed", [True, False])
async def test_the_same_call_twice_is_delivered_once(way: Way, streamed: bool) -> None:
    """With one id or two, a client would otherwise transfer the caller, or book, twice."""
    for call_id in ("call_0", "call_1"):
        twice = CallPiece(1, "", name="end_call", id=call_id)
        script = [
            Role(),
            *call("end_call", DONE),
            twice,
            CallPiece(1, json.dumps(DONE)),
            Finish("tool_calls"),
            Done(),
        ]
        got, upstream, _ = await turn(way, "end_call", script, stream=streamed)
        assert (got.calls, got.finish) == ([("end_call", DONE)], "tool_calls")
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("streamed", [True, False])
async def test_two_calls_with_one_id_get_two_ids(way: Way, streamed: bool) -> None:
    """Both arrive, and their results can be told apart."""
    script = [
        Role(),
        *call("transfer_to_agent", {"agent_number": 1}),
        CallPiece(1, "", name="transfer_to_agent", id="call_0"),
        CallPiece(1, '{"agent_number": 2}'),
        Finish("tool_calls"),
        Done(),
    ]
    got, _, heard = await turn(way, "transfer_to_agent", script, stream=streamed)
    assert got.calls == [("transfer_to_agent", {"agent_number": n}) for n in (1, 2)]
    ids = set(re.findall(rb'"(?:call_id|id)": ?"(call_[^"]*)"', heard.body))
    assert len(ids) == 2
    assert b"call_0" in ids
