"""Who is asked, when, and who is told to stop: the race as a caller and the models see it."""

from __future__ import annotations

import pytest

from tests.support.in_process import PlayedUpstream
from tests.support.script import (
    At,
    Comment,
    Done,
    Fail,
    Finish,
    Head,
    Hold,
    Pause,
    Raw,
    Role,
    Say,
    Script,
    Step,
    Think,
    answer,
    calls,
    refused,
)
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

F = answer("From F.", at_ms=1000)
TIMERS = {
    "buffer_words_after_ms": 0,
    "first_token_timeout_ms": 0,
    "reasoning_timeout_ms": 0,
    "turn_budget_ms": 0,
    "tool_turn_budget_ms": 0,
    "stall_timeout_ms": 0,
}
LOOKUP = {
    "name": "lookup",
    "description": "Looks it up.",
    "parameters": {"type": "object", "properties": {}},
}


def asked(upstream: PlayedUpstream) -> list[tuple[int, str]]:
    """Every request: milliseconds after the first one, and who was asked."""
    first = upstream.requests[0].at
    return [(round((seen.at - first) * 1000), seen.candidate) for seen in upstream.requests]


def left(upstream: PlayedUpstream) -> list[int | None]:
    """When each request was cancelled; None for one that came to its end."""
    first = upstream.requests[0].at
    return [
        None if seen.hung_up_at is None else round((seen.hung_up_at - first) * 1000)
        for seen in upstream.requests
    ]


# -- committed


NOTHINGS: dict[str, list[Step]] = {
    "headers": [Head()],
    "roles": [Role(), Role()],
    "comments": [Comment(), Comment()],
    "no letters": [Role(), Say(" "), Say("..."), Say("\n")],
    "a think block": [Role(), Say("<think>hm</think>")],
}


@pytest.mark.parametrize("opening", NOTHINGS.values(), ids=NOTHINGS)
async def test_only_a_word_or_a_call_wins(way: Way, opening: list[Step]) -> None:
    """Whoever has sent anything else has not begun, and nothing of it is heard."""
    upstream = PlayedUpstream([*opening, Hold()], fallback=F)
    got = way.read(await way.post(way.caller(upstream, reasoning_timeout_ms=3000)))
    assert got.speech[-1] == (4000, "F.")
    assert got.text.endswith("... From F.")
    assert asked(upstream) == [(0, "upstream"), (3000, "fallback")]


async def test_the_winner_is_the_first_to_speak_and_the_others_are_cancelled(way: Way) -> None:
    """The late one wins if it speaks first; the request to the other is closed at that moment."""
    upstream = PlayedUpstream(answer("Late.", at_ms=3500), fallback=F)
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text.endswith("Late.")
    assert left(upstream) == [None, 3500]


async def test_a_losers_words_are_never_heard(way: Way) -> None:
    """Both speak in the same millisecond: one answer is heard."""
    upstream = PlayedUpstream(answer("Same.", at_ms=4000), fallback=F)
    got = way.read(await way.post(way.caller(upstream, buffer_words_after_ms=0)))
    assert got.text in {"Same.", "From F."}


async def test_a_call_wins_before_it_is_whole(way: Way) -> None:
    """Its first part commits; nobody else is asked while the rest is on its way."""
    steps = calls("lookup", {})
    upstream = PlayedUpstream([*steps[:3], Pause(3900), *steps[3:]], fallback=F)
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[LOOKUP])))
    assert got.calls == [("lookup", {})]
    assert asked(upstream) == [(0, "upstream")]


# -- time


async def test_hedging_asks_the_next_before_the_first_is_late(way: Way) -> None:
    """After `hedge_after_ms` both are asked; whoever speaks first is heard."""
    upstream = PlayedUpstream(answer("Slow.", at_ms=2900), fallback=F)
    got = way.read(await way.post(way.caller(upstream, hedge_after_ms=400)))
    assert got.speech == [(1400, "From "), (1400, "F.")]
    assert asked(upstream) == [(0, "upstream"), (400, "fallback")]
    assert left(upstream) == [1400, None]


