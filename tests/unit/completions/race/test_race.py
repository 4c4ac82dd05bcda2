"""Who is asked, and who is not asked again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.in_process import PlayedUpstream
from tests.support.script import (
    At,
    Cut,
    Done,
    Finish,
    Head,
    Hold,
    Pause,
    Raw,
    Role,
    Say,
    Script,
    answer,
    call,
    refused,
)
from tests.support.turns import Caller
from tests.support.ways import CHAT, OVER_CHAT, RESPONSES, WAYS, Way

pytestmark = pytest.mark.looptime

MOVE = {
    "name": "move",
    "description": "Moves.",
    "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
}


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_nothing_after_the_terminator_is_spoken(way: Way) -> None:
    """What an upstream sends behind its own end is no part of the answer."""
    upstream = PlayedUpstream([Role(), Say("Hello."), Finish(), Done(), Say(" Late"), Done()])
    answered = way.read(await way.post(way.caller(upstream)))
    assert answered.text == "Hello."


@pytest.mark.parametrize("way", [CHAT, OVER_CHAT], ids=str)
async def test_a_finish_without_an_end_is_an_end(way: Way) -> None:
    """An answer that finished without a word is asked for again, terminator or not."""
    upstream = PlayedUpstream([At(100), Role(), Finish(), Hold()], answer("Here."))
    answered = way.read(await way.post(way.caller(upstream)))
    assert answered.speech[-1][0] <= 700
    assert answered.text == "Here."


async def test_a_model_that_refused_us_is_not_bridged_to() -> None:
    """After a cut the next answer is asked of somebody who has not just said no."""
    cut: Script = [At(100), Role(), Say("Well, "), Cut()]
    upstream = PlayedUpstream(refused(401, at_ms=10), fallback=cut)
    upstream.stage("fallback").plays(cut, answer("It is open."))
    heard = await Caller(upstream).post()
    assert [each.candidate for each in upstream.requests] == ["upstream", "fallback", "fallback"]
    assert heard.text.endswith("It is open.")


async def test_one_slow_turn_is_one_strike() -> None:
    """A model that is late and then fails in the same turn is still asked first in the next."""
    late = refused(503, at_ms=3500)
    upstream = PlayedUpstream(late, fallback=answer("From F.", at_ms=1000))
    caller = Caller(upstream)
    await caller.post()
    await caller.post()
    assert [each.candidate for each in upstream.requests] == [
        "upstream",
        "fallback",
        "upstream",
        "fallback",
    ]


async def test_time_lost_before_the_question_is_no_strike() -> None:
    """A cold start that used up the model's patience does not count against the model."""
    upstream = PlayedUpstream(answer("Yes.", at_ms=300), fallback=answer("F.", at_ms=1000))
    caller = Caller(upstream)
    for _ in range(3):
        assert (await caller.post(age_ms=4000)).text.endswith("Yes.")
    asked_first = [each.candidate for each in upstream.requests[::2]]
    assert asked_first == ["upstream"] * 3


async def test_a_bad_call_after_a_long_answer_is_asked_for_again() -> None:
    """The budget bounds the wait for a first word: after ten spoken seconds it is a new one."""
    words = [step for number in range(20) for step in (Pause(500), Say(f"Point {number}. "))]
    bad = [Role(), *words, *call("move", {"n": "far"}), Finish("tool_calls"), Done()]
    good = [At(500), Role(), *call("move", {"n": 3}), Finish("tool_calls"), Done()]
    upstream = PlayedUpstream(bad, good)
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(tools=[MOVE]))
    assert CHAT.read(heard).calls == [("move", {"n": 3})]
    assert len(upstream.requests) == 2


async def test_an_answer_of_another_kind_is_relayed() -> None:
    """A custom tool's call needs no words: it wins, and stands in the output as it came."""
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "x", "input": "y"}
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "in_progress",
        "output": [],
    }
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": {**response, "status": "completed", "output": [item]},
        },
    ]
    frames = [
        Raw(
            f"event: {event['type']}\n"
            f"data: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()
        )
        for number, event in enumerate(events)
    ]
    upstream = PlayedUpstream([Head(), *frames])
    heard = await RESPONSES.post(RESPONSES.caller(upstream))
    assert len(upstream.requests) == 1
    last = [event for _, event in heard.events if isinstance(event, dict)][-1]
    assert [one["type"] for one in last["response"]["output"]] == ["custom_tool_call"]


async def test_a_changing_id_does_not_reach_a_strict_client() -> None:
    """One stream has one id, whatever the upstream makes of its own."""

    def chunk(number: int, delta: dict[str, str], finish: str | None = None) -> Raw:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        head = {"id": f"c{number}", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return Raw(f"data: {json.dumps({**head, 'choices': choices})}\n\n".encode())

    frames = [
        chunk(1, {"role": "assistant", "content": "One "}),
        chunk(2, {"content": "two."}),
        chunk(3, {}, "stop"),
    ]
    upstream = PlayedUpstream([Head(), *frames, Raw(b"data: [DONE]\n\n")])
    heard = await CHAT.post(CHAT.caller(upstream))
    assert CHAT.read(heard).text == "One two."
    assert {event["id"] for _, event in heard.events if isinstance(event, dict)} == {"c1"}
