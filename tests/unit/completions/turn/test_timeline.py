"""What each request of a turn did, when and why, in the log and in the stream."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from completions.responder import Conversation, Event
from local.scripted.script import (
    At,
    Cut,
    Done,
    Fail,
    Finish,
    Head,
    Hold,
    Pause,
    Role,
    Say,
    Script,
    Step,
    Think,
    answer,
    calls,
    refused,
)
from tests.support.in_process import PlayedUpstream
from tests.support.logs import Logged
from tests.support.rules import sdk_chunks
from tests.support.tools import LOOKUP
from tests.support.turns import Caller, body
from tests.support.ways import Way

pytestmark = pytest.mark.looptime

FIRST_IS_SLOW: Script = [At(2600), *answer("Late.")]
NONE: Script = [Role(), Finish(), Done()]


async def test_a_hedge_and_the_request_that_it_beat(way: Way, logs: Logged) -> None:
    """Times are milliseconds since the request arrived; moments that never came are left out."""
    await way.turn(
        FIRST_IS_SLOW,
        fallback=[Head(), At(500), Role(), At(900), Say("From F. "), Pause(100), Finish(), Done()],
        settings={"hedge_after_ms": 1200, "fallback_model": "f", "first_token_timeout_ms": 0},
    )
    first, second = logs.event("turn.finished")["candidates"]
    assert first == {
        "candidate": "upstream",
        "asked": "first",
        "sent_ms": 0.0,
        "ended_ms": 2100.0,
        "why": "lost",
    }
    assert second == {
        "candidate": "fallback",
        "asked": "hedge",
        "sent_ms": 1200.0,
        "headers_ms": 1200.0,
        "first_word_ms": 2100.0,
        "ended_ms": 2200.0,
        "why": "answered",
    }


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_and_the_request_after_it(way: Way, logs: Logged, stream: bool) -> None:
    """The result of each is its error's code, or `answered`."""
    await way.turn(refused(500), fallback=answer("Yes."), stream=stream)
    lives = logs.event("turn.finished")["candidates"]
    assert [(one["candidate"], one["asked"], one["why"]) for one in lives] == [
        ("upstream", "first", "upstream_500"),
        ("fallback", "retry", "answered"),
    ]


ENDS: dict[str, tuple[list[Script], list[str]]] = {
    "an answer": ([answer("Yes.")], ["answered"]),
    "a call": ([calls("lookup", {"count": 3})], ["answered"]),
    "no finish": ([[Role(), Say("Yes. No."), Done()]], ["answered"]),
    "no word, twice": ([NONE, NONE], ["empty", "empty"]),
    "a call that must be asked for again": (
        [calls("lookup", {}), calls("lookup", {"count": 3})],
        ["answered", "answered"],
    ),
    "an error event": ([[Role(), Say("Yes. No"), Fail()]], ["upstream_502"]),
    "a broken connection": ([[Role(), Say("Yes. No"), Cut()]], ["upstream_unavailable"]),
    "a closed connection": ([[Role(), Say("Yes. No")]], ["upstream_unavailable"]),
    "a stall": ([[Role(), Say("Yes. No"), Hold()]], ["given_up"]),
    "what follows a finish": ([[*answer("Yes."), Cut()]], ["answered"]),
    "an open connection": ([[*answer("Yes."), Hold()]], ["answered"]),
}


@pytest.mark.parametrize(("scenes", "why"), ENDS.values(), ids=ENDS)
async def test_why_a_request_ended(
    way: Way, logs: Logged, scenes: list[Sequence[Step]], why: list[str]
) -> None:
    """One word gives the reason, whatever the API did."""
    await way.turn(*scenes, tools=[LOOKUP])
    assert [one["why"] for one in logs.event("turn.finished")["candidates"]] == why


async def test_a_hang_up_ends_every_request(way: Way, logs: Logged) -> None:
    """Of two running requests neither is marked as lost."""
    upstream = PlayedUpstream([Hold()], fallback=[Hold()])
    await way.post(way.caller(upstream, hedge_after_ms=500), hang_up_ms=700)
    lives = logs.event("turn.finished")["candidates"]
    assert [(one["why"], one["ended_ms"]) for one in lives] == [("hung_up", 700.0)] * 2


