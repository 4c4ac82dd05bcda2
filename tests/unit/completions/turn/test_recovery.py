"""Recovery: whether to ask again after a bad answer, which model, and with what feedback."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from completions.dialects.deltas import Call
from completions.race.attempts import EmptyAnswer
from completions.settings import Candidate
from completions.speech.phrases import PHRASES
from completions.tools.held_calls import Judgement
from completions.turn.plan import ANSWER_NEEDS_S
from completions.turn.record import TurnRecord
from completions.turn.recovery import Recovery, after_cut, after_feedback
from local.scripted.script import (
    At,
    Cut,
    Done,
    Finish,
    Hold,
    Raw,
    Role,
    Say,
    Script,
    Step,
    Think,
    Usage,
    answer,
    call,
    refused,
)
from tests.support.in_process import PlayedUpstream
from tests.support.tools import TRANSFER
from tests.support.turns import Caller
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]
FALLBACK = answer("From F.", at_ms=1000)
Broken = tuple[Sequence[Step], int]
FIRST = Candidate("upstream", "http://a.invalid/v1")
SECOND = Candidate("fallback", "http://b.invalid/v1")
TAIL: list[Step] = [Finish(), Usage(), Done()]
MOVE = {
    "name": "move",
    "description": "Moves.",
    "parameters": {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    },
}
GOOD = call("transfer_to_agent", {"agent_number": 1}, index=0)
BAD = call("move", {"n": "far"}, index=1)
CORRECTED = call("move", {"n": 3}, index=0)


class FakeQuestion:
    """A question that records the feedback it was given."""

    def __init__(self, *, can_ask: bool = True) -> None:
        self.can_ask, self.requests_left = can_ask, int(can_ask)
        self.can_change_task = True
        self.feedback: tuple[str, str] | None = None

    def given_up(self) -> None:
        """Do nothing."""

    def after_silence(self) -> FakeQuestion:
        return self

    def with_feedback(self, answer: str, feedback: str) -> FakeQuestion:
        """Record it."""
        self.feedback = (answer, feedback)
        return self

    def ask(self, *_: Any, **__: Any) -> Any:
        """Fail: recovery itself makes no request."""
        raise AssertionError


# -- the decisions themselves


def test_feedback_is_given_once_and_only_if_another_answer_is_possible() -> None:
    """Another answer needs time and one of the turn's requests."""
    recovery = Recovery(TurnRecord())
    assert recovery.can_give_feedback(FakeQuestion(), ANSWER_NEEDS_S)
    assert not recovery.can_give_feedback(FakeQuestion(), ANSWER_NEEDS_S - 0.01)
    assert not recovery.can_give_feedback(FakeQuestion(can_ask=False), ANSWER_NEEDS_S)
    recovery.give_feedback(FakeQuestion(), Judgement(problems=["No."]), "")
    assert not recovery.can_give_feedback(FakeQuestion(), ANSWER_NEEDS_S)


def test_feedback_names_the_problems_and_the_valid_calls() -> None:
    """The valid calls are kept, and the model is told not to repeat them."""
    record = TurnRecord()
    recovery, question = Recovery(record), FakeQuestion()
    good = Call("c", "transfer", '{"to":1}')
    judgement = Judgement([good], coerced=1, problems=["'n' is missing.", "'m' is no tool."])
    recovery.give_feedback(question, judgement, "One moment.")
    assert question.feedback is not None
    spoken, told = question.feedback
    assert spoken == "One moment."
    assert "'n' is missing. 'm' is no tool." in told
    assert 'Your call transfer({"to":1}) stands: do not repeat it.' in told
    assert (recovery.kept, record.tool_repairs) == ([good], 3)


def test_after_an_empty_answer_the_others_are_asked_first() -> None:
    """The model with the empty answer comes last; after a second empty answer no model is asked."""
    recovery = Recovery(TurnRecord())
    empty = EmptyAnswer(FIRST, "stop", [])
    assert recovery.after_empty(empty, FakeQuestion(), [FIRST, SECOND]) == [SECOND, FIRST]
    assert recovery.after_empty(empty, FakeQuestion(), [FIRST, SECOND]) == []
    assert Recovery(TurnRecord()).after_empty(empty, FakeQuestion(can_ask=False), [FIRST]) == []


def test_a_cut_is_bridged_once_and_in_the_first_sentence_only() -> None:
    """A second cut, or one after a whole sentence, is not bridged."""
    recovery = Recovery(TurnRecord())
    assert not recovery.take_bridge("It is sunny. ")
    assert not recovery.bridged
    assert recovery.take_bridge("It is")
    assert recovery.bridged
    assert not recovery.take_bridge("It is")


