"""Buffer words in whole turns: when a caller hears which, and what is heard after them.

Every test holds for every way to a model. How phrases are chosen and compared is
`test_buffer_words`'s; the milliseconds of the other timers are `test_time_lines`'s.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping
from typing import Any

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completions.speech.phrases import PHRASES
from tests.support import history
from tests.support.in_process import PlayedUpstream
from tests.support.script import (
    At,
    Done,
    Finish,
    Hold,
    Role,
    Say,
    Script,
    Step,
    Think,
    answer,
    calls,
    refused,
)
from tests.support.turns import Caller
from tests.support.ways import WAYS, Answer, Way

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


async def turn(
    way: Way,
    *messages: Mapping[str, Any],
    script: Script | None = None,
    extra: Mapping[str, Any] | None = None,
    deployment: Mapping[str, Any] | None = None,
    post: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Answer:
    """One turn, by default with a model that takes 2,500 ms."""
    upstream = PlayedUpstream(answer(ANSWER, at_ms=2500) if script is None else script)
    caller = way.caller(upstream, **(deployment or {}))
    if extra is not None:
        fields["elevenlabs_extra_body"] = extra
    request = way.body(**{**history.of(way, messages or [ASKS]), **fields})
    return way.read(await way.post(caller, request, **(post or {})))


def filler(got: Answer) -> str:
    """The only words of ours, spoken at 1,500 ms; the rest is the answer."""
    at_ms, words = got.speech[0]
    assert at_ms == 1500
    assert got.text == words + ANSWER
    return words


async def test_a_filler_ends_in_three_dots_and_a_space(way: Way) -> None:
    """And nothing stands between it and the answer."""
    words = filler(await turn(way))
    assert words in ENGLISH
    assert re.search(r"[^.\s]\.\.\. \Z", words)


@pytest.mark.parametrize(
    "phrase", ["Hang on", "Hang on…", "Hang on.", " Hang  on ....", "Hang on,"]
)
async def test_an_agents_phrase_is_put_right(way: Way, phrase: str) -> None:
    """Whatever the agent wrote."""
    assert filler(await turn(way, extra={"buffer_words": [phrase]})) == "Hang on... "


async def test_a_deployments_phrases_replace_ours(way: Way) -> None:
    """And an agent's replace the deployment's."""
    deployment = {"buffer_words": ("Ein Moment", "Zwei Momente")}
    got = filler(await turn(way, deployment=deployment))
    assert got in {"Ein Moment... ", "Zwei Momente... "}
    got = filler(await turn(way, deployment=deployment, extra={"buffer_words": ["Hang on"]}))
    assert got == "Hang on... "


async def test_an_agent_may_have_none(way: Way) -> None:
    """An empty list: the caller hears nothing but the answer."""
    got = await turn(way, extra={"buffer_words": []}, deployment={"buffer_words": ("Hm",)})
    assert (got.text, got.speech[0][0]) == (ANSWER, 2500)


@pytest.mark.parametrize(("after_ms", "first"), [(400, 400), (2400, 2400), (0, 2500)])
async def test_an_agent_sets_the_wait(way: Way, after_ms: int, first: int) -> None:
    """0 turns it off, whatever the deployment says."""
    got = await turn(
        way,
        extra={"buffer_words_after_ms": after_ms},
        deployment={"buffer_words_after_ms": 1000},
    )
    assert got.speech[0][0] == first


async def test_a_deployment_may_have_none(way: Way) -> None:
    """Unless an agent wants them."""
    off = {"buffer_words_after_ms": 0}
    assert (await turn(way, deployment=off)).text == ANSWER
    got = await turn(way, deployment=off, extra={"buffer_words_after_ms": 1500})
    assert filler(got) in ENGLISH


@pytest.mark.parametrize("code", ["de", "DE", "de-AT", "de_CH"])
async def test_the_language_is_the_agents(way: Way, code: str) -> None:
    """Said in its extra body, in any spelling, before everything else."""
    detected = [history.called(DETECTION["name"], '{"reason":"r","language":"es"}')]
    past = [ASKS, *detected, history.result("ok"), ASKS]
    got = await turn(way, *past, extra={"language": code}, deployment={"language": "fr"})
    assert filler(got) in PHRASES["de"].buffer


@pytest.mark.parametrize(("codes", "heard"), [(["es"], "es"), (["de", "pt-BR"], "pt")])
async def test_the_language_is_the_last_detected(way: Way, codes: list[str], heard: str) -> None:
    """A call of the platform's tool in the history tells it."""
    past: list[Any] = [ASKS]
    for number, code in enumerate(codes):
        arguments = f'{{"reason": "r", "language": "{code}"}}'
        past += [history.called(DETECTION["name"], arguments, f"call_{number}")]
        past += [history.result("ok", f"call_{number}"), ASKS]
    got = await turn(way, *past, tools=[DETECTION], deployment={"language": "fr"})
    assert filler(got) in PHRASES[heard].buffer


