"""Which candidate a race asks next, and when: hedges, waits, and repeats."""

from __future__ import annotations

import pytest

from completions.race import waits
from completions.speech.phrases import PHRASES
from local.scripted.script import (
    Cut,
    Hold,
    Role,
    Say,
    Script,
    answer,
    page,
    refused,
)
from tests.support.in_process import PlayedUpstream, asked_at_ms, cancelled_at_ms
from tests.support.ways import RESPONSES, Way

pytestmark = pytest.mark.looptime

FALLBACK = answer("From F.", at_ms=1000)


# -- hedging


async def test_hedging_asks_the_next_before_the_first_is_late(way: Way) -> None:
    """After `hedge_after_ms` both are asked, and the first to speak is heard."""
    upstream = PlayedUpstream(answer("Slow.", at_ms=2900), fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream, hedge_after_ms=400)))
    assert got.speech == [(1400, "From "), (1400, "F.")]
    assert asked_at_ms(upstream) == [(0, "upstream"), (400, "fallback")]
    assert cancelled_at_ms(upstream) == [1400, None]


async def test_hedging_without_a_fallback_asks_the_same_model(way: Way) -> None:
    """It is asked twice, and not a third time when both requests are late."""
    upstream = PlayedUpstream([Hold()])
    got = way.read(await way.post(way.caller(upstream, hedge_after_ms=400)))
    assert asked_at_ms(upstream) == [(0, "upstream"), (400, "upstream")]
    assert got.speech[-1][0] == 12_000
    assert cancelled_at_ms(upstream) == [12_000, 12_000]


async def test_an_answer_in_time_is_not_hedged(way: Way) -> None:
    """One request is enough."""
    upstream = PlayedUpstream(answer(at_ms=399), fallback=FALLBACK)
    await way.post(way.caller(upstream, hedge_after_ms=400))
    assert asked_at_ms(upstream) == [(0, "upstream")]


async def test_a_failure_is_not_hedged_again(way: Way) -> None:
    """The next candidate was asked at once, so no request is made when the hedge is due."""
    upstream = PlayedUpstream(refused(500, at_ms=100), fallback=FALLBACK)
    await way.post(way.caller(upstream, hedge_after_ms=400))
    assert asked_at_ms(upstream) == [(0, "upstream"), (100, "fallback")]


async def test_a_hedge_without_requests_left_is_dropped(way: Way) -> None:
    """The turn's last request is already running when the hedge is due, and its answer is heard."""
    upstream = PlayedUpstream(refused(500), refused(500), answer(at_ms=2000))
    got = way.read(await way.post(way.caller(upstream, hedge_after_ms=400)))
    assert got.text.endswith("Hello there.")
    assert len(upstream.requests) == 3


# -- waits


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wait_s", [0.5, 2])
async def test_a_lone_candidates_429_is_waited_for(way: Way, wait_s: float, stream: bool) -> None:
    """It is asked again after its `Retry-After` and some jitter, which spreads the requests."""
    upstream = PlayedUpstream(refused(429, retry_after_s=wait_s), answer("Sunny."))
    caller = way.caller(upstream, buffer_words_after_ms=0)
    got = way.read(await way.post(caller, way.body(stream=stream)))
    assert got.text == "Sunny."
    ((_, first), (at_ms, second)) = asked_at_ms(upstream)
    assert (first, second) == ("upstream", "upstream")
    assert wait_s * 1000 <= at_ms <= wait_s * 1250


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wait_s", [4, 60])
async def test_a_long_wait_is_reported_to_a_client_that_wants_errors(
    way: Way, wait_s: float, stream: bool
) -> None:
    """It gets a long `Retry-After` at once."""
    upstream = PlayedUpstream(refused(429, retry_after_s=wait_s))
    heard = await way.post(way.caller(upstream), way.body(stream=stream), on_failure="error")
    assert heard.status == 429
    assert heard.headers.get("retry-after") == f"{wait_s:g}"
    assert len(upstream.requests) == 1


async def test_a_wait_is_covered_by_buffer_words_within_the_budget(way: Way) -> None:
    """A wait that ends after the turn's budget is a failure at once."""
    got, upstream, _ = await way.turn(refused(529, retry_after_s=5), answer("Sunny."))
    assert got.text.endswith("Sunny.")
    assert asked_at_ms(upstream) == [(0, "upstream"), (5000, "upstream")]
    got, upstream, _ = await way.turn(refused(503, retry_after_s=20))
    assert [at for at, _ in got.speech] == [0]
    assert len(upstream.requests) == 1


