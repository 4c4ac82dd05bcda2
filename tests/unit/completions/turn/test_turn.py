"""The response to one request: hang-ups, crashes, and streams that clients can read."""

from __future__ import annotations

import asyncio
import json

import pytest

from completions.turn import report
from completions.turn.record import Outcome
from completions.turn.response import UNREAD_LIMIT_S, ResponseSender
from local.scripted.script import (
    At,
    Cut,
    Decline,
    Done,
    Finish,
    Head,
    Hold,
    Role,
    Say,
    Script,
    Step,
    Think,
    Usage,
    answer,
    call,
    calls,
    refused,
)
from tests.support import responses_rules, rules
from tests.support.in_process import PlayedUpstream, cancelled_at_ms
from tests.support.logs import Logged
from tests.support.tools import LOOKUP, TRANSFER
from tests.support.turns import Caller, body
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

SENTENCE = "It is sunny today. "
HANG_UPS: dict[str, tuple[Script, int]] = {
    "before the headers": ([Hold()], 200),
    "after them, before a word": ([Head(), Role(), Hold()], 200),
    "in mid-answer": ([Role(), Say("Once upon "), Hold()], 200),
    "while two are asked": ([Hold()], 3200),
    "while a call is held": ([Role(), *calls("lookup", {})[2:4], Hold()], 700),
}
TURNS: dict[str, tuple[list[Step], list[Step]]] = {
    "an answer": (answer("Sunny."), []),
    "buffer words": (answer("Sunny.", at_ms=2000), []),
    "reasoning": ([Role(), Think("Hm."), Say("Sunny."), Finish(), Done()], []),
    "a call": (calls("transfer_to_agent", {"agent_number": 1}), []),
    "a coerced call": (calls("transfer_to_agent", '{"agent_number": "1"}'), []),
    "buffer words and a call": (calls("transfer_to_agent", {"agent_number": 1}, at_ms=2000), []),
    "a failure": (refused(500), refused(500)),
    "a pause": ([Role(), Finish(), Done()], [Role(), Finish(), Done()]),
    "a bridge": ([Role(), Say("It"), Cut()], answer("Sunny.")),
    "a closing sentence": ([Role(), Say(SENTENCE), Cut()], []),
    "a refusal": ([Role(), Decline("No."), Finish(), Done()], []),
    "no role": ([Say("Sunny."), Finish(), Done()], []),
    "length": (answer("Sunny.", finish="length"), []),
}


# -- the caller hangs up


@pytest.mark.parametrize(("script", "at_ms"), HANG_UPS.values(), ids=HANG_UPS)
async def test_a_hang_up_cancels_everything_at_once(way: Way, script: Script, at_ms: int) -> None:
    """Every request to a model is closed in that millisecond, and nothing more is written."""
    upstream = PlayedUpstream(script, fallback=[Hold()])
    heard = await way.post(way.caller(upstream), way.body(tools=[LOOKUP]), hang_up_ms=at_ms)
    assert cancelled_at_ms(upstream) == [at_ms] * len(upstream.requests)
    assert not heard.ended
    assert all(ms < at_ms for ms, _ in heard.pieces)