async def test_hedging_without_a_fallback_asks_the_same_model(way: Way) -> None:
    """Twice, and no third time when both are late."""
    upstream = PlayedUpstream([Hold()])
    got = way.read(await way.post(way.caller(upstream, hedge_after_ms=400)))
    assert asked(upstream) == [(0, "upstream"), (400, "upstream")]
    assert got.speech[-1][0] == 12_000
    assert left(upstream) == [12_000, 12_000]


async def test_an_answer_in_time_is_not_hedged(way: Way) -> None:
    """One request."""
    upstream = PlayedUpstream(answer(at_ms=399), fallback=F)
    await way.post(way.caller(upstream, hedge_after_ms=400))
    assert asked(upstream) == [(0, "upstream")]


async def test_a_failure_is_not_hedged_again(way: Way) -> None:
    """The next one was asked at once; the hedge's moment passes without a third request."""
    upstream = PlayedUpstream(refused(500, at_ms=100), fallback=F)
    await way.post(way.caller(upstream, hedge_after_ms=400))
    assert asked(upstream) == [(0, "upstream"), (100, "fallback")]


async def test_a_hedge_that_nobody_may_answer_ends(way: Way) -> None:
    """The last request of the turn is under way when the hedge is due: nothing spins."""
    upstream = PlayedUpstream(refused(500), refused(500), answer(at_ms=2000))
    got = way.read(await way.post(way.caller(upstream, hedge_after_ms=400)))
    assert got.text.endswith("Hello there.")
    assert len(upstream.requests) == 3


async def test_timers_at_0_are_off(way: Way) -> None:
    """One request, no word of ours, however long it takes; silence in mid-answer, too."""
    upstream = PlayedUpstream([At(40_000), Role(), Say("At "), Pause(40_000), Say("last."), Done()])
    upstream.stage("upstream").plays(
        [At(40_000), Role(), Say("At "), Pause(40_000), Say("last."), Finish(), Done()]
    )
    got = way.read(await way.post(way.caller(upstream, **TIMERS)))
    assert got.speech == [(40_000, "At "), (80_000, "last.")]
    assert asked(upstream) == [(0, "upstream")]


@pytest.mark.parametrize("setting", ["first_token_timeout_ms", "reasoning_timeout_ms"])
async def test_the_one_patience_at_0_leaves_the_other(way: Way, setting: str) -> None:
    """Without the first a silent model, without the second a thinking one, is waited for."""
    thinks = setting == "reasoning_timeout_ms"
    opening: list[Step] = [Role(), Think("Hm.")] if thinks else [Role()]
    upstream = PlayedUpstream([*opening, At(10_000), *answer("Slow.")], fallback=F)
    got = way.read(await way.post(way.caller(upstream, **{setting: 0})))
    assert asked(upstream) == [(0, "upstream")]
    assert got.text.endswith("Slow.")


async def test_reasoning_proves_life_for_a_while(way: Way) -> None:
    """Up to `reasoning_timeout_ms`; then the next one is asked."""
    thinking: Script = [step for ms in range(0, 12_000, 500) for step in (At(ms), Think("Hm. "))]
    upstream = PlayedUpstream(thinking, fallback=F)
    got = way.read(await way.post(way.caller(upstream)))
    assert asked(upstream) == [(0, "upstream"), (8000, "fallback")]
    assert got.speech[-1] == (9000, "F.")
    assert "Hm" not in got.text


@pytest.mark.parametrize(("result", "ends_ms"), [(False, 12_000), (True, 8000)])
async def test_the_budget_bounds_the_wait(way: Way, result: bool, ends_ms: int) -> None:
    """12 s, and 8 s when the turn answers a tool's result."""
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
    assert left(upstream) == [ends_ms, ends_ms]


@pytest.mark.parametrize("comments", [True, False])
async def test_keep_alives_do_not_hide_a_stall(way: Way, comments: bool) -> None:
    """No data frame for `stall_timeout_ms` in mid-answer is a cut, whatever else comes."""
    keep_alive: list[Step] = [step for _ in range(20) for step in (Pause(1000), Comment())]
    upstream = PlayedUpstream(
        [Role(), Say("It is sunny today. "), Say("And "), *(keep_alive if comments else [Hold()])],
        fallback=F,
    )
    got = way.read(await way.post(way.caller(upstream)))
    assert got.speech[-1][0] == 4000
    assert got.finish == "length"


