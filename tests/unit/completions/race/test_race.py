"""The race: which models a turn asks and when, which one wins, and which are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from completions.dialects.deltas import Chunk, Text
from completions.dialects.deltas import Done as Done_
from completions.errors import NotAsked
from completions.race import race
from completions.race.health import Health
from completions.race.timeouts import Timeouts
from completions.settings import Candidate
from completions.speech.phrases import PHRASES
from local.scripted.script import (
    At,
    Comment,
    Cut,
    Done,
    Fail,
    Finish,
    Head,
    Hold,
    Pause,
    Raw,
    Reply,
    Role,
    Say,
    Script,
    Step,
    Think,
    Usage,
    answer,
    calls,
    page,
    refused,
)
from tests.support.in_process import PlayedUpstream, asked_at_ms, cancelled_at_ms
from tests.support.tools import LOOKUP
from tests.support.turns import Caller, Heard
from tests.support.ways import CHAT, OVER_CHAT, Way

pytestmark = pytest.mark.looptime

FALLBACK = answer("From F.", at_ms=1000)
TIMERS_OFF = {
    "buffer_words_after_ms": 0,
    "first_token_timeout_ms": 0,
    "reasoning_timeout_ms": 0,
    "turn_budget_ms": 0,
    "tool_turn_budget_ms": 0,
    "stall_timeout_ms": 0,
}
NO_WORDS: dict[str, list[Step]] = {
    "headers": [Head()],
    "roles": [Role(), Role()],
    "comments": [Comment(), Comment()],
    "no letters": [Role(), Say(" "), Say("..."), Say("\n")],
    "a think block": [Role(), Say("<think>hm</think>")],
}


# -- who wins


@pytest.mark.parametrize("opening", NO_WORDS.values(), ids=NO_WORDS)
async def test_only_a_word_or_a_call_wins(way: Way, opening: list[Step]) -> None:
    """A candidate that has sent anything else is not heard, and counts as late."""
    upstream = PlayedUpstream([*opening, Hold()], fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream, reasoning_timeout_ms=3000)))
    assert got.speech[-1] == (4000, "F.")
    assert got.text.endswith("... From F.")
    assert asked_at_ms(upstream) == [(0, "upstream"), (3000, "fallback")]


async def test_the_first_to_speak_wins_and_the_others_are_cancelled(way: Way) -> None:
    """A late candidate wins if it speaks first, and the other request is closed at that moment."""
    upstream = PlayedUpstream(answer("Late.", at_ms=3500), fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text.endswith("Late.")
    assert cancelled_at_ms(upstream) == [None, 3500]


async def test_a_losers_words_are_never_heard(way: Way) -> None:
    """If both speak in the same millisecond, one answer is heard."""
    upstream = PlayedUpstream(answer("Same.", at_ms=4000), fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream, buffer_words_after_ms=0)))
    assert got.text in {"Same.", "From F."}


async def test_a_call_wins_before_it_is_complete(way: Way) -> None:
    """Its first part wins, and no other model is asked while the rest arrives."""
    steps = calls("lookup", {"count": 1})
    upstream = PlayedUpstream([*steps[:3], Pause(3900), *steps[3:]], fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[LOOKUP])))
    assert got.calls == [("lookup", {"count": 1})]
    assert asked_at_ms(upstream) == [(0, "upstream")]


async def test_json_needs_no_word(way: Way) -> None:
    """Where JSON was asked for, `[]` is an answer."""
    script: Script = [Role(), Say("["), Say("]"), Finish(), Usage(), Done()]
    upstream = PlayedUpstream(script)
    got = way.read(await way.post(way.caller(upstream), way.body(json_format=True)))
    assert got.text == "[]"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("end", [[Hold()], [Cut()], []], ids=["open", "cut", "closed"])
@pytest.mark.parametrize("way", [CHAT, OVER_CHAT], ids=str)
async def test_an_empty_answer_needs_no_terminator(way: Way, end: list[Step]) -> None:
    """One that finished without a word is repeated soon, whatever its connection does."""
    got, upstream, _ = await way.turn([At(100), Role(), Finish(), *end], answer("Here."))
    assert got.speech[-1][0] <= 700
    assert (got.text, len(upstream.requests)) == ("Here.", 2)


async def test_timers_at_0_are_off(way: Way) -> None:
    """A model is then waited for without buffer words, and may pause in mid-answer."""
    upstream = PlayedUpstream(
        [At(40_000), Role(), Say("At "), Pause(40_000), Say("last."), Finish(), Done()]
    )
    got = way.read(await way.post(way.caller(upstream, **TIMERS_OFF)))
    assert got.speech == [(40_000, "At "), (80_000, "last.")]
    assert asked_at_ms(upstream) == [(0, "upstream")]


@pytest.mark.parametrize("setting", ["first_token_timeout_ms", "reasoning_timeout_ms"])
async def test_each_timeout_can_be_off_alone(way: Way, setting: str) -> None:
    """Without the first a silent model is waited for, without the second a reasoning one."""
    thinks = setting == "reasoning_timeout_ms"
    opening: list[Step] = [Role(), Think("Hm.")] if thinks else [Role()]
    upstream = PlayedUpstream([*opening, At(10_000), *answer("Slow.")], fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream, **{setting: 0})))
    assert asked_at_ms(upstream) == [(0, "upstream")]
    assert got.text.endswith("Slow.")


async def test_reasoning_keeps_a_model_alive_for_a_while(way: Way) -> None:
    """A reasoning model has `reasoning_timeout_ms`; then the next one is asked."""
    thinking: Script = [step for ms in range(0, 12_000, 500) for step in (At(ms), Think("Hm. "))]
    upstream = PlayedUpstream(thinking, fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream)))
    assert asked_at_ms(upstream) == [(0, "upstream"), (8000, "fallback")]
    assert got.speech[-1] == (9000, "F.")
    assert "Hm" not in got.text


# -- errors


async def test_after_an_error_another_candidate_is_asked_at_once(way: Way) -> None:
    """The third request goes to the first candidate again, after a wait."""
    upstream = PlayedUpstream(refused(500, at_ms=10), fallback=refused(503, at_ms=20))
    heard = await way.post(way.caller(upstream), on_failure="error")
    assert heard.status == 500
    assert asked_at_ms(upstream) == [(0, "upstream"), (10, "fallback"), (1060, "upstream")]


async def test_without_a_fallback_the_same_model_is_asked_again(way: Way) -> None:
    """It may answer the second time."""
    upstream = PlayedUpstream(refused(500), refused(502), answer("Better."))
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text == "Better."


async def test_a_late_error_does_not_end_the_race(way: Way) -> None:
    """The candidate asked after the late one is heard."""
    upstream = PlayedUpstream(refused(400, param="input[3]", at_ms=3500), fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text.endswith("From F.")
    assert asked_at_ms(upstream) == [(0, "upstream"), (3000, "fallback")]


@pytest.mark.parametrize("held_open", [True, False])
async def test_an_error_event_before_any_word_is_a_failure(way: Way, held_open: bool) -> None:
    """The next candidate is asked at once, and the failed request is closed."""
    steps: list[Step] = [Role(), At(200), Fail(), *([Hold()] if held_open else [])]
    upstream = PlayedUpstream(steps, fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text == "From F."
    assert asked_at_ms(upstream) == [(0, "upstream"), (200, "fallback")]
    assert cancelled_at_ms(upstream) == [200 if held_open else None, None]


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 408, 409, 413, 422, 500, 502, 503, 504, 529]
)
@pytest.mark.parametrize("stream", [True, False])
async def test_after_any_refusal_another_model_is_asked(
    way: Way, status: int, stream: bool
) -> None:
    """It may have another key, another limit, a longer context or other rules for a history."""
    upstream = PlayedUpstream(refused(status, param="input[3]"), fallback=answer("From F."))
    got = way.read(await way.post(way.caller(upstream), way.body(stream=stream)))
    assert got.text == "From F."
    assert asked_at_ms(upstream) == [(0, "upstream"), (0, "fallback")]


@pytest.mark.parametrize("status", [400, 402, 404, 413, 422])
async def test_a_model_that_refuses_for_good_is_not_asked_again(way: Way, status: int) -> None:
    """It would refuse again; a second model that fails is asked once more."""
    upstream = PlayedUpstream(refused(status, param="input[3]"), fallback=refused(500))
    heard = await way.post(way.caller(upstream), on_failure="error")
    assert heard.status == 500
    assert [seen.candidate for seen in upstream.requests] == ["upstream", "fallback", "fallback"]


async def test_an_empty_account_is_not_asked_again(way: Way) -> None:
    """OpenAI reports it by a 429, like a rate limit."""
    script = refused(429, code="insufficient_quota")
    upstream = PlayedUpstream(script)
    heard = await way.post(way.caller(upstream), on_failure="error")
    assert (heard.status, len(upstream.requests)) == (429, 1)


async def test_an_answer_of_garbage_is_a_failure(way: Way) -> None:
    """If none of its events is JSON, the next candidate is asked."""
    upstream = PlayedUpstream([Raw(b"data: <html>\n\n"), Done()], fallback=FALLBACK)
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text == "From F."


@pytest.mark.parametrize("stream", [True, False])
async def test_a_web_page_is_no_answer(way: Way, stream: bool) -> None:
    """A proxy may send one with a 200: the next candidate is asked, or the caller gets a 502."""
    got, _, _ = await way.turn(page(), fallback=answer("From F."), stream=stream)
    assert got.text == "From F."
    _, _, heard = await way.turn(page(), stream=stream, post={"on_failure": "error"})
    assert heard.status == 502


async def test_an_empty_body_is_a_failure(way: Way) -> None:
    """After a 200 with nothing, or with JSON of another kind, the next candidate is asked."""
    for body in (b"", b"{}", b"null", b"[]", b'{"choices": []}', b'"hello"'):
        for stream in (True, False):
            upstream = PlayedUpstream([Reply(body)], fallback=answer("From F."))
            got = way.read(await way.post(way.caller(upstream), way.body(stream=stream)))
            assert got.text == "From F.", body
            assert len(upstream.requests) == 2


async def test_a_connection_that_closes_without_a_word_is_a_failure(way: Way) -> None:
    """It is asked three times; then the caller hears a sentence, and a client gets the status."""
    scripts: list[list[Step]] = [[], [Role()], [Role(), Think("Well.")], [Role(), Cut()]]
    for script in scripts:
        upstream = PlayedUpstream(script)
        got = way.read(await way.post(way.caller(upstream)))
        assert got.text == PHRASES["en"].failure
        assert len(upstream.requests) == 3
        heard = await way.post(way.caller(PlayedUpstream(script)), on_failure="error")
        assert heard.status == 502


class _OneRequest:
    """A question with one request left, and two attempts that want it."""

    can_ask, can_change_task, requests_left = True, True, 1

    def given_up(self) -> None:
        """Do nothing."""

    def after_silence(self) -> _OneRequest:
        return self

    def with_feedback(self, answer: str, feedback: str) -> _OneRequest:
        """Return the same question."""
        return self

    async def ask(
        self, candidate: Candidate, _: int, /, *, hedge: bool = False
    ) -> AsyncGenerator[list[Chunk], None]:
        """Answer after a second, without a request for the hedge."""
        if hedge:
            raise NotAsked("None is left.")
        await asyncio.sleep(1)
        yield [Chunk(None, (Text(candidate.key), Done_()))]


async def test_an_attempt_without_a_request_left_is_no_failure() -> None:
    """Two attempts may want the last one at the same time: the second was not asked."""
    failed: list[Candidate] = []
    health = Health()
    health.failed = lambda candidate, error=None: failed.append(candidate)  # type: ignore[method-assign]
    candidates = [Candidate(name, f"http://{name}.invalid/v1") for name in ("first", "second")]
    now = asyncio.get_running_loop().time()
    hedged = race.Race(_OneRequest(), candidates, health, Timeouts(0.4), started_at=now)
    async with aclosing(hedged.answer()) as batches:
        assert [batch[0].deltas[0] async for batch in batches] == [Text("first")]
    assert failed == []


# -- what later turns learn


async def test_the_third_stalled_turn_asks_the_fallback_first() -> None:
    """After two late answers in a row a model is asked last until it has cooled."""
    upstream = PlayedUpstream([Hold()], fallback=FALLBACK)
    caller = Caller(upstream)
    for _ in range(2):
        assert (await caller.post()).speech[-1][0] == 4000
    heard = await caller.post()
    assert upstream.requests[-1].candidate == "fallback"
    assert heard.speech == [(1000, "From "), (1000, "F.")]
    assert len(upstream.requests) == 5


async def test_a_reposted_request_uses_what_the_first_one_learnt() -> None:
    """Of three turns that overlap, the last one asks the fallback first."""
    upstream = PlayedUpstream([Hold()], fallback=FALLBACK)
    caller = Caller(upstream)

    async def at(seconds: float) -> tuple[Heard, int]:
        await asyncio.sleep(seconds)
        before = len(upstream.requests)
        return await caller.post(), before

    answers = await asyncio.gather(at(0), at(4), at(8))
    assert upstream.requests[answers[2][1]].candidate == "fallback"
    assert [heard.speech[-1][0] for heard, _ in answers] == [4000, 4000, 1000]
    assert len(upstream.requests) <= 9


async def test_one_slow_turn_is_one_failure() -> None:
    """A model that is late and then fails in one turn is asked first in the next."""
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


async def test_time_lost_before_the_request_is_no_failure() -> None:
    """A cold start that used up the first-token time-out does not count against the model."""
    upstream = PlayedUpstream(answer("Yes.", at_ms=300), fallback=answer("F.", at_ms=1000))
    caller = Caller(upstream)
    for _ in range(3):
        assert (await caller.post(age_ms=4000)).text.endswith("Yes.")
    asked_first = [each.candidate for each in upstream.requests[::2]]
    assert asked_first == ["upstream"] * 3
