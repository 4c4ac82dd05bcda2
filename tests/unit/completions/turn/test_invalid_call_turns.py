"""Misspelt and invalid calls of the voice platform's system tools, in whole turns.

Every test holds for every way to a model.
"""

from __future__ import annotations

import json

import pytest

from completions.speech.phrases import PHRASES
from local.scripted.script import (
    CallPiece,
    Done,
    Finish,
    Role,
    Say,
    Step,
    Unstreamed,
    answer,
    call,
    calls,
)
from tests.support import history
from tests.support.system_tools import CASES, COERCED, DONE, GOOD, INVALID, event, feedback, turn
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime
FAILURE = PHRASES["en"].failure


@pytest.mark.parametrize(("name", "sent"), COERCED)
async def test_a_misspelt_call_is_coerced(way: Way, name: str, sent: str) -> None:
    """It arrives in one delta with valid arguments, without a second request and without words."""
    got, upstream, heard = await turn(way, name, calls(name, sent, at_ms=400))
    assert got.calls == [(name, CASES[name].coerced[sent])]
    assert (got.text, got.finish, len(upstream.requests)) == ("", "tool_calls", 1)
    if way is CHAT:
        (part,) = [part for _, part in heard.calls]
        assert part["function"]["name"] == name
        assert json.loads(part["function"]["arguments"]) == CASES[name].coerced[sent]
        assert part["id"] == "call_0"


@pytest.mark.parametrize(("name", "sent"), INVALID)
async def test_an_invalid_call_is_asked_for_again_once(way: Way, name: str, sent: str) -> None:
    """The model is told what is wrong and what is expected; its good call is delivered."""
    good = CASES[name].good
    got, upstream, _ = await turn(way, name, calls(name, sent), calls(name, good))
    assert got.calls == [(name, good)]
    assert (got.text, got.finish) == ("", "tool_calls")
    first, second = upstream.requests
    assert CASES[name].invalid[sent] in feedback(upstream)
    assert name in feedback(upstream)
    assert history.texts(second.json)[:-1] == history.texts(first.json)
    assert second.json["tools"] == first.json["tools"]


@pytest.mark.parametrize("name", GOOD)
async def test_an_unknown_tool_is_asked_for_again_once(way: Way, name: str) -> None:
    """The model is told which tools exist, and may then answer in words."""
    got, upstream, _ = await turn(way, name, calls("press_button", {}), answer("Very well."))
    assert (got.text, got.calls, got.finish) == ("Very well.", [], "stop")
    assert "no tool 'press_button'" in feedback(upstream)
    for offered in event(name)["tools"]:
        assert offered["function"]["name"] in feedback(upstream)


@pytest.mark.parametrize("name", GOOD)
async def test_the_second_request_holds_what_was_said(way: Way, name: str) -> None:
    """The model sees its own words, so that it does not start over."""
    sent = next(iter(CASES[name].invalid))
    words = CASES[name].says or "Just a second. "
    first = [Role(), Say(words), *call(name, sent), Finish("tool_calls"), Done()]
    got, upstream, _ = await turn(way, name, first, calls(name, CASES[name].good))
    assert (got.text, got.calls) == (words, [(name, CASES[name].good)])
    *_, spoken, _ = history.texts(upstream.requests[1].json)
    assert spoken == ("assistant", words)


@pytest.mark.parametrize("name", GOOD)
async def test_a_call_that_is_invalid_twice_ends_in_words(way: Way, name: str) -> None:
    """The failure sentence follows what was said, and the finish is honest."""
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
    """It gets the error, as a status or as an event that SDKs raise, and no phrase or call."""
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


@pytest.mark.parametrize(
    ("streamed", "unasked"), [(True, False), (True, True), (False, False)], ids=str
)
async def test_endless_arguments_are_not_delivered(way: Way, streamed: bool, unasked: bool) -> None:
    """Ten megabytes, in one last piece or in a JSON answer, are dropped."""
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


@pytest.mark.parametrize("name", GOOD)
async def test_a_buffered_call_is_checked_too(way: Way, name: str) -> None:
    """Good calls pass, misspelt ones are coerced, and invalid ones are asked for again once."""
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