async def test_nothing_after_the_finish_prolongs_the_turn(way: Way) -> None:
    """A connection that stays open after the last frame is not waited for."""
    tail: list[Step] = [step for _ in range(100) for step in (Pause(100), Comment())]
    upstream = PlayedUpstream([*answer("Sunny."), Comment(), *tail])
    heard = await way.post(way.caller(upstream))
    assert way.read(heard).text == "Sunny."
    assert heard.pieces[-1][0] == 0


async def test_a_finish_is_the_end_without_a_terminator() -> None:
    """Half a second later the stream is ended; comments do not prolong that."""
    tail: list[Step] = [step for _ in range(100) for step in (Pause(100), Comment())]
    upstream = PlayedUpstream([Role(), Say("Sunny."), Finish(), *tail])
    heard = await CHAT.post(CHAT.caller(upstream))
    got = CHAT.read(heard)
    assert (got.text, got.finish) == ("Sunny.", "stop")
    assert heard.pieces[-1][0] == 500
    assert left(upstream) == [500]


async def test_a_clock_that_is_wrong_costs_at_most_ten_seconds() -> None:
    """A request is not believed to be older; one from the future is new."""
    upstream = PlayedUpstream([Hold()])
    heard = await CHAT.post(CHAT.caller(upstream), age_ms=60_000)
    assert CHAT.read(heard).speech[-1][0] == 60_000 + 2000
    heard = await CHAT.post(CHAT.caller(PlayedUpstream([Hold()])), age_ms=-60_000)
    assert CHAT.read(heard).speech[-1][0] == -60_000 + 12_000


# -- errors


async def test_errors_move_on_at_once(way: Way) -> None:
    """Three requests and no more, first to those who were asked least."""
    upstream = PlayedUpstream(refused(500, at_ms=10), fallback=refused(503, at_ms=20))
    heard = await way.post(way.caller(upstream), on_failure="error")
    assert heard.status == 500
    assert asked(upstream) == [(0, "upstream"), (10, "fallback"), (30, "upstream")]


async def test_without_a_fallback_the_same_model_is_asked_again(way: Way) -> None:
    """It may be better the next time."""
    upstream = PlayedUpstream(refused(500), refused(502), answer("Better."))
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text == "Better."


async def test_an_error_does_not_win_while_another_lives(way: Way) -> None:
    """The late one is refused at last; the one asked after it is heard."""
    upstream = PlayedUpstream(refused(400, param="input[3]", at_ms=3500), fallback=F)
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text.endswith("From F.")
    assert asked(upstream) == [(0, "upstream"), (3000, "fallback")]


@pytest.mark.parametrize("held_open", [True, False])
async def test_an_error_frame_before_any_word_is_a_failure(way: Way, held_open: bool) -> None:
    """The next one is asked at once, and the failed request is closed."""
    steps: list[Step] = [Role(), At(200), Fail(), *([Hold()] if held_open else [])]
    upstream = PlayedUpstream(steps, fallback=F)
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text == "From F."
    assert asked(upstream) == [(0, "upstream"), (200, "fallback")]
    assert left(upstream) == [200 if held_open else None, None]


@pytest.mark.parametrize("status", [401, 403, 404, 408, 409, 500, 502, 503, 504])
@pytest.mark.parametrize("stream", [True, False])
async def test_these_fall_over_to_the_fallback(way: Way, status: int, stream: bool) -> None:
    """It may know what the first one does not."""
    upstream = PlayedUpstream(refused(status, code="model_not_found"), fallback=answer("From F."))
    got = way.read(await way.post(way.caller(upstream), way.body(stream=stream)))
    assert got.text == "From F."
    assert asked(upstream) == [(0, "upstream"), (0, "fallback")]


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("stream", [True, False])
async def test_these_do_not(way: Way, status: int, stream: bool) -> None:
    """The request is bad whoever is asked; the caller gets the status and the field."""
    upstream = PlayedUpstream(refused(status, param="input[3]"), fallback=F)
    heard = await way.post(way.caller(upstream), way.body(stream=stream))
    got = way.read(heard)
    assert heard.status == status
    assert got.error is not None
    assert got.error["param"] == "input[3]"
    assert asked(upstream) == [(0, "upstream")]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wait_s", [0.5, 2])