@pytest.mark.parametrize(("code", "heard"), [("fr", "fr"), ("tlh", "en")])
async def test_the_language_is_the_deployments(way: Way, code: str, heard: str) -> None:
    """English where it is one that we do not speak."""
    got = await turn(way, extra={"language": "xx"}, deployment={"language": code})
    assert filler(got) in PHRASES[heard].buffer


@pytest.mark.parametrize("language", PHRASES)
async def test_every_language_fails_in_its_own_words(way: Way, language: str) -> None:
    """Fillers and the failure sentence are of one language."""
    got = await turn(way, script=[Hold()], extra={"language": language})
    first, second, last = (words for _, words in got.speech)
    assert {first, second} <= set(PHRASES[language].buffer)
    assert first != second
    assert last.strip() == PHRASES[language].failure


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
async def test_who_has_not_spoken_hears_no_filler(way: Way, messages: list[Any]) -> None:
    """No user message, or the turn that means silence: nothing covers the wait."""
    got = await turn(way, *messages, script=answer(ANSWER, at_ms=11_000))
    assert (got.text, got.speech[0][0]) == (ANSWER, 11_000)


@pytest.mark.parametrize("content", ["Hm...", "....", "…", "… ...", "Okay"])
async def test_a_short_word_is_no_silence(way: Way, content: str) -> None:
    """Only three dots are."""
    filler(await turn(way, {"role": "user", "content": content}))


@pytest.mark.parametrize(
    "since",
    [
        [{"role": "assistant", "content": "Let me look that up for you."}],
        [history.called("look_up", "{}", content="Let me look."), history.result("Sunny")],
    ],
)
async def test_what_was_just_said_covers_part_of_the_wait(way: Way, since: list[Any]) -> None:
    """Assistant text behind the last user message: 3,000 ms instead of 1,500."""
    got = await turn(way, ASKS, *since, script=answer(ANSWER, at_ms=2900))
    assert got.text == ANSWER
    got = await turn(way, ASKS, *since, script=answer(ANSWER, at_ms=3100))
    assert (got.speech[0][0], got.speech[1][0]) == (3000, 3100)


async def test_a_call_alone_covers_nothing(way: Way) -> None:
    """A tool's result without words before it: the caller has waited since the question."""
    past = [ASKS, history.called("look_up", "{}"), history.result("Sunny")]
    filler(await turn(way, *past))


async def test_the_real_word_wins_the_race(way: Way) -> None:
    """Even by two milliseconds: timers may be one early."""
    got = await turn(way, script=answer(ANSWER, at_ms=1498))
    assert (got.text, got.speech[0][0]) == (ANSWER, 1498)


async def test_there_is_never_a_third(way: Way) -> None:
    """Two different ones, 5,000 ms apart, however long the budget is."""
    deployment = {"turn_budget_ms": 40_000}
    got = await turn(way, script=answer(ANSWER, at_ms=39_000), deployment=deployment)
    (first, one), (second, two), (third, _), *_ = got.speech
    assert (first, second, third) == (1500, 6500, 39_000)
    assert one != two