def test_after_feedback_the_model_that_made_the_calls_is_asked_first() -> None:
    """The others follow in their order."""
    assert after_feedback([FIRST, SECOND], SECOND) == [SECOND, FIRST]
    assert after_feedback([FIRST, SECOND], FIRST) == [FIRST, SECOND]


def test_after_a_cut_the_model_that_was_cut_is_asked_last() -> None:
    """A model that refused is not asked at all, unless all have."""
    assert after_cut([FIRST, SECOND], FIRST, ()) == [SECOND, FIRST]
    assert after_cut([FIRST, SECOND], FIRST, {SECOND}) == [FIRST]
    assert after_cut([FIRST, SECOND], FIRST, {FIRST, SECOND}) == [SECOND, FIRST]


# -- after a cut, in whole turns


async def test_a_cut_in_the_first_sentence_is_bridged(way: Way, broken: Broken) -> None:
    """A short bridge is spoken, then the next model's whole answer, with an ordinary end."""
    steps, after_ms = broken
    got, upstream, _ = await way.turn([Role(), Say("It is"), *steps], fallback=FALLBACK)
    assert got.text == f"It is... {ENGLISH.bridge} From F."
    assert [at_ms for at_ms, _ in got.speech] == [0, after_ms, after_ms + 1000, after_ms + 1000]
    assert got.finish == "stop"
    assert [seen.candidate for seen in upstream.requests] == ["upstream", "fallback"]


async def test_a_cut_without_a_fallback_is_bridged_by_the_same_model(
    way: Way, broken: Broken
) -> None:
    """It starts its answer again."""
    steps, _ = broken
    got, _, _ = await way.turn([Role(), Say("It is"), *steps], answer("It is sunny."))
    assert got.text == f"It is... {ENGLISH.bridge} It is sunny."


async def test_a_turn_has_one_bridge(way: Way, broken: Broken) -> None:
    """A second answer that breaks off is closed, not bridged."""
    steps, _ = broken
    got, upstream, _ = await way.turn(
        [Role(), Say("It is"), *steps], fallback=[Role(), Say("Well"), *steps]
    )
    assert got.text == f"It is... {ENGLISH.bridge} Well... {ENGLISH.closing}"
    assert got.finish == "length"
    assert len(upstream.requests) == 2


async def test_a_bridge_without_an_answer_is_closed(way: Way, broken: Broken) -> None:
    """If every request after the bridge fails, the turn ends with the closing sentence."""
    steps, _ = broken
    got, upstream, _ = await way.turn([Role(), Say("It is"), *steps], fallback=refused(500))
    assert got.text.startswith(f"It is... {ENGLISH.bridge} ")
    assert got.text.endswith(ENGLISH.closing)
    assert got.finish == "length"
    assert len(upstream.requests) == 3


async def test_no_bridge_without_time_for_an_answer(way: Way, broken: Broken) -> None:
    """If less than three seconds remain before the turn's deadline, the answer is closed."""
    steps, after_ms = broken
    remaining_s = (after_ms + 3000 + 1500 - 10) / 1000
    got, upstream, _ = await way.turn(
        [Role(), Say("It is"), *steps], fallback=FALLBACK, post={"remaining_s": remaining_s}
    )
    assert got.text == f"It is... {ENGLISH.closing}"
    assert got.finish == "length"
    assert len(upstream.requests) == 1


async def test_a_cut_before_anything_is_heard_goes_unnoticed(way: Way, broken: Broken) -> None:
    """If only half a call was cut, a caller needs no bridge and a client gets no error."""
    steps, after_ms = broken
    half: list[Step] = [Role(), *call("transfer_to_agent", {"agent_number": 1})[:2], *steps]
    for on_failure in ("speak", "error"):
        got, _, _ = await way.turn(
            half, fallback=FALLBACK, tools=[TRANSFER], post={"on_failure": on_failure}
        )
        heard_before = 1 if after_ms and on_failure == "speak" else 0
        assert [text for _, text in got.speech][heard_before:] == ["From ", "F."]
        assert got.speech[-1][0] == after_ms + 1000
        assert (got.calls, got.finish) == ([], "stop")


async def test_a_model_that_refused_is_not_asked_after_a_cut() -> None:
    """It has just refused this deployment's request."""
    cut: Script = [At(100), Role(), Say("Well, "), Cut()]
    upstream = PlayedUpstream(refused(401, at_ms=10), fallback=cut)
    upstream.stage("fallback").plays(cut, answer("It is open."))
    heard = await Caller(upstream).post()
    assert [each.candidate for each in upstream.requests] == ["upstream", "fallback", "fallback"]
    assert heard.text.endswith("It is open.")


# -- after an empty answer, in whole turns


async def test_an_empty_answer_is_asked_for_again_once(way: Way, empty: Sequence[Step]) -> None:
    """The second answer is heard as if it were the first."""
    upstream = PlayedUpstream([At(300), *empty], answer("Sunny.", at_ms=700))
    got = way.read(await way.post(way.caller(upstream)))
    assert got.speech == [(1000, "Sunny.")]
    assert got.finish == "stop"
    assert len(upstream.requests) == 2