async def test_a_lone_429_is_repeated_when_it_says_so(
    way: Way, wait_s: float, stream: bool
) -> None:
    """After its `Retry-After`, and a little more, so that not all come back together."""
    upstream = PlayedUpstream(refused(429, retry_after_s=wait_s), answer("Sunny."))
    caller = way.caller(upstream, buffer_words_after_ms=0)
    got = way.read(await way.post(caller, way.body(stream=stream)))
    assert got.text == "Sunny."
    ((_, first), (at_ms, second)) = asked(upstream)
    assert (first, second) == ("upstream", "upstream")
    assert wait_s * 1000 <= at_ms <= wait_s * 1250


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wait_s", [2.5, 60, None])
async def test_a_lone_429_is_not_repeated_otherwise(
    way: Way, wait_s: float | None, stream: bool
) -> None:
    """Not without a `Retry-After`, nor for a long one; it is passed on."""
    upstream = PlayedUpstream(refused(429, retry_after_s=wait_s))
    heard = await way.post(way.caller(upstream), way.body(stream=stream), on_failure="error")
    assert heard.status == 429
    assert heard.headers.get("retry-after") == (f"{wait_s:g}" if wait_s else None)
    assert len(upstream.requests) == 1


async def test_a_429_with_a_fallback_is_not_waited_for(way: Way) -> None:
    """The fallback is asked at once, and the one that has enough is not asked again."""
    upstream = PlayedUpstream(refused(429, retry_after_s=1), fallback=refused(500))
    heard = await way.post(way.caller(upstream), on_failure="error")
    assert heard.status == 500
    assert {name for _, name in asked(upstream)[1:]} == {"fallback"}


async def test_repeats_of_429_count(way: Way) -> None:
    """Three requests, then the status."""
    upstream = PlayedUpstream(refused(429, retry_after_s=1))
    heard = await way.post(way.caller(upstream, buffer_words_after_ms=0), on_failure="error")
    assert heard.status == 429
    assert len(upstream.requests) == 3


async def test_garbage_before_any_word_is_a_failure(way: Way) -> None:
    """A frame that is no JSON: the next one is asked."""
    upstream = PlayedUpstream([Role(), Raw(b"data: <html>\n\n"), Hold()], fallback=F)
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text == "From F."


# -- the caller hangs up


HANG_UPS: dict[str, tuple[Script, int]] = {
    "before the headers": ([Hold()], 200),
    "after them, before a word": ([Head(), Role(), Hold()], 200),
    "in mid-answer": ([Role(), Say("Once upon "), Hold()], 200),
    "while two are asked": ([Hold()], 3200),
    "while a call is held": ([Role(), *calls("lookup", {})[2:4], Hold()], 700),
}


@pytest.mark.parametrize(("script", "at_ms"), HANG_UPS.values(), ids=HANG_UPS)
async def test_a_hang_up_cancels_everything_at_once(way: Way, script: Script, at_ms: int) -> None:
    """Every request to a model is closed in that millisecond, and nothing more is written."""
    upstream = PlayedUpstream(script, fallback=[Hold()])
    heard = await way.post(way.caller(upstream), way.body(tools=[LOOKUP]), hang_up_ms=at_ms)
    assert left(upstream) == [at_ms] * len(upstream.requests)
    assert not heard.ended
    assert all(ms < at_ms for ms, _ in heard.pieces)


async def test_a_hang_up_ends_the_wait_for_a_429(way: Way) -> None:
    """Nobody is asked for a caller who is gone."""
    upstream = PlayedUpstream(refused(429, retry_after_s=2), answer())
    await way.post(way.caller(upstream), hang_up_ms=1000)
    assert len(upstream.requests) == 1


async def test_a_hang_up_ends_a_buffered_turn(way: Way) -> None:
    """Its request is closed as well."""
    upstream = PlayedUpstream([Hold()])
    heard = await way.post(way.caller(upstream), way.body(stream=False), hang_up_ms=500)
    assert left(upstream) == [500]
    assert heard.status == 0
