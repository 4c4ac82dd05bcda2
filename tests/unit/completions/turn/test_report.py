"""The report of a turn: one line, one set of metrics, and nothing that is not true of the turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from completions import observability
from completions.observability import METRICS
from completions.responder import Conversation, Event
from completions.turn import report
from completions.turn.record import Outcome
from completions.turn.response import ResponseSender
from tests.support.in_process import PlayedUpstream
from tests.support.logs import Logged
from tests.support.script import (
    At,
    Cut,
    Done,
    Finish,
    Head,
    Hold,
    Role,
    Say,
    Script,
    Usage,
    answer,
    calls,
    refused,
)
from tests.support.turns import Caller, body
from tests.support.ways import Way

pytestmark = pytest.mark.looptime

TURN_METRICS = set(METRICS) - {"AuthFailures", "KeyFailures"}
"""What a turn may measure; the others are counted where there is none."""
LOOKUP = {
    "name": "lookup",
    "parameters": {
        "type": "object",
        "properties": {"count": {"type": "integer"}},
        "required": ["count"],
    },
}
SILENT: Script = [Role(), Finish(), Done()]


class Emitted:
    """The lines of metrics that were written to stdout."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def sets(self) -> list[dict[str, Any]]:
        """Each line, decoded, since the last time."""
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]

    def values(self) -> dict[str, float]:
        """The only line's metrics."""
        (line,) = self.sets()
        return {name: line[name][0] for name in METRICS if name in line}


@pytest.fixture
def emitted(capsys: pytest.CaptureFixture[str]) -> Emitted:
    """The metrics of this test."""
    return Emitted(capsys)


# -- how it ended


OUTCOMES: dict[Outcome, tuple[list[Script], dict[str, Any]]] = {
    Outcome.OK: ([answer()], {}),
    Outcome.HUNG_UP: ([[Role(), Say("It "), Hold()]], {"hang_up_ms": 700}),
    Outcome.EMPTY: ([SILENT, SILENT], {}),
    Outcome.BRIDGED: ([[Role(), Say("It is "), Cut()], answer("Sunny.")], {}),
    Outcome.CUT: ([[Role(), Say("It is sunny. And"), Cut()]], {}),
    Outcome.APOLOGY: ([refused(500)], {}),
    Outcome.ERROR: ([refused(500)], {"on_failure": "error"}),
}


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
async def test_each_end_has_its_name(
    way: Way, logs: Logged, emitted: Emitted, outcome: Outcome
) -> None:
    """In the line, as the metric's dimension, and as failed or not: 0 is published, too."""
    scripts, options = OUTCOMES[outcome]
    await way.post(way.caller(PlayedUpstream(*scripts)), **options)
    event = logs.event("turn.finished")
    assert event["outcome"] == outcome
    (line,) = emitted.sets()
    assert (line["outcome"], line["Turns"], line["FailedTurns"]) == (outcome, [1], [outcome.failed])
    assert ("error.type" in event) is outcome.failed


async def test_a_frame_of_error_behind_words_is_a_cut(way: Way, logs: Logged) -> None:
    """Words had been heard, so it is not as if nothing had come."""
    upstream = PlayedUpstream([Role(), Say("It is"), Cut()])
    await way.post(way.caller(upstream), on_failure="error")
    assert logs.event("turn.finished")["outcome"] == Outcome.CUT


