"""A streamed turn's timers: when buffer words are spoken, and how long a model is waited for."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from completions.errors import KeyUnavailable
from completions.speech.phrases import PHRASES
from completions.sse import ServerSentEvent
from local.scripted.script import (
    At,
    Done,
    Finish,
    Hold,
    Pause,
    Role,
    Say,
    Script,
    Step,
    answer,
    call,
    calls,
    refused,
)
from local.scripted.script_player import RecordedRequest
from tests.support.in_process import PlayedUpstream
from tests.support.logs import Logged
from tests.support.tools import LOOKUP, TRANSFER
from tests.support.turns import Caller
from tests.support.ways import CHAT, RESPONSES, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]
SENTENCE = "It is sunny today. "
ANSWER = "Sunny and warm."
SLOW = answer(ANSWER, at_ms=2500)


# -- an early start


async def test_a_spoken_turn_starts_while_the_model_works(way: Way) -> None:
    """Status and headers leave before its first word, and are sent once."""
    got, _, heard = await way.turn(answer(ANSWER, at_ms=800))
    assert (heard.status, heard.started_ms) == (200, 2)
    assert (got.text, got.speech[0][0]) == (ANSWER, 800)


async def test_a_model_that_answers_at_once_does_not_wait_for_the_start(way: Way) -> None:
    """Status and headers leave with its first words."""
    got, _, heard = await way.turn(answer(ANSWER, at_ms=1))
    assert (heard.started_ms, got.speech[0][0]) == (1, 1)


class _Slow(PlayedUpstream):
    """A model that takes 300 ms to connect, or has no key."""

    key = True

    async def events(self, *args: Any) -> AsyncGenerator[list[ServerSentEvent]]:
        await asyncio.sleep(0.3)
        if not self.key:
            raise KeyUnavailable("No key can be read.")
        async for batch in super().events(*args):
            yield batch


async def test_nothing_starts_before_the_model_was_asked(way: Way) -> None:
    """Until the request is sent, the turn may still fail here."""
    upstream = _Slow(answer(ANSWER, at_ms=800))
    heard = await way.post(way.caller(upstream))
    assert (heard.started_ms, way.read(heard).text) == (302, ANSWER)
    upstream.key = False
    heard = await way.post(way.caller(upstream))
    assert (heard.status, heard.started_ms) == (503, 300)


@pytest.mark.parametrize(
    "fields",
    [
        {"post": {"on_failure": "error"}},
        {"json_format": True},
        {"stream": False},
        {"elevenlabs_extra_body": {"buffer_words_after_ms": 0}, "post": {"on_failure": "error"}},
    ],
    ids=str,
)
async def test_a_client_that_may_get_a_status_waits_for_it(
    way: Way, fields: dict[str, Any]
) -> None:
    """A program's turn starts with the model's first words or with its refusal."""
    _, _, heard = await way.turn(answer('{"a": 1}', at_ms=800), **fields)
    assert heard.started_ms == 800
    _, _, heard = await way.turn(refused(413, param="model", at_ms=700), **fields)
    assert (heard.status, heard.started_ms) == (413, 700)


async def test_a_chained_turn_does_not_start_early() -> None:
    """If the chain turns out to be unknown, the caller must send the whole history."""
    unknown = refused(400, code="previous_response_not_found", at_ms=700)
    _, _, heard = await RESPONSES.turn(unknown, previous_response_id="resp_unknown")
    assert (heard.status, heard.started_ms) == (400, 700)
    assert json.loads(heard.body)["error"]["code"] == "previous_response_not_found"


async def test_a_failure_after_an_early_start_is_spoken(way: Way) -> None:
    """If the second model has no key, it is too late for a status."""

    def without_a_key(_: RecordedRequest) -> list[Step]:
        raise KeyUnavailable("No key can be read.")

    got, _, heard = await way.turn(refused(400, at_ms=700), fallback=without_a_key)
    assert (heard.status, got.text, got.finish) == (200, ENGLISH.failure, "stop")


async def test_a_hang_up_after_an_early_start_is_one(logs: Logged) -> None:
    """Headers without a word are no answer, and the request to the model is cancelled."""
    upstream = PlayedUpstream([Hold()])
    heard = await Caller(upstream).post(hang_up_ms=400)
    assert (heard.status, heard.pieces, heard.ended) == (200, [], False)
    assert logs.event("turn.finished")["outcome"] == "hung_up"
    assert upstream.requests[0].hung_up_at == 0.4


# -- buffer words


async def test_buffer_words_are_spoken_before_a_slow_answer(way: Way) -> None:
    """They come at 1,500 ms, end in three dots and a space, and the answer follows at once."""
    got, _, _ = await way.turn(SLOW)
    at_ms, words = got.speech[0]
    assert (at_ms, got.text) == (1500, words + ANSWER)
    assert words in ENGLISH.buffer
    assert re.search(r"[^.\s]\.\.\. \Z", words)


async def test_an_answer_in_time_needs_no_buffer_words(way: Way) -> None:
    """The model wins even by two milliseconds, as timers may fire one early."""
    got, _, _ = await way.turn(answer(ANSWER, at_ms=1498))
    assert (got.text, got.speech[0][0]) == (ANSWER, 1498)


async def test_buffer_words_come_twice_at_most(way: Way) -> None:
    """Two different phrases are spoken 5,000 ms apart, however long the budget is."""
    got, _, _ = await way.turn(answer(ANSWER, at_ms=39_000), settings={"turn_budget_ms": 40_000})
    (first, one), (second, two), (third, _), *_ = got.speech
    assert (first, second, third) == (1500, 6500, 39_000)
    assert one != two


async def test_no_buffer_words_once_the_answer_has_begun(way: Way) -> None:
    """A pause in mid-answer is the model's own."""
    script: Script = [At(400), Role(), Say("It is "), At(4300), Say("sunny."), Finish(), Done()]
    got, _, _ = await way.turn(script)
    assert got.speech == [(400, "It is "), (4300, "sunny.")]


