"""The voice platform's system tools in whole turns: called well, called badly, and answered.

Each tool and the conversation in which it is due come from its event file; what the model plays
is written here. Every test holds for every way to a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    Script,
    Step,
    Unstreamed,
    Usage,
    answer,
    call,
    calls,
)
from tests.support import history
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Caller, Heard
from tests.support.ways import CHAT, Answer, Way

pytestmark = pytest.mark.looptime

EVENTS = Path(__file__).parents[4] / "events"
FAILURE = PHRASES["en"].failure


@dataclass(frozen=True)
class Case:
    """A system tool with good calls, misspelt calls that are coerced, and invalid calls."""

    good: Mapping[str, Any]
    coerced: Mapping[str, Mapping[str, Any]]
    """What a model may write, and what must arrive."""
    invalid: Mapping[str, str]
    """What a model may write, and what it must be told."""
    says: str = ""
    """What models like to say in the same turn."""


def event(name: str) -> dict[str, Any]:
    """Return the request in the tool's event file."""
    path = EVENTS / f"url-chat-tool-{name.replace('_', '-')}.json"
    body: dict[str, Any] = json.loads(json.loads(path.read_text())["body"])
    return body


DONE = {"reason": "All is done."}
TONES = {"reason": "Navigating to customer service", "dtmf_tones": "2"}
PERSON = {
    "transfer_number": "+15550101",
    "client_message": "One moment, I connect you.",
    "agent_message": "A complaint.",
}

CASES: dict[str, Case] = {
    "end_call": Case(
        {"reason": "All is done.", "message": "Goodbye!"},
        {
            '{"reason": "All is done.",}': DONE,
            '```json\n{"reason": "All is done."}\n```': DONE,
            "{'reason': 'All is done.'}": DONE,
            '{"reason": "All is done.", "message": null}': DONE,
            '{"reason": "All is done.", "message": "<farewell>"}': DONE,
            '{"Reason": "All is done."}': DONE,
        },
        {
            "{}": "reason",
            '{"message": "Goodbye!"}': "reason",
            '{"reason": "<reason>"}': "reason: the value is a placeholder",
            '{"reason": "{{reason}}"}': "reason: the value is a placeholder",
            '{"reason": "All': "one JSON object",
            "All is done.": "one JSON object",
            "[]": "one JSON object",
        },
        says="It was a pleasure. ",
    ),
    "language_detection": Case(
        {"reason": "The user speaks German.", "language": "de"},
        {
            '{"reason": "r", "language": "DE"}': {"reason": "r", "language": "de"},
            '{"reason": "r", "language": " de"}': {"reason": "r", "language": "de"},
        },
        {
            '{"reason": "r", "language": "fr"}': '["en","de","es"]',
            '{"reason": "r", "language": "German"}': '["en","de","es"]',
            '{"language": "de"}': "reason",
            '{"reason": "r"}': "language",
        },
        says="Einen Moment. ",
    ),
    "transfer_to_agent": Case(
        {"agent_number": 0, "reason": "warranty"},
        {
            '{"agent_number": "0"}': {"agent_number": 0},
            '{"agent_number": "1", "reason": null}': {"agent_number": 1},
            '{"agentNumber": 0}': {"agent_number": 0},
            '"{\\"agent_number\\": 0}"': {"agent_number": 0},
        },
        {
            '{"agent_number": "repairs"}': "agent_number",
            '{"agent_number": 0.5}': "agent_number",
            '{"reason": "warranty"}': "agent_number",
        },
        says="I'm transferring you to the workshop. ",
    ),
    "transfer_to_number": Case(
        PERSON,
        {
            json.dumps({**PERSON, "transfer_number": "+1 555-0101"}): PERSON,
            json.dumps({**PERSON, "transfer_number": 15550101}): PERSON,
        },
        {
            json.dumps({**PERSON, "transfer_number": "+15559999"}): '["+15550100","+15550101"]',
            json.dumps({**PERSON, "transfer_number": "<number>"}): "transfer_number",
            json.dumps({"transfer_number": "+15550101"}): "client_message",
        },
        says="I'll get the manager. ",
    ),
    "skip_turn": Case(
        {"reason": "The user is looking for a number."},
        {"": {}, "null": {}, '{"reason": null}': {}},
        {'{"reason': "one JSON object"},
    ),
    "play_keypad_touch_tone": Case(
        TONES,
        {
            # The voice platform's documentation prints just this.
            '"{"reason": "Navigating to customer service", "dtmf_tones": "2"}"': TONES,
            '{"dtmf_tones": 2}': {"dtmf_tones": "2"},
        },
        {'{"reason": "menu"}': "dtmf_tones", '{"dtmf_tones": "<tones>"}': "dtmf_tones"},
    ),
    "voicemail_detection": Case(
        {"reason": "An automated greeting."},
        {'{"reason": "An automated greeting.",}': {"reason": "An automated greeting."}},
        {"{}": "reason"},
    ),
    "update_state": Case(
        {"customer_name": "Kim", "bicycles": 2, "is_urgent": True, "frame_size_cm": 54.5},
        {
            '{"bicycles": "2", "is_urgent": "true", "frame_size_cm": "54.5"}': {
                "bicycles": 2,
                "is_urgent": True,
                "frame_size_cm": 54.5,
            },
            '{"customer_name": "Kim", "bicycles": null}': {"customer_name": "Kim"},
            "{'is_urgent': True}": {"is_urgent": True},
        },
        {'{"bicycles": "two"}': "bicycles", '{"is_urgent": "perhaps"}': "is_urgent"},
    ),
}

