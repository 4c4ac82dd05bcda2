"""Tool calls in the shapes that servers give them, in whole turns: each delivered once, complete.

Each shape is played to streaming callers of both APIs, and to callers who want one body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from local.scripted.script import At, Raw, Step, answer
from tests.support import rules
from tests.support.chat_events import chat_event, chat_whole
from tests.support.tools import SKIP_TURN, TRANSFER
from tests.support.turns import Heard
from tests.support.ways import CHAT, OVER_CHAT, Way

pytestmark = pytest.mark.looptime

NOW: dict[str, Any] = {
    "name": "hold",
    "description": "Holds the line.",
    "parameters": {"type": "object", "properties": {}},
}
TOOLS = [TRANSFER, SKIP_TURN, NOW]
ONE, TWO = '{"agent_number": 1}', '{"agent_number": 2}'
GONE = object()


def part(
    arguments: Any = GONE,
    *,
    index: Any = 0,
    id: Any = GONE,  # noqa: A002 - the field's name
    name: Any = GONE,
    **more: Any,
) -> dict[str, Any]:
    """Return a piece of a call; fields that are not given are left out."""
    function = {"name": name, "arguments": arguments}
    fields = {"index": index, "id": id, "type": "function", **more}
    known = {key: value for key, value in function.items() if value is not GONE}
    return {key: value for key, value in fields.items() if value is not GONE} | {"function": known}


def named(arguments: Any = "", **more: Any) -> dict[str, Any]:
    """Return the first piece of a call of TRANSFER."""
    return part(arguments, **{"id": "call_1", "name": TRANSFER["name"], **more})


Pieces = Sequence[Mapping[str, Any] | Sequence[Mapping[str, Any]]]


def played(*pieces: Any, finish: str = "tool_calls") -> list[Step]:
    """Return an answer of these pieces of calls; those in one list share a chunk."""
    chunks = [piece if isinstance(piece, list) else [piece] for piece in pieces]
    return streamed(*({"tool_calls": chunk} for chunk in chunks), finish=finish)


def streamed(*deltas: Mapping[str, Any], finish: str = "tool_calls") -> list[Step]:
    """Return an event stream with these deltas, even where none was asked for."""
    events = [chat_event(delta) for delta in ({"role": "assistant"}, *deltas)]
    return [*events, chat_event({}, finish), Raw(b"data: [DONE]\n\n")]


@pytest.fixture(params=[CHAT, OVER_CHAT], ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """Each way to read a chat completion."""
    found: Way = request.param
    return found


ONE_CALL: dict[str, Pieces] = {
    "in one piece": [named(ONE)],
    "without an index": [named(ONE, index=GONE)],
    "without an index, in pieces": [
        named(ONE[:5], index=GONE),
        part(ONE[5:9], index=GONE),
        named(ONE[9:], index=GONE),
    ],
    "index as text": [named(ONE[:5], index="0"), part(ONE[5:], index="0")],
    "without an id": [named(ONE, id=GONE)],
    "id as a number": [named(ONE[:5], id=7), part(ONE[5:], id=7)],
    "id and name empty later": [named(), part(ONE[:5], id="", name=""), part(ONE[5:], id="")],
    "id and name null later": [named(), part(ONE[:5], id=None, name=None), part(ONE[5:])],
    "id and name again": [named(ONE[:5]), named(ONE[5:])],
    "id, then name": [part("", id="call_1"), part("", name=TRANSFER["name"]), part(ONE)],
    "name behind its arguments": [part(ONE, id="call_1"), part("", name=TRANSFER["name"])],
    "name in two": [named(name="transfer_"), part(ONE, name="to_agent")],
    "name in three, with the id": [
        named(name="transfer"),
        named(name="_to_"),
        named(ONE, name="agent"),
    ],
    "empty object first": [named("{}"), part(ONE[:5]), part(ONE[5:])],
    "empty object first, named twice": [named("{}"), named(ONE)],
    "empty object in the piece": [named("{}" + ONE)],
    "arguments twice": [named(ONE[:5]), part(ONE[5:]), part(ONE)],
    "twice in one slot": [named(ONE), named(ONE)],
    "twice in two slots": [named(ONE), named(ONE, index=1, id="call_2")],
    "arguments as an object": [named({"agent_number": 1})],
    "nothing before and behind": [{}, part(""), named(ONE), {"index": 0}],
    "an id and nothing more behind": [named(ONE), part("", index=1, id="call_2")],
    "flat": [{"index": 0, "id": "call_1", "name": TRANSFER["name"], "arguments": ONE}],
    "pieces under numbers of their own": [named(ONE[:5]), part(ONE[5:], index=1)],
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("pieces", list(ONE_CALL.values()), ids=list(ONE_CALL))
async def test_a_call_is_delivered_once(pieces: Pieces, way: Way, stream: bool) -> None:
    """However it is cut, it gets an id of its own, and the model is asked once."""
    got, upstream, _ = await way.turn(played(*pieces), tools=TOOLS, stream=stream)
    assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
    assert (got.text, got.finish, len(upstream.requests)) == ("", "tool_calls", 1)


TWO_CALLS: dict[str, Pieces] = {
    "in one chunk": [[named(ONE), named(TWO, index=1, id="call_2")]],
    "without an index": [named(ONE, index=GONE), named(TWO, index=GONE, id="call_2")],
    "in one chunk, without an index": [[named(ONE, index=GONE), named(TWO, index=GONE, id="b")]],
    "without index and id": [named(ONE, index=GONE, id=GONE), named(TWO, index=GONE, id=GONE)],
    "in one slot": [named(ONE), named(TWO, id="call_2")],
    "in one slot, without ids": [named(ONE, id=""), named(TWO, id="")],
    "in one slot, under one id": [named(ONE), named(TWO)],
    "in one slot, id then name": [
        named(ONE),
        part("", id="call_2"),
        part(TWO, name=TRANSFER["name"]),
    ],
    "from 1": [named(ONE, index=1), named(TWO, index=2, id="call_2")],
    "in pieces, named twice": [
        named(ONE[:7]),
        named(ONE[7:]),
        named(TWO[:7], index=1, id="call_2"),
        named(TWO[7:], index=1, id="call_2"),
    ],
    "ids null and empty": [named(ONE, id=None), named(TWO, index=1, id="")],
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("pieces", list(TWO_CALLS.values()), ids=list(TWO_CALLS))
async def test_two_calls_are_told_apart(pieces: Pieces, way: Way, stream: bool) -> None:
    """Whichever indices they have, strict clients read two."""
    got, upstream, heard = await way.turn(played(*pieces), tools=TOOLS, stream=stream)
    assert [arguments["agent_number"] for _, arguments in got.calls] == [1, 2]
    assert len(upstream.requests) == 1
    if stream and way is CHAT:
        message = (await rules.sdk_final(heard.body)).choices[0].message
        assert [one.function.name for one in message.tool_calls or ()] == ["transfer_to_agent"] * 2


@pytest.mark.parametrize(
    "pieces",
    [
        [part("", name="hold"), part(ONE, name=TRANSFER["name"])],
        [part("", name="hold", index=GONE), part(ONE, name=TRANSFER["name"], index=GONE)],
        [part("{}", name="hold"), part(ONE[:5], name=TRANSFER["name"]), part(ONE[5:])],
        [part(name="hold"), part(ONE, name="functions.transfer_to_agent")],
    ],
    ids=["without arguments", "without an index", "in pieces", "with a prefix"],
)
async def test_another_tools_name_ends_the_call_before(pieces: Pieces, way: Way) -> None:
    """Calls with one index and no ids are told apart by their tools."""
    got, upstream, _ = await way.turn(played(*pieces), tools=TOOLS)
    assert got.calls == [("hold", {}), ("transfer_to_agent", {"agent_number": 1})]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_of_the_older_api_is_a_call(way: Way, stream: bool) -> None:
    """Servers without `tool_calls` answer with `function_call`, streamed or not."""
    pieces = [{"name": "transfer_to_agent", "arguments": ""}, {"arguments": ONE}]
    function = {"name": "transfer_to_agent", "arguments": ONE}
    whole = chat_whole({"role": "assistant", "function_call": function}, "function_call")
    events = streamed(*({"function_call": piece} for piece in pieces), finish="function_call")
    for script in (events, [whole]):
        got, upstream, _ = await way.turn(script, tools=TOOLS, stream=stream)
        assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
        assert (got.finish, len(upstream.requests)) == ("tool_calls", 1)


async def test_both_forms_of_one_call_are_one(way: Way) -> None:
    """Some gateways send the older form as well as the newer one."""
    function = {"name": "transfer_to_agent", "arguments": ONE}
    script = streamed({"function_call": function, "tool_calls": [named(ONE)]})
    got, _, _ = await way.turn(script, tools=TOOLS)
    assert got.calls == [("transfer_to_agent", {"agent_number": 1})]


@pytest.mark.parametrize("pieces", [[{}], [part("")], [part("", id="call_1")]])
async def test_an_empty_call_is_an_empty_answer(pieces: Pieces, way: Way) -> None:
    """There is nothing to carry out, so a model is asked again, and the caller hears words."""
    good = answer("Until six.")
    got, upstream, _ = await way.turn(played(*pieces), good, tools=TOOLS)
    assert (got.text, got.calls, len(upstream.requests)) == ("Until six.", [], 2)


# -- extra fields that the model's API wants back

SIGNED = {"google": {"thought_signature": "AbCd"}}
BY_VERTEX = {"vertex": {"thought_signature": "EfGh"}}


def extras_in(way: Way, heard: Heard) -> list[Any]:
    """Return the extra fields of each delivered call."""
    if heard.headers["content-type"] == "application/json":
        body = json.loads(heard.body)
    else:
        body = [event for _, event in heard.events if isinstance(event, dict)][-1]
        if way is CHAT:
            extras: dict[int, dict[str, Any]] = {}
            for _, part in heard.calls:
                extras.setdefault(part["index"], {}).update(part.get("extra_content") or {})
            return [extra or None for extra in extras.values()]
        body = body["response"]
    if way is CHAT:
        calls = body["choices"][0]["message"]["tool_calls"]
    else:
        calls = [item for item in body["output"] if item["type"] == "function_call"]
    return [call.get("extra_content") for call in calls]


SIGNATURES: dict[str, tuple[Pieces, list[Any]]] = {
    "with the call": ([named(ONE, extra_content=SIGNED)], [SIGNED]),
    "without an index": ([named(ONE, index=GONE, extra_content=SIGNED)], [SIGNED]),
    "in a later frame": ([named(ONE), part(extra_content=SIGNED)], [SIGNED]),
    "later, without an index": (
        [named(ONE), part(index=GONE, extra_content=BY_VERTEX)],
        [BY_VERTEX],
    ),
    "from both names": (
        [named(ONE, extra_content=SIGNED), part(extra_content=BY_VERTEX)],
        [{**SIGNED, **BY_VERTEX}],
    ),
    "of a call that is repaired": (
        [named('{"agent_number": "1"}', extra_content=SIGNED)],
        [SIGNED],
    ),
    "of a call without an id": ([named(ONE, id="", extra_content=SIGNED)], [SIGNED]),
    "of the first of two": (
        [[named(ONE, extra_content=SIGNED), named(TWO, index=1, id="call_2")]],
        [SIGNED, None],
    ),
    "of each of two, in one slot": (
        [named(ONE, extra_content=SIGNED), named(TWO, id="call_2", extra_content=BY_VERTEX)],
        [SIGNED, BY_VERTEX],
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("case", list(SIGNATURES.values()), ids=list(SIGNATURES))
async def test_a_signature_stays_with_its_call(
    case: tuple[Pieces, list[Any]], way: Way, stream: bool
) -> None:
    """Gemini refuses the turn after a tool without it (ai.google.dev, "Thought signatures")."""
    pieces, expected = case
    _, _, heard = await way.turn(played(*pieces, finish="stop"), tools=TOOLS, stream=stream)
    assert extras_in(way, heard) == expected


async def test_a_signature_survives_buffer_words(way: Way) -> None:
    """The call is then rewritten for the stream that we opened."""
    late = [At(1500), *played(named(ONE, extra_content=SIGNED))]
    _, _, heard = await way.turn(late, tools=TOOLS, settings={"buffer_words_after_ms": 500})
    assert extras_in(way, heard) == [SIGNED]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_signature_survives_a_json_answer(way: Way, stream: bool) -> None:
    """It survives a repair of the call, too."""
    call = named('{"agent_number": "1"}', extra_content=SIGNED)
    whole = [chat_whole({"role": "assistant", "content": None, "tool_calls": [call]}, "stop")]
    got, _, heard = await way.turn(whole, tools=TOOLS, stream=stream)
    assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
    assert extras_in(way, heard) == [SIGNED]


async def test_a_signature_survives_a_call_that_is_asked_for_again(way: Way) -> None:
    """The good one of two calls is kept with its extra fields."""
    bad = named('{"agent_number": "many"}', index=1, id="call_2")
    first = played(named(ONE, extra_content=SIGNED), bad)
    got, upstream, heard = await way.turn(first, played(named(TWO, id="call_3")), tools=TOOLS)
    assert [arguments["agent_number"] for _, arguments in got.calls] == [1, 2]
    assert len(upstream.requests) == 2
    assert extras_in(way, heard) == [SIGNED, None]