async def test_no_model_answers_in_time(way: Way, logs: Logged) -> None:
    """A request that still runs at the end of the budget is marked as given up."""
    await way.turn([Hold()], settings={"turn_budget_ms": 3000, "first_token_timeout_ms": 0})
    (life,) = logs.event("turn.finished")["candidates"]
    assert (life["why"], life["ended_ms"]) == ("given_up", 3000.0)


async def test_thoughts_are_no_first_word(way: Way, logs: Logged) -> None:
    """Neither is text without a letter."""
    await way.turn([Role(), Think("Hm."), Say("... "), At(400), *answer("Yes.")[1:]])
    (life,) = logs.event("turn.finished")["candidates"]
    assert life["first_word_ms"] == 400.0


async def test_an_agents_requests_are_listed_too(logs: Logged) -> None:
    """The agent itself is not a request, and each of its questions starts with a first one."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        for _ in range(2):
            async for event in conversation.ask():
                yield event

    await Caller(PlayedUpstream(answer("Yes. "), answer("No.")), agent=agent).post(body())
    lives = logs.event("turn.finished")["candidates"]
    assert [(one["candidate"], one["asked"], one["why"]) for one in lives] == [
        ("upstream", "first", "answered"),
        ("upstream", "first", "answered"),
    ]


async def test_a_turn_lists_three_requests_at_most(way: Way, logs: Logged) -> None:
    """A turn makes no more requests."""
    await way.turn(refused(500))
    lives = logs.event("turn.finished")["candidates"]
    assert [one["asked"] for one in lives] == ["first", "retry", "retry"]


# -- in the stream


_MARK = b": candidates "


def _comments(data: bytes) -> list[Any]:
    return [
        json.loads(line.removeprefix(_MARK)) for line in data.splitlines() if line.startswith(_MARK)
    ]


def _without_comments(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b":"))


COMMENTED: dict[str, list[Script]] = {
    "an answer": [answer("Yes.")],
    "a call": [calls("lookup", {"count": 3})],
    "an apology": [refused(500)],
    "a cut": [[Role(), Say("Yes. No"), Cut()]],
}


@pytest.mark.parametrize("scenes", COMMENTED.values(), ids=COMMENTED)
async def test_a_stream_lists_its_requests_to_clients_that_ask(
    way: Way, logs: Logged, scenes: list[Script]
) -> None:
    """The comment before its end equals the log's list, and other clients get no byte of it."""
    plain, _, silent = await way.turn(*scenes, tools=[LOOKUP])
    caller, request = way.caller(PlayedUpstream(*scenes)), way.body(tools=[LOOKUP])
    told = await way.post(caller, request, comments=True)
    (comment,) = _comments(told.body)
    assert comment == logs.events("turn.finished")[-1]["candidates"]
    assert told.body.index(_MARK) < told.body.rindex(b"data: ")
    read = way.stream(_without_comments(told.body))
    assert (read.text, read.calls, read.finish) == (plain.text, plain.calls, plain.finish)
    assert _without_comments(silent.body) == silent.body


async def test_openais_client_ignores_the_comment() -> None:
    """It does not treat a comment as an event."""
    told = await Caller(PlayedUpstream(answer("Yes."))).post(comments=True)
    assert _comments(told.body)
    contents = [chunk.choices[0].delta.content for chunk in await sdk_chunks(told.body)]
    assert "".join(text or "" for text in contents) == "Yes."


async def test_an_answer_in_one_piece_has_no_comment(way: Way) -> None:
    """JSON has no comments."""
    _, _, heard = await way.turn(answer("Yes."), stream=False, post={"comments": True})
    assert not _comments(heard.body)
    json.loads(heard.body)


async def test_an_error_status_has_no_comment(way: Way) -> None:
    """An error with a status of its own is JSON, too."""
    post = {"comments": True, "on_failure": "error"}
    _, _, heard = await way.turn(refused(400), post=post)
    assert (heard.status, _comments(heard.body)) == (400, [])