async def test_none_once_the_answer_has_begun(way: Way) -> None:
    """A pause in mid-answer is the model's own."""
    script: Script = [At(400), Role(), Say("It is "), At(4300), Say("sunny."), Finish(), Done()]
    assert (await turn(way, script=script)).speech == [(400, "It is "), (4300, "sunny.")]


@pytest.mark.parametrize(
    "fields", [{"json_format": True}, {"stream": False}], ids=["JSON", "buffered"]
)
async def test_none_where_they_would_break_the_answer(way: Way, fields: dict[str, Any]) -> None:
    """What a program reads gets no words of ours."""
    assert (await turn(way, script=answer('{"a": 1}', at_ms=2500), **fields)).text == '{"a": 1}'


async def test_a_filler_before_a_call(way: Way) -> None:
    """The call follows, and no answer is missed."""
    script = calls(DETECTION["name"], {"reason": "r", "language": "de"}, at_ms=2500)
    got = await turn(way, script=script, tools=[DETECTION])
    assert got.text in ENGLISH
    assert [name for name, _ in got.calls] == [DETECTION["name"]]
    assert got.finish == "tool_calls"


async def test_a_filler_is_no_answer(way: Way) -> None:
    """An empty answer after it is a failure that is told, not dots and not silence."""
    script: Script = [At(2500), Role(), Finish(), Done()]
    got = await turn(way, script=script)
    at_ms, words = got.speech[0]
    assert (at_ms, got.text.removeprefix(words)) == (1500, PHRASES["en"].failure)


async def test_a_client_that_wants_errors_hears_fillers_too(way: Way) -> None:
    """And then the error frame."""
    got = await turn(way, script=refused(400, at_ms=2500), post={"on_failure": "error"})
    assert got.text in ENGLISH
    assert got.error is not None


async def test_no_phrase_twice_running_in_a_conversation(way: Way) -> None:
    """Twelve slow turns, each handed back as the platform keeps it: the fillers vary."""
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
        # Platforms trim what they keep, and some cut it where the caller interrupted.
        kept = got.text.strip() if number % 3 else "".join(words).strip()
        past.append({"role": "assistant", "content": kept})
    assert all(one != other for one, other in itertools.pairwise(heard))
    assert len(set(heard)) == len(ENGLISH)


async def test_the_same_request_posted_again_gets_the_same_words(way: Way) -> None:
    """The platform re-posts; whoever heard the first filler is not given another."""
    assert filler(await turn(way)) == filler(await turn(way))


@pytest.mark.parametrize("own", [("Hang on", "Bear with me"), ("Hang on",)])
async def test_few_phrases_are_not_repeated_either(way: Way, own: tuple[str, ...]) -> None:
    """Two of them alternate; one alone takes turns with ours."""
    caller = way.caller(PlayedUpstream(answer(ANSWER, at_ms=2500)))
    past: list[Any] = []
    heard: list[str] = []
    for _ in range(6):
        past.append(ASKS)
        request = way.body(
            **history.of(way, past), elevenlabs_extra_body={"buffer_words": list(own)}
        )
        got = way.read(await way.post(caller, request))
        heard.append(filler(got))
        past.append({"role": "assistant", "content": got.text.strip()})
    assert all(one != other for one, other in itertools.pairwise(heard))
    assert {f"{phrase}... " for phrase in own} <= set(heard)


async def test_models_do_not_get_to_see_them(way: Way) -> None:
    """Words of ours in the history are ours, whoever's phrases they were."""
    caller = way.caller(PlayedUpstream(answer(ANSWER)), buffer_words=("Zwei Momente",))
    said = [
        f"{ENGLISH[0]}It is sunny.",
        "Hang on... It is sunny.",
        "Zwei Momente... It is sunny.",
        f"{PHRASES['de'].buffer[0]}It is sunny.",
        "It is sunny.",
    ]
    past: list[Any] = [
        message for text in said for message in (ASKS, {"role": "assistant", "content": text})
    ]
    past += [ASKS, {"role": "assistant", "content": ENGLISH[1].strip()}, ASKS]
    extra = {"buffer_words": ["Hang on"]}
    await way.post(caller, way.body(**history.of(way, past), elevenlabs_extra_body=extra))
    (asked,) = [seen.json for seen in caller.upstream.requests]
    got = [text for role, text in history.told(asked) if role == "assistant"]
    assert got == ["It is sunny."] * len(said)