async def test_an_agent_may_have_no_buffer_words(way: Way) -> None:
    """With an empty list the caller hears only the answer, even if the deployment has phrases."""
    got, _, _ = await way.turn(
        SLOW, settings={"buffer_words": ("Hm",)}, elevenlabs_extra_body={"buffer_words": []}
    )
    assert (got.text, got.speech[0][0]) == (ANSWER, 2500)


async def test_buffer_words_may_precede_a_call(way: Way) -> None:
    """The call is delivered without further text."""
    script = calls(TRANSFER["name"], {"agent_number": 1}, at_ms=2500)
    got, _, _ = await way.turn(script, tools=[TRANSFER])
    assert got.text in ENGLISH.buffer
    assert [name for name, _ in got.calls] == [TRANSFER["name"]]
    assert got.finish == "tool_calls"


# -- the budget


@pytest.mark.parametrize(("result", "ends_ms"), [(False, 12_000), (True, 8000)])
async def test_the_budget_bounds_the_wait(way: Way, result: bool, ends_ms: int) -> None:
    """A turn waits 12 s for a first word, and 8 s if it answers a tool's result."""
    request = way.body(tools=[LOOKUP])
    if result and way is CHAT:
        request["messages"] += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "lookup", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "{}"},
        ]
    elif result:
        request["input"] += [
            {"type": "function_call", "call_id": "c", "name": "lookup", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "{}"},
        ]
    upstream = PlayedUpstream([Hold()], fallback=[Hold()])
    got = way.read(await way.post(way.caller(upstream), request))
    assert got.speech[-1][0] == ends_ms
    assert [round(seen.hung_up_at or 0, 3) * 1000 for seen in upstream.requests] == [ends_ms] * 2


async def test_words_renew_the_budget() -> None:
    """After ten spoken seconds an invalid call can still be asked for again."""
    words = [step for number in range(20) for step in (Pause(500), Say(f"Point {number}. "))]
    bad = [
        Role(),
        *words,
        *call("transfer_to_agent", {"agent_number": "far"}),
        Finish("tool_calls"),
        Done(),
    ]
    good = [
        At(500),
        Role(),
        *call("transfer_to_agent", {"agent_number": 3}),
        Finish("tool_calls"),
        Done(),
    ]
    upstream = PlayedUpstream(bad, good)
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(tools=[TRANSFER]))
    assert CHAT.read(heard).calls == [("transfer_to_agent", {"agent_number": 3})]
    assert len(upstream.requests) == 2


# -- Lambda's deadline


@pytest.mark.parametrize("pace_ms", [100, 700])
async def test_the_deadline_closes_a_flowing_answer(way: Way, pace_ms: int) -> None:
    """The turn ends itself 1.5 s before Lambda would cut it."""
    text = SENTENCE + "And " * 100
    got, upstream, heard = await way.turn(answer(text, pace_ms=pace_ms), post={"remaining_s": 6})
    assert got.text.startswith(SENTENCE)
    assert got.text.endswith(ENGLISH.closing)
    assert got.finish == "length"
    assert heard.pieces[-1][0] == 4500
    assert upstream.requests[0].hung_up_at is not None


async def test_the_deadline_counts_from_the_request(way: Way) -> None:
    """The time for reading the keys is not added."""
    text = SENTENCE + "And " * 100
    post = {"remaining_s": 6, "late_ms": 3000}
    got, _, heard = await way.turn(answer(text, pace_ms=100), post=post)
    assert got.text.endswith(ENGLISH.closing)
    assert heard.pieces[-1][0] == 4500


async def test_the_deadline_before_an_answer_ends_the_turn(way: Way) -> None:
    """The caller hears the failure sentence, or gets a 504."""
    got, _, heard = await way.turn([Hold()], post={"remaining_s": 2.5})
    assert got.speech == [(1000, ENGLISH.failure)]
    post = {"remaining_s": 2.5, "on_failure": "error"}
    _, _, heard = await way.turn([Hold()], post=post)
    assert (heard.status, heard.pieces[0][0]) == (504, 1000)
    _, _, heard = await way.turn([Hold()], stream=False, post=post)
    assert (heard.status, heard.pieces[0][0]) == (504, 1000)


async def test_the_deadline_with_a_call_held(way: Way) -> None:
    """A complete call is delivered, half of one is not."""
    whole: list[Step] = [Role(), *call("transfer_to_agent", {"agent_number": 1})]
    got, _, heard = await way.turn([*whole, Hold()], tools=[TRANSFER], post={"remaining_s": 5})
    assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
    assert heard.pieces[-1][0] == 3500
    got, _, _ = await way.turn([*whole[:3], Hold()], tools=[TRANSFER], post={"remaining_s": 5})
    assert got.calls == []
    assert got.text.endswith(ENGLISH.failure)


async def test_a_deadline_that_has_passed_ends_the_turn_at_once(way: Way) -> None:
    """The failure sentence is spoken without a wait."""
    got, _, heard = await way.turn(answer(), post={"remaining_s": 0.2})
    assert got.text == ENGLISH.failure
    assert heard.pieces[-1][0] == 0