async def test_without_a_budget_no_wait_exceeds_the_turn(way: Way) -> None:
    """A day's `Retry-After` is a failure at once, whatever limits are off."""
    busy = refused(503, retry_after_s=86_400)
    settings = {"turn_budget_ms": 0, "buffer_words_after_ms": 0}
    got, upstream, _ = await way.turn(busy, fallback=busy, settings=settings)
    assert [at for at, _ in got.speech] == [0]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "blip", [refused(500), refused(503), refused(429), [], [Cut()]], ids=lambda one: str(one)[:40]
)
async def test_a_lone_candidate_that_fails_is_asked_again_after_a_wait(
    way: Way, blip: Script
) -> None:
    """The waits are a quarter of a second, then 0.8 s: a blip of a second costs no turn."""
    got, upstream, _ = await way.turn(blip, blip, answer("Sunny."))
    assert got.text == "Sunny."
    assert asked_at_ms(upstream) == [(0, "upstream"), (250, "upstream"), (1050, "upstream")]


async def test_another_candidate_is_asked_at_once_and_the_same_after_a_wait(way: Way) -> None:
    """The third request goes to the first that may be asked, or the preferred one if both may."""
    _, upstream, _ = await way.turn(refused(500), fallback=refused(500))
    assert asked_at_ms(upstream) == [(0, "upstream"), (0, "fallback"), (1050, "upstream")]
    _, upstream, _ = await way.turn(refused(429, retry_after_s=5), fallback=refused(500))
    assert asked_at_ms(upstream) == [(0, "upstream"), (0, "fallback"), (1050, "fallback")]


@pytest.mark.parametrize("blip", [refused(503), refused(429), []], ids=lambda one: str(one)[:40])
async def test_a_request_to_a_missing_endpoint_shortens_no_wait(blip: Script) -> None:
    """The last request comes a second after the first failure, however few are left."""
    got, upstream, _ = await RESPONSES.turn(page(404), blip, answer("Sunny."))
    assert got.text == "Sunny."
    assert asked_at_ms(upstream) == [(0, "upstream"), (0, "upstream"), (1050, "upstream")]


async def test_no_model_is_asked_without_time_for_a_word(way: Way) -> None:
    """A request just before the budget's end would be paid for in vain."""
    patient = {"first_token_timeout_ms": 0}
    got, upstream, _ = await way.turn(refused(503, at_ms=10_800), settings=patient)
    assert (got.text.endswith(PHRASES["en"].failure), got.speech[-1][0]) == (True, 10_800)
    assert len(upstream.requests) == 1
    _, upstream, _ = await way.turn(refused(503, at_ms=10_700), settings=patient)
    assert len(upstream.requests) == 2


async def test_waits_outlast_a_race(way: Way) -> None:
    """They belong to the turn: the busy model is left alone after the bridge."""
    cut: Script = [Role(), Say("Well"), Cut()]
    got, upstream, _ = await way.turn(refused(429, retry_after_s=2), fallback=cut)
    assert asked_at_ms(upstream) == [(0, "upstream"), (0, "fallback"), (1050, "fallback")]
    assert PHRASES["en"].bridge in got.text


async def test_a_cut_candidate_is_asked_again_only_after_a_wait(way: Way) -> None:
    """Another is asked at once; if that one fails, too, the cut one's wait still counts."""
    cut: Script = [Role(), Say("Well"), Cut()]
    _, upstream, _ = await way.turn(cut, fallback=refused(429, retry_after_s=5))
    assert asked_at_ms(upstream) == [(0, "upstream"), (0, "fallback"), (1050, "upstream")]


@pytest.mark.parametrize("start_ms", range(0, 2200, 100))
async def test_an_outage_of_a_second_costs_no_turn(way: Way, start_ms: int) -> None:
    """The upstream is away for one second of each 2.2, whenever in that time a turn begins."""
    away = [(start_ms + at) % 2200 < 1000 for at in (0, 250, 1050)]
    scripts = [refused(503) if gone else answer("Sunny.") for gone in away]
    got, _, _ = await way.turn(*scripts)
    assert got.text == "Sunny."


async def test_waits_are_jittered(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns that failed together do not ask again together."""
    monkeypatch.setattr(waits, "JITTER", 0.25)
    seconds = set()
    for _ in range(5):
        _, upstream, _ = await way.turn(refused(500), answer("Sunny."))
        seconds.add(asked_at_ms(upstream)[1][0])
    assert len(seconds) > 1
    assert all(250 <= at_ms <= 313 for at_ms in seconds)


async def test_waiting_for_a_429_ends_after_three_requests(way: Way) -> None:
    """Then the caller gets its status."""
    upstream = PlayedUpstream(refused(429, retry_after_s=1))
    heard = await way.post(way.caller(upstream, buffer_words_after_ms=0), on_failure="error")
    assert heard.status == 429
    assert len(upstream.requests) == 3