GOOD = sorted(CASES)
COERCED = [(name, sent) for name in GOOD for sent in CASES[name].coerced]
INVALID = [(name, sent) for name in GOOD for sent in CASES[name].invalid]


def request_of(way: Way, name: str, *more: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the event's conversation, continued by `more`, as this way asks it."""
    given = event(name)
    tools = [tool["function"] for tool in given["tools"]]
    messages = [*given["messages"], *more]
    return way.body(tools=tools, **{**history.of(way, messages), **fields})


async def turn(
    way: Way, name: str, *scenes: Script, post: Mapping[str, Any] | None = None, **fields: Any
) -> tuple[Answer, PlayedUpstream, Heard]:
    """Play one turn of the event's conversation."""
    upstream = PlayedUpstream(*scenes)
    heard = await way.post(way.caller(upstream), request_of(way, name, **fields), **(post or {}))
    return way.read(heard), upstream, heard


def feedback(upstream: PlayedUpstream) -> str:
    """Return what the model was told when it was asked once more."""
    role, text = history.told(upstream.requests[1].json)[-1]
    assert role == "user"
    return text


def raw_chunks(script: Sequence[Step]) -> list[bytes]:
    """Return the chunks of a scripted chat completion's calls, as they left the model."""
    from local.scripted.wires import ChatStream

    wire = ChatStream("m", include_usage=True)
    return [wire.render(step) for step in script if isinstance(step, CallPiece)]


def test_every_system_tool_has_a_case() -> None:
    """Each event file that offers a system tool has one."""
    files = {path.stem for path in EVENTS.glob("url-chat-tool-*.json")} - {"url-chat-tool-result"}
    assert files == {f"url-chat-tool-{name.replace('_', '-')}" for name in CASES}


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_call_is_delivered(way: Way, name: str) -> None:
    """It takes one request, arrives the moment it is complete, and nothing is spoken beside it."""
    script = calls(name, CASES[name].good, at_ms=400)
    got, upstream, heard = await turn(way, name, script)
    assert (got.text, got.calls) == ("", [(name, CASES[name].good)])
    assert got.finish == "tool_calls"
    assert {at_ms for at_ms, _ in heard.pieces} <= {0, 400}
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_call_is_relayed_in_its_own_chunks(name: str) -> None:
    """The chunks of a chat completion are passed on to the byte."""
    script = [Role(), *call(name, CASES[name].good, pieces=5), Finish("tool_calls"), Done()]
    _, _, heard = await turn(CHAT, name, script)
    assert b"".join(raw_chunks(script)) in heard.body


@pytest.mark.parametrize("name", GOOD)
async def test_text_and_a_call_in_one_turn(way: Way, name: str) -> None:
    """The words are heard as they come, and the call when it is complete."""
    words = CASES[name].says or "Just a second. "
    script = [At(400), Role(), Say(words), At(900), *call(name, CASES[name].good)]
    got, _, heard = await turn(way, name, [*script, Finish("tool_calls"), Usage(), Done()])
    assert got.speech == [(400, words)]
    assert got.calls == [(name, CASES[name].good)]
    assert got.finish == "tool_calls"
    assert heard.pieces[-1][0] == 900


@pytest.mark.parametrize(("name", "sent"), COERCED)
async def test_a_misspelt_call_is_coerced(way: Way, name: str, sent: str) -> None:
    """It arrives in one delta with valid arguments, without a second request or a word."""
    got, upstream, heard = await turn(way, name, calls(name, sent, at_ms=400))
    assert got.calls == [(name, CASES[name].coerced[sent])]
    assert (got.text, got.finish, len(upstream.requests)) == ("", "tool_calls", 1)
    if way is CHAT:
        (part,) = [part for _, part in heard.calls]
        assert part["function"]["name"] == name
        assert json.loads(part["function"]["arguments"]) == CASES[name].coerced[sent]
        assert part["id"] == "call_0"


@pytest.mark.parametrize(("name", "sent"), INVALID)
async def test_an_invalid_call_is_asked_for_once_more(way: Way, name: str, sent: str) -> None:
    """The model is told what is wrong and what is expected; its good call is delivered."""
    good = CASES[name].good
    got, upstream, _ = await turn(way, name, calls(name, sent), calls(name, good))
    assert got.calls == [(name, good)]
    assert (got.text, got.finish) == ("", "tool_calls")
    first, second = upstream.requests
    assert CASES[name].invalid[sent] in feedback(upstream)
    assert name in feedback(upstream)
    assert history.told(second.json)[:-1] == history.told(first.json)
    assert second.json["tools"] == first.json["tools"]


@pytest.mark.parametrize("name", GOOD)
async def test_an_unknown_tool_is_asked_for_once_more(way: Way, name: str) -> None:
    """The model is told which tools are offered, and may then answer in words."""
    got, upstream, _ = await turn(way, name, calls("press_button", {}), answer("Very well."))
    assert (got.text, got.calls, got.finish) == ("Very well.", [], "stop")
    assert "no tool 'press_button'" in feedback(upstream)
    for offered in event(name)["tools"]:
        assert offered["function"]["name"] in feedback(upstream)


@pytest.mark.parametrize("name", GOOD)
async def test_the_second_request_holds_what_was_said(way: Way, name: str) -> None:
    """The model is reminded of its own words, so that it does not start over."""
    sent = next(iter(CASES[name].invalid))
    words = CASES[name].says or "Just a second. "
    first = [Role(), Say(words), *call(name, sent), Finish("tool_calls"), Done()]
    got, upstream, _ = await turn(way, name, first, calls(name, CASES[name].good))
    assert (got.text, got.calls) == (words, [(name, CASES[name].good)])
    *_, spoken, _ = history.told(upstream.requests[1].json)
    assert spoken == ("assistant", words)


@pytest.mark.parametrize("name", GOOD)
async def test_a_call_that_is_invalid_twice_is_no_silence(way: Way, name: str) -> None:
    """The failure sentence follows what was said, with an honest end."""
    sent = next(iter(CASES[name].invalid))
    words = CASES[name].says or "Just a second. "
    bad = [*call(name, sent), Finish("tool_calls"), Done()]
    got, upstream, _ = await turn(way, name, [Role(), Say(words), *bad], [Role(), *bad])
    assert got.text.startswith(words)
    assert got.text.endswith(FAILURE)
    assert (got.calls, got.finish, len(upstream.requests)) == ([], "stop", 2)
    got, _, _ = await turn(way, name, [Role(), *bad])
    assert (got.text, got.calls, got.finish) == (FAILURE, [], "stop")


@pytest.mark.parametrize("name", GOOD)
async def test_a_client_that_wants_errors_gets_one(way: Way, name: str) -> None:
    """It gets no phrase and no call but the error, as a status or as an event that SDKs raise."""
    sent = next(iter(CASES[name].invalid))
    bad = [*call(name, sent), Finish("tool_calls"), Done()]
    post = {"on_failure": "error"}
    got, _, _ = await turn(way, name, [Role(), *bad], post=post)
    assert got.error is not None
    assert (got.text, got.calls, got.error["code"]) == ("", [], "invalid_tool_call")
    got, _, heard = await turn(way, name, [Role(), Say("Well. "), *bad], [Role(), *bad], post=post)
    assert (heard.status, got.text) == (200, "Well. ")
    assert got.error is not None
    assert got.calls == []


async def test_any_number_of_calls_in_parallel(way: Way) -> None:
    """Thirty calls arrive in their order, each whole, whether they came mixed or in turn."""
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


async def test_one_bad_call_among_good_ones(way: Way) -> None:
    """The model is asked once more; if the call is still bad, the good ones are delivered."""
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
    """Its neighbours keep their meaning, their order and their ids."""
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


@pytest.mark.parametrize(
    ("streamed", "unasked"), [(True, False), (True, True), (False, False)], ids=str
)
async def test_endless_arguments_are_not_delivered(way: Way, streamed: bool, unasked: bool) -> None:
    """Ten megabytes in one last piece, or in a whole JSON answer, are no call."""
    endless = json.dumps({**DONE, "message": "x" * 10_000_000})
    script: list[Step] = [
        *([Unstreamed()] if unasked else []),
        Role(),
        CallPiece(0, "", name="end_call", id="call_0"),
        CallPiece(0, endless[:12]),
        CallPiece(0, endless[12:]),
        Finish("tool_calls"),
        Done(),
    ]
    got, _, heard = await turn(way, "end_call", script, stream=streamed)
    assert got.calls == []
    assert len(heard.body) < 10_000


@pytest.mark.parametrize("streamed", [True, False])
async def test_the_same_call_twice_is_delivered_once(way: Way, streamed: bool) -> None:
    """With one id or with two: a client would hand the caller over, or book, twice."""
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
async def test_two_calls_of_one_id_get_two(way: Way, streamed: bool) -> None:
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


@pytest.mark.parametrize("words", ["Goodbye, and take care! ", "All right. Goodbye and take care."])
async def test_a_farewell_is_heard_once(way: Way, words: str) -> None:
    """A farewell spoken in this turn is taken out of `message`, which the platform speaks."""
    arguments = {"reason": "done", "message": "Goodbye, and take care."}
    script = [Role(), Say(words), *call("end_call", arguments), Finish("tool_calls"), Done()]
    got, upstream, _ = await turn(way, "end_call", script)
    assert (got.text, got.calls) == (words, [("end_call", {"reason": "done"})])
    assert len(upstream.requests) == 1


async def test_another_farewell_is_kept(way: Way) -> None:
    """A `message` that was not said in this turn is for the platform to speak."""
    arguments = {"reason": "done", "message": "Have a nice weekend!"}
    script = [Role(), Say("Goodbye. "), *call("end_call", arguments), Finish("tool_calls"), Done()]
    got, _, _ = await turn(way, "end_call", script)
    assert got.calls == [("end_call", arguments)]


@pytest.mark.parametrize("name", GOOD)
async def test_the_result_of_a_call_continues_the_conversation(way: Way, name: str) -> None:
    """Call and result reach the model paired, and its answer the caller."""
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
    """A model that stays away is given up after 8,000 ms, not 12,000."""
    upstream = PlayedUpstream([Hold()])
    more = [history.called(name, "{}"), history.result("ok")]
    heard = await way.post(way.caller(upstream), request_of(way, name, *more))
    got = way.read(heard)
    at_ms, words = got.speech[-1]
    assert (at_ms, got.finish) == (8000, "stop")
    assert words.strip() in {phrases.failure for phrases in PHRASES.values()}


@pytest.mark.parametrize("name", GOOD)
async def test_a_buffered_call_is_checked_as_well(way: Way, name: str) -> None:
    """Good calls pass, misspelt ones are coerced, and invalid ones are asked for once more."""
    case = CASES[name]
    got, upstream, _ = await turn(way, name, calls(name, case.good), stream=False)
    assert (got.calls, got.finish, len(upstream.requests)) == (
        [(name, case.good)],
        "tool_calls",
        1,
    )
    for sent, delivered in case.coerced.items():
        got, upstream, _ = await turn(way, name, calls(name, sent), stream=False)
        assert (got.calls, len(upstream.requests)) == ([(name, delivered)], 1)
    for sent, told in case.invalid.items():
        got, upstream, _ = await turn(
            way, name, calls(name, sent), calls(name, case.good), stream=False
        )
        assert (got.calls, len(upstream.requests)) == ([(name, case.good)], 2)
        assert told in feedback(upstream)


async def test_a_buffered_farewell_is_heard_once(way: Way) -> None:
    """The platform may speak both the text and the `message` of a buffered answer."""
    arguments = {"reason": "done", "message": "Goodbye!"}
    script = [Role(), Say("Goodbye!"), *call("end_call", arguments), Finish("tool_calls"), Done()]
    got, _, _ = await turn(way, "end_call", script, stream=False)
    assert (got.text, got.calls) == ("Goodbye!", [("end_call", {"reason": "done"})])


async def test_renamed_tools_are_tools(way: Way) -> None:
    """The platform lets people rename its tools: the schema in the request counts."""
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
