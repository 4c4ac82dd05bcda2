"""The plan of a turn: its deadline and budget, its buffer words and when they are due."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from completions.dialects import chat
from completions.quirks.quirks import Quirks
from completions.race.health import Health
from completions.settings import Settings
from completions.speech.phrases import PHRASES
from completions.turn import plan as plan_module
from completions.turn.plan import AGE_LIMIT_S, DEADLINE_MARGIN_S, AppState, Arrival, Plan
from local.scripted.script import Hold, Script, answer
from tests.support import history
from tests.support.in_process import PlayedUpstream
from tests.support.turns import body
from tests.support.ways import CHAT, Answer, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"].buffer
ANSWER = "Sunny and warm."
ASKS = {"role": "user", "content": "What is the weather?"}
DETECTION: dict[str, Any] = {
    "name": "language_detection",
    "description": "Switches the language. Available: en, de, es, pt-BR.",
    "parameters": {
        "type": "object",
        "properties": {"reason": {"type": "string"}, "language": {"type": "string"}},
        "required": ["reason", "language"],
    },
}


def plan_for(
    request: Mapping[str, Any] | None = None,
    arrival: Arrival | None = None,
    *,
    on_failure: str = "speak",
    **settings: Any,
) -> Plan:
    """Return the plan of a chat request, by default one that arrives now."""
    deployed = Settings(upstream_base_url="http://primary.invalid/v1", **settings)
    state = AppState(deployed, PlayedUpstream(), Health(), Quirks())
    parsed = chat.parse(dict(request or body()))
    return Plan(state, chat, parsed, arrival or Arrival(), on_failure=on_failure)


async def turn(
    way: Way,
    *messages: Mapping[str, Any],
    script: Script | None = None,
    extra: Mapping[str, Any] | None = None,
    deployment: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Answer:
    """Play one turn with this history, by default with a model that takes 2,500 ms."""
    if extra is not None:
        fields["elevenlabs_extra_body"] = extra
    scene = answer(ANSWER, at_ms=2500) if script is None else script
    fields = {**history.of(way, messages or [ASKS]), **fields}
    got, _, _ = await way.turn(scene, settings=deployment, **fields)
    return got


def buffer_words_in(got: Answer) -> str:
    """Return the only buffer words, spoken at 1,500 ms before the answer."""
    at_ms, words = got.speech[0]
    assert at_ms == 1500
    assert got.text == words + ANSWER
    return words


# -- moments


async def test_the_deadline_leaves_a_margin_before_lambdas() -> None:
    """It counts from when the function saw the request, and never exceeds the turn's limit."""
    await asyncio.sleep(5)
    assert plan_for(turn_limit_ms=60_000).deadline == 65
    short = plan_for(turn_limit_ms=20_000, arrival=Arrival(remaining_s=30, seen_at=2))
    assert short.deadline == 22
    arrival = Arrival(remaining_s=30, seen_at=2)
    assert plan_for(arrival=arrival).deadline == 2 + 30 - DEADLINE_MARGIN_S


async def test_a_budget_of_0_is_no_limit() -> None:
    """The wait for a model is then unbounded."""
    plan = plan_for(turn_budget_ms=0)
    assert plan.budget_ends is None
    assert plan.new_budget() is None


async def test_a_turn_after_a_tools_result_has_a_budget_of_its_own() -> None:
    """A full new budget counts from now."""
    messages = [ASKS, history.called("lookup", "{}"), history.result("ok")]
    plan = plan_for({"model": "m", "messages": messages}, tool_turn_budget_ms=7000)
    assert plan.budget_ends == 7
    await asyncio.sleep(5)
    assert plan.new_budget() == 12


@pytest.mark.parametrize(
    ("age_s", "arrived"),
    [(3, -3), (60, -AGE_LIMIT_S), (-60, 0)],
    ids=["past", "long ago", "future"],
)
async def test_a_request_has_an_age_of_at_most_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, age_s: float, arrived: float
) -> None:
    """Clocks differ, so an older time or one in the future is not trusted."""
    monkeypatch.setattr(plan_module, "time", SimpleNamespace(time=lambda: 1_000_000.0))
    assert plan_for(arrival=Arrival(epoch_s=1_000_000.0 - age_s)).arrived == arrived


async def test_only_a_turn_that_may_hear_our_phrases_speaks() -> None:
    """A client that wants errors or JSON gets none."""
    json_format = body(response_format={"type": "json_object"})
    assert plan_for().fails_in_words
    assert not plan_for(on_failure="error").fails_in_words
    assert not plan_for(json_format).fails_in_words


