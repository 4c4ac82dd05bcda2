"""The report of a turn: one log line and one set of metrics, with only this turn's facts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from completions import observability
from completions.observability import METRICS
from completions.responder import Conversation, Event
from completions.responder import Say as Spoken
from completions.turn import report
from completions.turn.record import Outcome
from local.scripted.script import (
    At,
    Cut,
    Done,
    Finish,
    Head,
    Hold,
    Role,
    Say,
    Script,
    Step,
    Usage,
    answer,
    calls,
    refused,
)
from tests.support.in_process import PlayedUpstream
from tests.support.logs import Logged
from tests.support.tools import LOOKUP
from tests.support.turns import Caller, body
from tests.support.ways import Way

pytestmark = pytest.mark.looptime

Broken = tuple[Sequence[Step], int]
TURN_METRICS = set(METRICS) - {"AuthFailures", "KeyFailures", "SetupFailures", "Warmups"}
"""The metrics of a turn; the others are counted outside turns."""
EMPTY: Script = [Role(), Finish(), Done()]


class Emitted:
    """The lines of metrics on stdout."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def sets(self) -> list[dict[str, Any]]:
        """Return each line since the last call, decoded."""
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]

    def values(self) -> dict[str, float]:
        """Return the metrics of the only line."""
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
    Outcome.EMPTY: ([EMPTY, EMPTY], {"text": "..."}),
    Outcome.BRIDGED: ([[Role(), Say("It is "), Cut()], answer("Sunny.")], {}),
    Outcome.CUT: ([[Role(), Say("It is sunny. And"), Cut()]], {}),
    Outcome.APOLOGY: ([refused(500)], {}),
    Outcome.ERROR: ([refused(500)], {"on_failure": "error"}),
}


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
async def test_each_end_has_its_name(
    way: Way, logs: Logged, emitted: Emitted, outcome: Outcome
) -> None:
    """It is in the log line and the metric's dimension, and counts as failed or not, even as 0."""
    scripts, given = OUTCOMES[outcome]
    options = dict(given)
    request = way.body(options.pop("text", "What is the weather?"))
    await way.post(way.caller(PlayedUpstream(*scripts)), request, **options)
    event = logs.event("turn.finished")
    assert event["outcome"] == outcome
    (line,) = emitted.sets()
    assert (line["outcome"], line["Turns"], line["FailedTurns"]) == (outcome, [1], [outcome.failed])
    assert ("error.type" in event) is outcome.failed


async def test_an_answer_that_broke_off_is_a_cut(way: Way, broken: Broken, logs: Logged) -> None:
    """This holds whether a closing sentence or an error event ends it."""
    steps, _ = broken
    script: list[Step] = [Role(), Say("It is sunny today. "), *steps]
    await way.turn(script)
    await way.turn(script, post={"on_failure": "error"})
    outcomes = [event["outcome"] for event in logs.events("turn.finished")]
    assert outcomes == [Outcome.CUT, Outcome.CUT]