async def test_after_an_empty_answer_the_fallback_is_asked(way: Way, empty: Sequence[Step]) -> None:
    """The model with the empty answer is not asked next."""
    upstream = PlayedUpstream(empty, fallback=answer("From F."))
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text == "From F."
    assert [seen.candidate for seen in upstream.requests] == ["upstream", "fallback"]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_a_model_that_was_stopped_is_not_asked_again(way: Way, reason: str) -> None:
    """It would meet its limit or filter again, so only another model may be asked."""
    stopped: list[Step] = [Role(), Think("Well."), Finish(reason), Done()]
    alone = PlayedUpstream(stopped)
    got = way.read(await way.post(way.caller(alone)))
    assert got.text == (ENGLISH.failure if reason == "length" else ENGLISH.declined)
    assert len(alone.requests) == 1
    both = PlayedUpstream(stopped, fallback=answer("From F."))
    assert way.read(await way.post(way.caller(both))).text == "From F."
    assert [seen.candidate for seen in both.requests] == ["upstream", "fallback"]


async def test_an_empty_answer_beside_a_failure_is_asked_for_again_once(way: Way) -> None:
    """An empty answer and a late failure together count as empty, not as failed."""
    upstream = PlayedUpstream(
        refused(500, at_ms=3500), answer("Sunny."), fallback=[Raw(b"data: [DONE]\n\n")]
    )
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text.endswith("Sunny.")
    assert len(upstream.requests) == 3


async def test_an_empty_json_answer_is_asked_for_again_once(way: Way) -> None:
    """A second empty one ends as the model ended it."""
    upstream = PlayedUpstream([Role(), Think("Well."), *TAIL], answer('{"a": 1}'))
    got = way.read(await way.post(way.caller(upstream), way.body(json_format=True)))
    assert got.text == '{"a": 1}'
    upstream = PlayedUpstream([Role(), *TAIL])
    got = way.read(await way.post(way.caller(upstream), way.body(json_format=True)))
    assert (got.text, got.finish) == ("", "stop")


# -- after an invalid call, in whole turns


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "buffered"])
async def test_only_the_invalid_call_is_asked_for_again(way: Way, stream: bool) -> None:
    """The valid call beside it is kept and delivered once."""
    first = [Role(), *GOOD, *BAD, Finish("tool_calls"), Done()]
    upstream = PlayedUpstream(first, [Role(), *CORRECTED, Finish("tool_calls"), Done()])
    request = way.body(tools=[TRANSFER, MOVE], stream=stream)
    heard = await way.post(way.caller(upstream), request)
    assert way.read(heard).calls == [
        ("transfer_to_agent", {"agent_number": 1}),
        ("move", {"n": 3}),
    ]
    assert "stands: do not repeat it" in json.dumps(upstream.requests[1].json)


async def test_a_valid_call_is_kept_if_the_second_answer_is_in_words() -> None:
    """It is delivered whatever the model says in place of the invalid one."""
    first = [Role(), *GOOD, *BAD, Finish("tool_calls"), Done()]
    upstream = PlayedUpstream(first, answer("I stay here."))
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(tools=[TRANSFER, MOVE]))
    read = CHAT.read(heard)
    assert (read.text, read.calls, read.finish) == (
        "I stay here.",
        [("transfer_to_agent", {"agent_number": 1})],
        "tool_calls",
    )


@pytest.mark.parametrize(
    "second",
    [
        [Role(), *TAIL],
        [Done()],
        refused(500),
        refused(429),
        refused(400, param="x"),
        [Hold()],
        [Role(), Cut()],
        [Role(), *call("transfer_to_agent", "{}"), *TAIL],
        [Role(), *call("transfer_to_agent", '{"agent_number": '), Hold()],
    ],
    ids=["empty", "done", "500", "429", "400", "hangs", "cut", "invalid again", "half a call"],
)
@pytest.mark.parametrize("opening", ["", "I'm transferring you. ", "I'm transf"])
async def test_an_invalid_call_is_never_followed_by_silence(
    way: Way, second: Script, opening: str
) -> None:
    """However the second request ends, words are heard in time and no call is made."""
    words = [Say(opening)] if opening else []
    first = [Role(), *words, *call("transfer_to_agent", '{"agent_number": "repairs"}'), *TAIL]
    got, upstream, heard = await way.turn(first, second, tools=[TRANSFER])
    assert got.text.startswith(opening)
    assert got.text.endswith((ENGLISH.failure, ENGLISH.closing)) or heard.status == 400
    assert got.calls == []
    assert len(upstream.requests) <= 3
    assert heard.pieces[-1][0] <= 12_000