async def test_a_wrong_clock_costs_at_most_ten_seconds() -> None:
    """A budget of twelve seconds has at least two left."""
    upstream = PlayedUpstream([Hold()])
    heard = await CHAT.post(CHAT.caller(upstream), age_ms=60_000)
    assert CHAT.read(heard).speech[-1][0] == 60_000 + 2000
    heard = await CHAT.post(CHAT.caller(PlayedUpstream([Hold()])), age_ms=-60_000)
    assert CHAT.read(heard).speech[-1][0] == -60_000 + 12_000


# -- when buffer words are due


@pytest.mark.parametrize(("after_ms", "first"), [(400, 400), (2400, 2400), (0, 2500)])
async def test_an_agent_sets_the_wait(way: Way, after_ms: int, first: int) -> None:
    """0 turns buffer words off, whatever the deployment's setting."""
    got = await turn(
        way,
        extra={"buffer_words_after_ms": after_ms},
        deployment={"buffer_words_after_ms": 1000},
    )
    assert got.speech[0][0] == first


async def test_a_client_that_wants_errors_gets_buffer_words_only_if_it_sets_them(way: Way) -> None:
    """The deployment's wait is for callers who listen, the agent's own for any client."""
    program: dict[str, Any] = {"post": {"on_failure": "error"}}
    got, _, _ = await way.turn(answer(ANSWER, at_ms=2500), **program)
    assert got.text == ANSWER
    program["elevenlabs_extra_body"] = {"buffer_words_after_ms": 400}
    got, _, _ = await way.turn(answer(ANSWER, at_ms=2500), **program)
    assert got.speech[0][0] == 400


async def test_a_deployment_may_turn_buffer_words_off(way: Way) -> None:
    """Agents can still set a wait of their own."""
    off = {"buffer_words_after_ms": 0}
    assert (await turn(way, deployment=off)).text == ANSWER
    got = await turn(way, deployment=off, extra={"buffer_words_after_ms": 1500})
    assert buffer_words_in(got) in ENGLISH


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "Greet the caller."}],
        [{"role": "assistant", "content": "Hello?"}],
        [{"role": "user", "content": "..."}],
        [ASKS, {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": " ...\n"}],
        [{"role": "user", "content": "..."}, {"role": "assistant", "content": "Are you there?"}],
    ],
)
async def test_a_silent_user_hears_no_buffer_words(way: Way, messages: list[Any]) -> None:
    """Without a user message, or after one that means silence, nothing covers the wait."""
    got = await turn(way, *messages, script=answer(ANSWER, at_ms=11_000))
    assert (got.text, got.speech[0][0]) == (ANSWER, 11_000)


@pytest.mark.parametrize("content", ["Hm...", "....", "…", "… ...", "Okay"])
async def test_a_short_word_is_not_silence(way: Way, content: str) -> None:
    """Only three dots mean silence."""
    buffer_words_in(await turn(way, {"role": "user", "content": content}))


@pytest.mark.parametrize(
    "since",
    [
        [{"role": "assistant", "content": "Let me look that up for you."}],
        [history.called("look_up", "{}", content="Let me look."), history.result("Sunny")],
    ],
)
async def test_recent_words_cover_part_of_the_wait(way: Way, since: list[Any]) -> None:
    """After assistant text behind the last user message buffer words come at 3,000 ms."""
    got = await turn(way, ASKS, *since, script=answer(ANSWER, at_ms=2900))
    assert got.text == ANSWER
    got = await turn(way, ASKS, *since, script=answer(ANSWER, at_ms=3100))
    assert (got.speech[0][0], got.speech[1][0]) == (3000, 3100)


async def test_a_call_alone_covers_nothing(way: Way) -> None:
    """If no words preceded a tool's call, the caller has waited since the question."""
    past = [ASKS, history.called("look_up", "{}"), history.result("Sunny")]
    buffer_words_in(await turn(way, *past))


@pytest.mark.parametrize(
    "fields", [{"json_format": True}, {"stream": False}], ids=["JSON", "buffered"]
)
async def test_no_buffer_words_where_they_would_break_the_answer(
    way: Way, fields: dict[str, Any]
) -> None:
    """A program that reads the answer gets no words of ours."""
    assert (await turn(way, script=answer('{"a": 1}', at_ms=2500), **fields)).text == '{"a": 1}'


# -- which buffer words