async def test_a_bug_is_an_outcome_of_its_own(
    way: Way, logs: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears a sentence, and the report does not count the bug as the model's failure."""
    for stream in (True, False):
        with monkeypatch.context() as patch:

            def broken(*_: object) -> object:
                patch.undo()
                raise LookupError

            patch.setattr("completions.tools.held_calls.HeldCalls.judge", broken)
            request = {**way.body(), "stream": stream}
            await way.post(way.caller(PlayedUpstream(answer())), request)
    assert [event["outcome"] for event in logs.events("turn.finished")] == ["crashed", "crashed"]


# -- what it took


async def test_the_line_describes_the_whole_turn(way: Way, logs: Logged, emitted: Emitted) -> None:
    """For an eventful turn it says which models were asked and heard, and when."""
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


async def test_the_tokens_of_every_answer_count(way: Way, logs: Logged, emitted: Emitted) -> None:
    """An empty answer costs tokens as well as the one after it."""
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
async def test_an_impossible_count_of_tokens_spoils_no_metric(
    way: Way, logs: Logged, emitted: Emitted, odd: int
) -> None:
    """A model may send any number; one that no metric can hold is the only one left out."""
    script: Script = [*answer("Yes.")[:-1], Usage(odd, 7), Done()]
    await way.post(way.caller(PlayedUpstream(script)))
    event = logs.event("turn.finished")
    assert "gen_ai.usage.input_tokens" not in event
    assert event["gen_ai.usage.output_tokens"] == 7
    values = emitted.values()
    assert "InputTokens" not in values
    assert (values["OutputTokens"], values["Turns"]) == (7, 1)


async def test_unknown_tokens_are_not_reported_as_0(logs: Logged, emitted: Emitted) -> None:
    """Without usage the average has a gap, not a zero."""
    script: Script = [Role(), Say("Yes."), Finish(), Done()]
    await Caller(PlayedUpstream(script)).post()
    assert "gen_ai.usage.input_tokens" not in logs.event("turn.finished")
    assert "InputTokens" not in emitted.values()


@pytest.mark.parametrize("stream", [True, False])
async def test_an_agents_requests_count_as_the_turns(logs: Logged, stream: bool) -> None:
    """The requests and tokens of `Conversation.ask` count, and the agent is the winner."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        async for event in conversation.ask():
            yield event

    caller = Caller(PlayedUpstream([*answer("Yes.")[:-1], Usage(5, 7), Done()]), agent=agent)
    await caller.post(body(stream=stream))
    event = logs.event("turn.finished")
    assert (event["candidate"], event["upstream_requests"]) == ("responder", 1)
    assert event["server.address"] == "primary.invalid"
    assert event["fallback"] is False
    assert event["gen_ai.usage.output_tokens"] == 7


@pytest.mark.parametrize("stream", [True, False])
async def test_a_coerced_call_is_a_repair(way: Way, logs: Logged, stream: bool) -> None:
    """`"3"` for an integer is one repair of a delivered call."""
    upstream = PlayedUpstream(calls("lookup", {"count": "3"}))
    await way.post(way.caller(upstream), {**way.body(tools=[LOOKUP]), "stream": stream})
    event = logs.event("turn.finished")
    assert (event["tools_called"], event["tool_repairs"]) == (["lookup"], 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_was_asked_for_again_is_a_repair(
    way: Way, logs: Logged, stream: bool
) -> None:
    """An invalid call and a valid one after it are one repair, one retry and one call."""
    upstream = PlayedUpstream(calls("lookup", {}), calls("lookup", {"count": 3}))
    await way.post(way.caller(upstream), {**way.body(tools=[LOOKUP]), "stream": stream})
    event = logs.event("turn.finished")
    assert (event["tools_called"], event["tool_repairs"], event["retries"]) == (["lookup"], 1, 1)


async def test_a_turn_emits_every_metric_that_it_has(way: Way, emitted: Emitted) -> None:
    """With words, an invalid call, a valid one and usage, no metric is missing."""
    invalid: Script = [Role(), Say("I look. "), *calls("lookup", {})[2:]]
    valid: Script = [At(400), *calls("lookup", {"count": 3})[:-1], Usage(5, 7), Done()]
    upstream = PlayedUpstream([At(300), *invalid], valid)
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
    """The time for keys is part of the turn, even if the request's arrival time is unknown."""
    await way.post(way.caller(PlayedUpstream(answer(at_ms=300))), late_ms=900)
    values = emitted.values()
    assert (values["OverheadMs"], values["FirstTokenMs"], values["TurnMs"]) == (900, 1200, 1200)


@pytest.mark.parametrize(("asks", "first_ms"), [(True, 2600), (False, 2500)])
async def test_an_agents_own_time_is_not_counted_as_ours(
    emitted: Emitted, asks: bool, first_ms: int
) -> None:
    """This is the time before its first question, or all of it if it asks none."""

    async def looks_first(conversation: Conversation) -> AsyncGenerator[Event, None]:
        await asyncio.sleep(2)
        if asks:
            async for event in conversation.ask():
                yield event
        else:
            await asyncio.sleep(0.5)
            yield Spoken("Yes.")

    caller = Caller(PlayedUpstream(answer("Yes.", at_ms=600)), agent=looks_first)
    await caller.post(body(), late_ms=20)
    values = emitted.values()
    assert (values["OverheadMs"], values["FirstTokenMs"]) == (20, first_ms + 20)


async def test_the_time_to_headers_is_that_of_the_winning_request(way: Way, logs: Logged) -> None:
    """Of two requests to one model the later one may answer."""
    upstream = PlayedUpstream(
        [At(900), Head(), At(3500), *answer("Late.")], [At(3100), Head(), Hold()]
    )
    await way.post(way.caller(upstream, buffer_words_after_ms=0))
    event = logs.event("turn.finished")
    assert (event["hedges"], event["fallback"]) == (1, False)
    assert event["upstream_headers_ms"] == 900


# -- many turns at once


async def test_concurrent_turns_do_not_mix(logs: Logged, emitted: Emitted) -> None:
    """In sixty-four interleaved turns each line and set of metrics has only its own facts."""
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
        assert event["duration_ms"] == 10 * number
    assert observability.bound_fields() == {}


# -- bounds


def test_a_turn_has_only_the_metrics_in_the_table(emitted: Emitted) -> None:
    """Each has the table's unit."""
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


async def test_names_that_callers_choose_are_bounded(logs: Logged) -> None:
    """Whatever their length, number and characters, the line stays short and is one line."""
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