# -- the model's own copy


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    """The text, cut at these places."""
    places = sorted({cut for cut in cuts if 0 < cut < len(text)})
    return [text[a:b] for a, b in zip((0, *places), (*places, len(text)), strict=True)]


COPIES = [
    "Hang on, one moment... ",
    "hang on one moment, ",
    "Hang on, one moment…",
    "Hang on—one moment: ",
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(
    copy=st.sampled_from(COPIES),
    rest=st.sampled_from(["It is sunny.", "Hang on, it is sunny.", "One moment ago it rained."]),
    cuts=st.lists(st.integers(1, 45), max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_the_models_copy_of_the_filler_is_not_heard(
    way: Way, copy: str, rest: str, cuts: list[int]
) -> None:
    """However it is spelt and cut into frames; what follows it is heard once and whole."""
    script: list[Step] = [At(2500), Role(), *map(Say, pieces_of(copy + rest, cuts))]
    got = play(way, [*script, Finish(), Done()])
    assert got.text == f"Hang on, one moment... {rest}"


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(
    text=st.sampled_from(
        ["Hang on.", "Hang on, one momentous day it was.", "Hang", "One moment, please.", "5."]
    ),
    cuts=st.lists(st.integers(1, 45), max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_what_only_begins_like_the_filler_is_heard(way: Way, text: str, cuts: list[int]) -> None:
    """Nothing of an answer is lost for looking like words of ours."""
    script: list[Step] = [At(2500), Role(), *map(Say, pieces_of(text, cuts))]
    got = play(way, [*script, Finish(), Done()])
    assert got.text == f"Hang on, one moment... {text}"


def play(way: Way, script: Script) -> Answer:
    """One turn with the agent's own phrase, in an event loop of its own."""
    extra = {"buffer_words": ["Hang on, one moment"]}
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(turn(way, script=script, extra=extra))


async def test_a_copy_alone_is_no_answer(way: Way) -> None:
    """The model is asked once more, as for an empty one."""
    upstream = PlayedUpstream(
        answer("Hang on, one moment...", at_ms=2500), answer(ANSWER, at_ms=500)
    )
    caller: Caller = way.caller(upstream)
    extra = {"buffer_words": ["Hang on, one moment"]}
    got = way.read(await way.post(caller, way.body(elevenlabs_extra_body=extra)))
    assert got.text == f"Hang on, one moment... {ANSWER}"
    assert got.speech[-1][0] == 3000


async def test_a_copy_is_not_heard_between_thoughts(way: Way) -> None:
    """Reasoning in front of it and behind does not hide it."""
    script: Script = [
        *(At(2500), Role(), Think("Hm."), Say("Hang on,"), Think("Well."), Say(" one moment... ")),
        *(Say("Sunny."), Finish(), Done()),
    ]
    got = await turn(way, script=script, extra={"buffer_words": ["Hang on, one moment"]})
    assert got.text == "Hang on, one moment... Sunny."
    assert got.reasoning == "Hm.Well."


async def test_without_a_filler_nothing_is_taken_away(way: Way) -> None:
    """A model in time may say what it likes."""
    got = await turn(
        way, script=answer("Hang on... It is sunny."), extra={"buffer_words": ["Hang on"]}
    )
    assert got.text == "Hang on... It is sunny."


async def test_callers_at_the_same_time_have_their_own(way: Way) -> None:
    """Language, phrases and waits of one conversation are nothing to another."""
    caller = way.caller(PlayedUpstream(answer(ANSWER, at_ms=2500)))
    extras = [{"language": code} for code in PHRASES]
    requests = [way.body(elevenlabs_extra_body=extra) for extra in extras]
    heard = await asyncio.gather(*(way.post(caller, request) for request in requests))
    for code, one in zip(PHRASES, heard, strict=True):
        assert filler(way.read(one)) in PHRASES[code].buffer