async def test_a_deployments_phrases_replace_ours(way: Way) -> None:
    """An agent's phrases replace the deployment's."""
    deployment = {"buffer_words": ("Ein Moment", "Zwei Momente")}
    got = buffer_words_in(await turn(way, deployment=deployment))
    assert got in {"Ein Moment... ", "Zwei Momente... "}
    got = buffer_words_in(
        await turn(way, deployment=deployment, extra={"buffer_words": ["Hang on"]})
    )
    assert got == "Hang on... "


@pytest.mark.parametrize("code", ["de", "DE", "de-AT", "de_CH"])
async def test_the_agents_language_comes_first(way: Way, code: str) -> None:
    """Its extra body names the language in any spelling, and wins over all other sources."""
    detected = [history.called(DETECTION["name"], '{"reason":"r","language":"es"}')]
    past = [ASKS, *detected, history.result("ok"), ASKS]
    got = await turn(way, *past, extra={"language": code}, deployment={"language": "fr"})
    assert buffer_words_in(got) in PHRASES["de"].buffer


@pytest.mark.parametrize(("codes", "heard"), [(["es"], "es"), (["de", "pt-BR"], "pt")])
async def test_the_language_detected_last_comes_next(
    way: Way, codes: list[str], heard: str
) -> None:
    """A call of the platform's tool in the history names it."""
    past: list[Any] = [ASKS]
    for number, code in enumerate(codes):
        arguments = f'{{"reason": "r", "language": "{code}"}}'
        past += [history.called(DETECTION["name"], arguments, f"call_{number}")]
        past += [history.result("ok", f"call_{number}"), ASKS]
    got = await turn(way, *past, tools=[DETECTION], deployment={"language": "fr"})
    assert buffer_words_in(got) in PHRASES[heard].buffer


@pytest.mark.parametrize(("code", "heard"), [("fr", "fr"), ("tlh", "en")])
async def test_the_deployments_language_comes_last(way: Way, code: str, heard: str) -> None:
    """It is English if we have no phrases in that language."""
    got = await turn(way, extra={"language": "xx"}, deployment={"language": code})
    assert buffer_words_in(got) in PHRASES[heard].buffer


async def test_no_phrase_comes_twice_in_a_row_in_a_conversation(way: Way) -> None:
    """They vary over twelve slow turns, however the platform trims or cuts its history."""
    upstream = PlayedUpstream(answer(ANSWER, at_ms=7000))
    caller = way.caller(upstream)
    past: list[Any] = []
    heard: list[str] = []
    for number in range(12):
        past.append({"role": "user", "content": f"And on day {number}?"})
        request = way.body(**history.of(way, past))
        got = way.read(await way.post(caller, request))
        words = [text for _, text in got.speech if text in ENGLISH]
        assert len(words) == 2
        heard += words
        # Platforms trim the history, and some cut it where the caller interrupted.
        kept = got.text.strip() if number % 3 else "".join(words).strip()
        past.append({"role": "assistant", "content": kept})
    assert all(one != other for one, other in itertools.pairwise(heard))
    assert len(set(heard)) == len(ENGLISH)


async def test_models_do_not_see_buffer_words(way: Way) -> None:
    """The agent's, the deployment's and those of every language are removed from the history."""
    caller = way.caller(PlayedUpstream(answer(ANSWER)), buffer_words=("Zwei Momente",))
    answers = [
        f"{ENGLISH[0]}It is sunny.",
        "Hang on... It is sunny.",
        "Zwei Momente... It is sunny.",
        f"{PHRASES['de'].buffer[0]}It is sunny.",
        "It is sunny.",
    ]
    past: list[Any] = [
        message for text in answers for message in (ASKS, {"role": "assistant", "content": text})
    ]
    past += [ASKS, {"role": "assistant", "content": ENGLISH[1].strip()}, ASKS]
    extra = {"buffer_words": ["Hang on"]}
    await way.post(caller, way.body(**history.of(way, past), elevenlabs_extra_body=extra))
    (request,) = [seen.json for seen in caller.upstream.requests]
    got = [text for role, text in history.texts(request) if role == "assistant"]
    assert got == ["It is sunny."] * len(answers)


async def test_concurrent_callers_have_buffer_words_of_their_own(way: Way) -> None:
    """The language of one conversation does not affect another."""
    caller = way.caller(PlayedUpstream(answer(ANSWER, at_ms=2500)))
    extras = [{"language": code} for code in PHRASES]
    requests = [way.body(elevenlabs_extra_body=extra) for extra in extras]
    heard = await asyncio.gather(*(way.post(caller, request) for request in requests))
    for code, one in zip(PHRASES, heard, strict=True):
        assert buffer_words_in(way.read(one)) in PHRASES[code].buffer