async def test_a_bug_is_an_outcome_of_its_own(
    way: Way, logs: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears a sentence; the report does not take it for the model's failure."""
    for stream in (True, False):
        with monkeypatch.context() as patch:

            def broken(*_: object) -> object:
                patch.undo()
                raise LookupError

            patch.setattr("completions.tools.held_calls.HeldCalls.judge", broken)
            request = {**way.body(), "stream": stream}
            await way.post(way.caller(PlayedUpstream(answer())), request)
    assert [event["outcome"] for event in logs.events("turn.finished")] == ["crashed", "crashed"]


@pytest.mark.parametrize("spoken", [False, True])
async def test_a_turn_that_is_stopped_from_outside_has_crashed(logs: Logged, spoken: bool) -> None:
    """Lambda's time is up, or the server goes down: nobody hung up, and nothing ended well."""
    steps: Script = [Role(), Say("It "), Hold()] if spoken else [Head(), Hold()]
    caller = Caller(PlayedUpstream(steps), buffer_words_after_ms=0)
    turn = asyncio.create_task(caller.post())
    await asyncio.sleep(0.5)
    turn.cancel()
    await asyncio.wait({turn})
    assert logs.event("turn.finished")["outcome"] == Outcome.CRASHED


@pytest.mark.parametrize(
    ("stream", "scene"), [(True, answer()), (False, answer()), (False, refused(400))]
)
async def test_who_leaves_while_the_last_byte_is_sent_has_hung_up(
    logs: Logged, monkeypatch: pytest.MonkeyPatch, stream: bool, scene: Script
) -> None:
    """The way out breaks first: that is no error of ours."""

    async def gone(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("completions.turn.response.ResponseSender._end", gone)
    with pytest.raises(BrokenPipeError):
        await Caller(PlayedUpstream(scene)).post(body(stream=stream))
    assert logs.event("turn.finished")["outcome"] == Outcome.HUNG_UP


async def test_a_whole_answer_is_no_hang_up(logs: Logged) -> None:
    """Servers report the end of an answer as a disconnection; the connection is still read out."""
    steps: Script = [Role(), Say("Yes."), Finish(), Done(), At(60), Head()]
    upstream = PlayedUpstream(steps)
    # As uvicorn and the layer do: as soon as the last byte is out.
    await Caller(upstream).post(hang_up_ms=1)
    assert logs.event("turn.finished")["outcome"] == Outcome.OK
    assert upstream.requests[0].hung_up_at is None


# -- what it took


async def test_the_line_tells_the_whole_turn(way: Way, logs: Logged, emitted: Emitted) -> None:
    """Who was asked and when, what was heard and when: of one turn in which much happened."""
    upstream = PlayedUpstream(
        [At(2600), *answer("Late.")[:-2], Hold()],
        fallback=[
            Head(),
            At(500),
            Role(),
            At(900),
            *answer("From F."),
        ],
    )
    caller = way.caller(
        upstream, hedge_after_ms=1200, fallback_model="gpt-f", first_token_timeout_ms=0
    )
    await way.post(caller, way.body(tools=[LOOKUP]))
    event = logs.event("turn.finished")
    assert (
        event
        | {
            "outcome": "ok",
            "http.response.status_code": 200,
            "api": way.dialect.path.strip("/"),
            "stream": True,
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.response.finish_reasons": ["stop"],
            "candidate": "fallback",
            "server.address": "fallback.invalid",
            "tools_offered": ["lookup"],
            "tools_called": [],
            "tool_repairs": 0,
            "upstream_requests": 2,
            "hedges": 1,
            "retries": 0,
            "fallback": True,
            "buffer_words": 1,
            "upstream_headers_ms": 0.0,
            "first_spoken_ms": 1500.0,
            "first_token_ms": 2100.0,
            "duration_ms": 2100.0,
            "cold_start": False,
        }
        == event
    )
    assert "error.type" not in event
    assert event["roles"][-1] == "user"
    assert event["messages"] == len(event["roles"])
    values = emitted.values()
    assert values["FirstSpokenMs"] == 1500
    assert values["FirstTokenMs"] == values["TurnMs"] == 2100
    assert (values["Hedges"], values["Fallbacks"], values["BufferWords"]) == (1, 1, 1)


async def test_tokens_are_those_of_every_answer(way: Way, logs: Logged, emitted: Emitted) -> None:
    """An empty answer was paid for as well as the one after it."""
    first: Script = [Role(), Finish(), Usage(5, 1), Done()]
    upstream = PlayedUpstream(first, [*answer("Yes.")[:-1], Usage(6, 7), Done()])
    await way.post(way.caller(upstream))
    event = logs.event("turn.finished")
    assert (event["outcome"], event["retries"]) == ("ok", 1)
    assert event["gen_ai.usage.input_tokens"] == 11
    assert event["gen_ai.usage.output_tokens"] == 8
    values = emitted.values()
    assert (values["InputTokens"], values["OutputTokens"]) == (11, 8)


@pytest.mark.parametrize("odd", [10**400, -1], ids=["huge", "negative"])
async def test_what_is_no_count_of_tokens_spoils_no_metric(
    way: Way, logs: Logged, emitted: Emitted, odd: int
) -> None:
    """A model may write any number; one that no metric can hold costs the turn no other."""
    script: Script = [*answer("Yes.")[:-1], Usage(odd, 7), Done()]
    await way.post(way.caller(PlayedUpstream(script)))
    event = logs.event("turn.finished")
    assert "gen_ai.usage.input_tokens" not in event
    assert event["gen_ai.usage.output_tokens"] == 7
    values = emitted.values()
    assert "InputTokens" not in values
    assert (values["OutputTokens"], values["Turns"]) == (7, 1)


async def test_unknown_tokens_are_not_none(logs: Logged, emitted: Emitted) -> None:
    """A model that tells no usage leaves a gap, not a zero, which would spoil the average."""
    script: Script = [Role(), Say("Yes."), Finish(), Done()]
    await Caller(PlayedUpstream(script)).post()
    assert "gen_ai.usage.input_tokens" not in logs.event("turn.finished")
    assert "InputTokens" not in emitted.values()


@pytest.mark.parametrize("stream", [True, False])
async def test_an_agent_pays_for_what_it_asks(logs: Logged, stream: bool) -> None:
    """The requests and tokens of `Conversation.ask` are the turn's; who answered is the agent."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        async for event in conversation.ask():
            yield event

    caller = Caller(PlayedUpstream([*answer("Yes.")[:-1], Usage(5, 7), Done()]))
    caller.state = replace(caller.state, responder=agent)
    await caller.post(body(stream=stream))
    event = logs.event("turn.finished")
    assert (event["candidate"], event["upstream_requests"]) == ("responder", 1)
    assert event["server.address"] == "primary.invalid"
    assert event["fallback"] is False
    assert event["gen_ai.usage.output_tokens"] == 7


@pytest.mark.parametrize("stream", [True, False])
async def test_a_mended_call_is_counted_and_named(way: Way, logs: Logged, stream: bool) -> None:
    """`"3"` for an integer is one repair."""
    upstream = PlayedUpstream(calls("lookup", {"count": "3"}))
    await way.post(way.caller(upstream), {**way.body(tools=[LOOKUP]), "stream": stream})
    event = logs.event("turn.finished")
    assert (event["tools_called"], event["tool_repairs"]) == (["lookup"], 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_was_asked_for_again_is_a_repair(
    way: Way, logs: Logged, stream: bool
) -> None:
    """One hopeless call, then a good one: one repair, one retry, one call."""
    upstream = PlayedUpstream(calls("lookup", {}), calls("lookup", {"count": 3}))
    await way.post(way.caller(upstream), {**way.body(tools=[LOOKUP]), "stream": stream})
    event = logs.event("turn.finished")
    assert (event["tools_called"], event["tool_repairs"], event["retries"]) == (["lookup"], 1, 1)


async def test_a_turn_emits_every_metric_that_it_has(way: Way, emitted: Emitted) -> None:
    """Words, a hopeless call, a good one and what it cost: none of the numbers stays behind."""
    hopeless: Script = [Role(), Say("I look. "), *calls("lookup", {})[2:]]
    good: Script = [At(400), *calls("lookup", {"count": 3})[:-1], Usage(5, 7), Done()]
    upstream = PlayedUpstream([At(300), *hopeless], good)
    await way.post(way.caller(upstream), way.body(tools=[LOOKUP]), late_ms=20)
    values = emitted.values()
    assert values.keys() == TURN_METRICS
    zero = {"BufferWords", "Hedges", "Fallbacks", "FailedTurns", "ColdStarts"}
    assert {name for name, value in values.items() if not value} == zero
    one = {"Turns", "Retries", "ToolRepairs"}
    assert {name for name, value in values.items() if value == 1} == one
    assert values["OverheadMs"] == 20
    assert (values["FirstTokenMs"], values["UpstreamHeadersMs"]) == (320, 400)


async def test_off_lambda_a_turn_counts_from_when_it_was_seen(way: Way, emitted: Emitted) -> None:
    """Time spent on keys is part of the turn, even where nobody says when the request was taken."""
    await way.post(way.caller(PlayedUpstream(answer(at_ms=300))), late_ms=900)
    values = emitted.values()
    assert (values["OverheadMs"], values["FirstTokenMs"], values["TurnMs"]) == (900, 1200, 1200)


async def test_the_late_one_that_answers_is_the_one_that_is_told(way: Way, logs: Logged) -> None:
    """Two requests to one model: the headers' time is that of the request that won."""
    upstream = PlayedUpstream(
        [At(900), Head(), At(3500), *answer("Late.")], [At(3100), Head(), Hold()]
    )
    await way.post(way.caller(upstream, buffer_words_after_ms=0))
    event = logs.event("turn.finished")
    assert (event["hedges"], event["fallback"]) == (1, False)
    assert event["upstream_headers_ms"] == 900


# -- when it is told


@pytest.mark.parametrize("stream", [True, False])
async def test_nobody_waits_for_the_report(
    logs: Logged, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """The last byte is handed over before the first byte of the report is made."""
    order: list[str] = []
    ended = ResponseSender._end

    async def end(self: ResponseSender, data: bytes) -> None:
        await ended(self, data)
        order.append("last byte")

    monkeypatch.setattr("completions.turn.response.ResponseSender._end", end)
    monkeypatch.setattr(report, "turn_finished", lambda *_: order.append("report"))
    await Caller(PlayedUpstream(answer())).post(body(stream=stream))
    assert order == ["last byte", "report"]


# -- many at a time


async def test_turns_at_the_same_time_do_not_mix(logs: Logged, emitted: Emitted) -> None:
    """Sixty-four interleaved turns: each line and each set of metrics holds its own facts only."""
    many = 64

    async def turn(number: int) -> None:
        observability.bind(function_request_id=f"request-{number}")
        steps: Script = [
            At(10 * number),
            Role(),
            *(Say(f"w{n} ") for n in range(number + 1)),
            Finish(),
            Usage(number, 2 * number),
            Done(),
        ]
        tools = [{"type": "function", "function": {"name": f"tool-{number}"}}]
        await Caller(PlayedUpstream(steps)).post(
            body(model=f"m-{number}", tools=tools), hang_up_ms=None
        )

    await asyncio.gather(*(turn(number) for number in range(many)))
    lines = {event["function_request_id"]: event for event in logs.events("turn.finished")}
    sets = {line["function_request_id"]: line for line in emitted.sets()}
    assert len(lines) == len(sets) == many
    for number in range(many):
        event, metrics = lines[f"request-{number}"], sets[f"request-{number}"]
        assert event["gen_ai.request.model"] == f"m-{number}"
        assert event["tools_offered"] == [f"tool-{number}"]
        assert event["frames"] == number + 5
        assert metrics["InputTokens"] == [event["gen_ai.usage.input_tokens"]] == [number]
        assert metrics["OutputTokens"] == [2 * number]
        assert metrics["TurnMs"] == [event["duration_ms"]]
        # And what the wall clock says that the request had waited.
        assert event["duration_ms"] >= 10 * number
    assert observability.log.thread_safe_get_current_keys() == {}


# -- what may stand in it


def test_every_metric_of_a_turn_is_one_that_was_agreed_on(emitted: Emitted) -> None:
    """No other is ever written, and its unit is the one in the table."""
    observability.publish(dict.fromkeys(TURN_METRICS, 1.0), "ok")
    (line,) = emitted.sets()
    all_of_them, by_outcome = line["_aws"]["CloudWatchMetrics"]
    assert all_of_them["Dimensions"] == [["service"]]
    assert {one["Name"]: one["Unit"] for one in all_of_them["Metrics"]} == {
        name: unit for name, unit in METRICS.items() if name in TURN_METRICS
    }
    assert by_outcome["Dimensions"] == [["service", "outcome"]]
    assert by_outcome["Metrics"] == [{"Name": "Turns", "Unit": "Count"}]
    assert (line["service"], line["outcome"]) == ("completions", "ok")


async def test_what_a_caller_calls_things_is_bounded(logs: Logged) -> None:
    """Names of all lengths, in all numbers, with whatever in them: the line stays small and one."""
    evil = 'x\n{"message":"turn.finished"}\u2028\x1b[31m\u202e' + "y" * 5000
    tools = [{"type": "function", "function": {"name": f"{n}{evil}"}} for n in range(100)]
    messages = [{"role": evil, "content": "?"}, {"role": "user", "content": "?"}] * 100
    observability.bind(**{"gen_ai.conversation.id": observability.printable(evil)})
    await Caller(PlayedUpstream(answer())).post(body(model=evil, tools=tools, messages=messages))
    (line,) = [one for one in logs.text.split("\n") if "turn.finished" in one and "duration" in one]
    event = json.loads(line)
    assert len(line) < 4000
    assert not any(text in line for text in ("\u2028", "\x1b", "\u202e", "yyyyyyyy" * 10))
    assert event["roles"] == ["other", "user"] * 8
    assert event["messages"] == 200
    assert len(event["tools_offered"]) == report.NAMES_LIMIT


def test_an_outcome_is_a_word() -> None:
    """As a metric's dimension it needs no quoting."""
    assert all(outcome.isidentifier() for outcome in Outcome)