@pytest.mark.parametrize("takes_bytes", [1, 1000])
async def test_a_caller_who_takes_nothing_has_hung_up(
    way: Way, logs: Logged, takes_bytes: int
) -> None:
    """The request to the model is closed within the limit, and the answer gets no end."""
    upstream = PlayedUpstream([Role(), *(Say("word ") for _ in range(200)), Hold()])
    heard = await way.post(way.caller(upstream), takes_bytes=takes_bytes)
    (at_ms,) = cancelled_at_ms(upstream)
    assert at_ms is not None
    assert 1000 * UNREAD_LIMIT_S / 2 <= at_ms <= 1000 * UNREAD_LIMIT_S
    assert not heard.ended
    assert logs.event("turn.finished")["outcome"] == Outcome.HUNG_UP
    assert logs.event("turn.untaken")["level"] == "WARNING"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_does_not_take_the_end_has_hung_up(
    logs: Logged, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """The wait for the last byte is bounded."""

    async def stay(response: ResponseSender, _: bytes) -> None:
        response.closed = True
        response._message = {"type": "http.response.body"}
        await asyncio.Event().wait()

    monkeypatch.setattr(ResponseSender, "_end", stay)
    await Caller(PlayedUpstream(answer())).post(body(stream=stream))
    assert asyncio.get_running_loop().time() <= UNREAD_LIMIT_S
    assert logs.event("turn.finished")["outcome"] == Outcome.HUNG_UP


async def test_a_hang_up_ends_the_wait_after_a_429(way: Way) -> None:
    """The second request is never sent."""
    upstream = PlayedUpstream(refused(429, retry_after_s=2), answer())
    await way.post(way.caller(upstream), hang_up_ms=1000)
    assert len(upstream.requests) == 1


async def test_a_hang_up_ends_a_buffered_turn(way: Way) -> None:
    """Its request to the model is closed, too."""
    upstream = PlayedUpstream([Hold()])
    heard = await way.post(way.caller(upstream), way.body(stream=False), hang_up_ms=500)
    assert cancelled_at_ms(upstream) == [500]
    assert heard.status == 0


@pytest.mark.parametrize(
    ("stream", "scene"), [(True, answer()), (False, answer()), (False, refused(400))]
)
async def test_a_connection_that_breaks_at_the_last_byte_is_a_hang_up(
    logs: Logged, monkeypatch: pytest.MonkeyPatch, stream: bool, scene: Script
) -> None:
    """The response fails before the disconnect message comes, which is not our error."""

    async def gone(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("completions.turn.response.ResponseSender._end", gone)
    with pytest.raises(BrokenPipeError):
        await Caller(PlayedUpstream(scene)).post(body(stream=stream))
    assert logs.event("turn.finished")["outcome"] == Outcome.HUNG_UP


async def test_a_disconnect_after_the_last_byte_is_no_hang_up(logs: Logged) -> None:
    """Servers send one after a complete response; the rest of the model's answer is still read."""
    steps: Script = [Role(), Say("Yes."), Finish(), Done(), At(60), Head()]
    upstream = PlayedUpstream(steps)
    # As uvicorn and the layer do: right after the last byte.
    await Caller(upstream).post(hang_up_ms=1)
    assert logs.event("turn.finished")["outcome"] == Outcome.OK
    assert upstream.requests[0].hung_up_at is None


# -- the turn is stopped, or crashes


@pytest.mark.parametrize("spoken", [False, True])
async def test_a_turn_that_is_stopped_from_outside_has_crashed(logs: Logged, spoken: bool) -> None:
    """If Lambda's time is up or the server shuts down, the outcome is neither a hang-up nor ok."""
    steps: Script = [Role(), Say("It "), Hold()] if spoken else [Head(), Hold()]
    caller = Caller(PlayedUpstream(steps), buffer_words_after_ms=0)
    turn = asyncio.create_task(caller.post())
    await asyncio.sleep(0.5)  # Virtual: everything that can happen by then has happened.
    turn.cancel()
    await asyncio.wait({turn})
    assert logs.event("turn.finished")["outcome"] == Outcome.CRASHED


@pytest.mark.parametrize("stream", [True, False])
async def test_the_report_comes_after_the_last_byte(
    logs: Logged, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """The caller does not wait for it."""
    order: list[str] = []
    ended = ResponseSender._end

    async def end(self: ResponseSender, data: bytes) -> None:
        await ended(self, data)
        order.append("last byte")

    monkeypatch.setattr("completions.turn.response.ResponseSender._end", end)
    monkeypatch.setattr(report, "turn_finished", lambda *_: order.append("report"))
    await Caller(PlayedUpstream(answer())).post(body(stream=stream))
    assert order == ["last byte", "report"]


# -- what clients read


async def test_every_stream_has_one_identity(way: Way) -> None:
    """Our phrases, a cut answer and another with calls are all read as one message."""
    other: list[Step] = [
        At(1000),
        Role(),
        Think("Hm."),
        Say("I'll transfer you."),
        *call("transfer_to_agent", '{"agent_number": "x"}'),
        *call("transfer_to_agent", '{"agent_number": "2"}', index=1),
        *call("transfer_to_agent", '{"agent_number": 3}', index=2),
        Finish("tool_calls"),
        Usage(),
        Done(),
    ]
    got, upstream, heard = await way.turn(
        [At(1600), Role(), Say("It"), Cut()],
        fallback=other,
        tools=[TRANSFER],
    )
    # The model that made the invalid call is asked again; the good ones are kept.
    assert [arguments["agent_number"] for _, arguments in got.calls] == [2, 3]
    assert got.finish == "tool_calls"
    assert len(upstream.requests) == 3
    if way is CHAT:
        message = (await rules.sdk_final(heard.body)).choices[0].message
        assert (message.role, message.content) == ("assistant", got.text)
        made = [one.function.arguments for one in message.tool_calls or ()]
        assert [json.loads(one) for one in made] == [arguments for _, arguments in got.calls]
    else:
        assert (await responses_rules.sdk_final(heard.body)).output_text == got.text


@pytest.mark.parametrize("name", TURNS)
async def test_the_official_sdk_reads_every_kind_of_turn(way: Way, name: str) -> None:
    """Both its plain stream and its stream helper, which joins repeated values, read the turn."""
    first, second = TURNS[name]
    got, _, heard = await way.turn(first, second or first, tools=[TRANSFER])
    cut_off = got.finish == "length"  # The helpers raise at that: this is how they report it.
    if way is not CHAT:
        assert len(await responses_rules.sdk_events(heard.body)) > 2
        if not cut_off:
            assert (await responses_rules.sdk_final(heard.body)).output_text == got.text
        return
    chunks = await rules.sdk_chunks(heard.body)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == got.text
    if cut_off:
        return
    choice = (await rules.sdk_final(heard.body)).choices[0]
    assert (choice.message.content or "", choice.finish_reason) == (got.text, got.finish)
    assert choice.message.role == "assistant"
    made = [
        (one.function.name, json.loads(one.function.arguments))
        for one in choice.message.tool_calls or ()
    ]
    assert made == got.calls
