"""A long pause in mid-answer: covered once, where it is natural, and never in the way."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from completions.dialects import chat
from completions.speech.phrases import PHRASES
from completions.turn.pauses import PauseCover
from completions.turn.plan import Arrival
from completions.turn.record import TurnRecord
from completions.turn.response import ResponseSender
from completions.turn.turn import Turn
from local.scripted.script import (
    At,
    CallPiece,
    Comment,
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
    calls,
)
from tests.support.in_process import PlayedUpstream
from tests.support.tools import LOOKUP
from tests.support.ways import CHAT, OVER_CHAT, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]
SENTENCE = "Let me look. "
"""Thirteen characters: spoken within a second."""
TAIL = (Finish(), Usage(), Done())


async def pieces(way: Way, *steps: Step, **fields: Any) -> list[tuple[int, str]]:
    """What is heard of an answer, with milliseconds; buffer words by that name."""
    got, _, _ = await way.turn([Role(), *steps], **fields)
    return [(at, "<ours>" if text.lstrip() in ENGLISH.buffer else text) for at, text in got.speech]


async def test_a_pause_after_a_sentence_is_covered(way: Way) -> None:
    """Once the sentence has been spoken, and no words have come for as long as at the start."""
    heard = await pieces(way, Say(SENTENCE), At(3500), Say("Here it is."), *TAIL)
    assert heard == [(0, SENTENCE), (2500, "<ours>"), (3500, "Here it is.")]


async def test_a_long_pause_is_covered_as_the_wait_at_the_start_is(way: Way) -> None:
    """Twice, five seconds apart, while the model works; and no third time."""
    thinking = [step for at in range(500, 14_000, 500) for step in (At(at), Think("Hm. "))]
    heard = await pieces(way, Say(SENTENCE), *thinking, Say("Done."), *TAIL)
    assert heard == [(0, SENTENCE), (2500, "<ours>"), (7500, "<ours>"), (13_500, "Done.")]


BRIDGED: Script = [Role(), Say("It is"), Cut()]
LATE: Script = [Role(), At(11_000), Say("It is ten."), *TAIL]


async def test_a_pause_behind_a_bridge_is_covered(way: Way) -> None:
    """Whoever answers next may be slow, and the caller has been promised something."""
    settings = {"first_token_timeout_ms": 0}
    got, _, _ = await way.turn(BRIDGED, LATE, settings=settings)
    heard = [at for at, text in got.speech if text.lstrip() in ENGLISH.buffer]
    assert len(heard) == 2
    assert max(b - a for a, b in pairwise([0, *heard, got.speech[-1][0]])) <= 5500
    assert ENGLISH.bridge in got.text
    assert got.text.endswith("... It is ten.")


async def test_a_pause_behind_a_call_that_is_asked_for_again_is_covered(way: Way) -> None:
    """The model is told what is wrong with it, and words need no full stop before ours."""
    spoken: Script = [Role(), Say("I book it"), *calls("lookup", {"count": "x"})[1:]]
    late: Script = [At(6000), *calls("lookup", {"count": 1})]
    got, _, _ = await way.turn(spoken, late, tools=[LOOKUP], settings={"first_token_timeout_ms": 0})
    assert [text.removeprefix("... ") in ENGLISH.buffer for _, text in got.speech] == [False, True]
    assert got.text.startswith("I book it... ")
    assert got.calls == [("lookup", {"count": 1})]


def cover_of(record: TurnRecord, response: ResponseSender) -> PauseCover:
    """Return the cover of a turn in English, without the turn."""
    plan = SimpleNamespace(
        record=record, speaks=True, pause_after_s=1.5, next_buffer_words=lambda *_: "Hm... "
    )
    return PauseCover(plan, SimpleNamespace(text=str.encode), response)  # type: ignore[arg-type]


async def test_who_is_slow_to_take_words_hears_no_buffer_words() -> None:
    """The pause is his own: it counts from when he takes what was on its way."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body"))
        if message.get("body") == b"slow":
            await asyncio.sleep(5)

    response = ResponseSender(send)
    await response.write(SENTENCE.encode())
    cover = cover_of(TurnRecord(words=[SENTENCE]), response)
    cover.start()
    await response.write(b"slow")
    await asyncio.sleep(1)
    assert sent == [None, SENTENCE.encode(), b"slow"]
    await asyncio.sleep(1.5)
    cover.stop()
    response.release()
    assert sent[3:] == [b"Hm... "]


async def test_a_pause_of_our_own_process_is_no_pause_of_the_models() -> None:
    """When its timer comes late, what lies in the socket is read first."""
    loop = asyncio.get_running_loop()
    record = TurnRecord(words=[SENTENCE])
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    cover = cover_of(record, ResponseSender(send))
    cover.start()

    def read_on(passes: int) -> None:
        # As many passes of the loop as from a socket to a turn.
        if passes:
            loop.call_soon(read_on, passes - 1)
        else:
            record.words.append("Here. ")

    loop.call_at(loop.time() + 2.5, read_on, 2)
    await asyncio.sleep(3)
    cover.stop()
    assert sent == []


async def test_only_one_pause_of_a_turn_is_covered(way: Way) -> None:
    """More would be a model that speaks slowly, which is no dead line."""
    steps: list[Step] = [Say(SENTENCE), At(3500), Say("And. "), At(7000), Say("So."), *TAIL]
    heard = await pieces(way, *steps)
    assert [text for _, text in heard] == [SENTENCE, "<ours>", "And. ", "So."]


@pytest.mark.parametrize("text", ["Let me look, ", "Ask for Dr. ", "The number is 4. ", "It is "])
async def test_a_pause_within_a_sentence_is_left_alone(way: Way, text: str) -> None:
    """Words of ours would be spoken into the middle of it."""
    heard = await pieces(way, Say(text), At(3500), Say("mine."), *TAIL)
    assert [words for _, words in heard] == [text, "mine."]


async def test_words_that_are_still_being_spoken_are_no_pause(way: Way) -> None:
    """An answer comes faster than it is spoken: three hundred characters take twenty seconds."""
    text = "It is a long story. " * 15
    heard = await pieces(way, Say(text), At(3500), Say("The end."), *TAIL)
    assert [words for _, words in heard] == [text, "The end."]


async def test_thoughts_and_pieces_of_calls_are_a_pause_to_a_caller(way: Way) -> None:
    """The model works, and nobody hears it."""
    thinking = [step for at in range(500, 5000, 500) for step in (At(at), Think("Hm. "))]
    heard = await pieces(way, Say(SENTENCE), *thinking, Say("Done."), *TAIL)
    assert [text for _, text in heard] == [SENTENCE, "<ours>", "Done."]
    steps: list[Step] = [Say(SENTENCE), At(3500), *calls("lookup", {"count": 1})[1:]]
    got, _, _ = await way.turn([Role(), *steps], tools=[LOOKUP])
    assert got.text.split("... ")[0].startswith(SENTENCE)
    assert [name for name, _ in got.calls] == ["lookup"]


@pytest.mark.parametrize(
    "fields",
    [
        {"elevenlabs_extra_body": {"buffer_words": []}},
        {"elevenlabs_extra_body": {"buffer_words_after_ms": 0}},
        {"settings": {"buffer_words_after_ms": 0}},
        {"post": {"on_failure": "error"}},
    ],
    ids=str,
)
async def test_who_wants_no_buffer_words_hears_none(way: Way, fields: dict[str, Any]) -> None:
    """The deployment, the agent and a client that wants errors each decide for themselves."""
    heard = await pieces(way, Say(SENTENCE), At(3500), Say("Here."), *TAIL, **fields)
    assert [text for _, text in heard] == [SENTENCE, "Here."]


async def test_two_buffer_words_at_the_start_leave_none_for_a_pause(way: Way) -> None:
    """A turn never hears a third."""
    steps: list[Step] = [At(7000), Say(SENTENCE), At(10_500), Say("Here."), *TAIL]
    heard = await pieces(way, *steps, settings={"first_token_timeout_ms": 0})
    assert [text for _, text in heard] == ["<ours>", "<ours>", SENTENCE, "Here."]


@pytest.mark.parametrize("pace_ms", [500, 3000])
async def test_a_long_call_behind_words_has_time_from_the_last_words_heard(
    way: Way, pace_ms: int
) -> None:
    """Ours count, too: as long as somebody hears something, the model may write its call."""
    long = [step for at in range(0, 15_000, pace_ms) for step in (At(at), CallPiece(0, "x"))]
    got, _, _ = await way.turn(
        [
            *(Role(), Say(SENTENCE), CallPiece(0, '{"note": "', "lookup", "call_1"), *long),
            *(CallPiece(0, '", "count": 1}'), Finish("tool_calls"), Usage(), Done()),
        ],
        tools=[LOOKUP],
    )
    assert [name for name, _ in got.calls] == ["lookup"]


async def test_an_answer_that_is_cut_after_a_covered_pause_is_closed(way: Way) -> None:
    """The closing sentence follows the buffer words."""
    heard = await pieces(way, Say(SENTENCE), At(3500), Cut())
    assert heard == [(0, SENTENCE), (2500, "<ours>"), (3500, ENGLISH.closing)]


# -- what proves life

NOTHING: dict[str, Step] = {
    "comment": Comment(),
    "ping": Raw(b'data: {"type": "ping"}\n\n'),
    "no choices": Raw(b'data: {"choices": []}\n\n'),
    "empty content": Raw(b'data: {"choices": [{"index": 0, "delta": {"content": ""}}]}\n\n'),
    "blanks": Raw(b'data: {"choices": [{"index": 0, "delta": {"content": " "}}]}\n\n'),
    "a role": Raw(b'data: {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}\n\n'),
    "an empty thought": Raw(
        b'data: {"choices": [{"index": 0, "delta": {"reasoning_content": ""}}]}\n\n'
    ),
}


@pytest.mark.parametrize("nothing", NOTHING.values(), ids=list(NOTHING))
async def test_what_says_nothing_keeps_no_answer_alive(nothing: Step) -> None:
    """However often it comes: the stall's time counts from the last word."""
    dripping = [step for at in range(500, 60_000, 500) for step in (At(at), nothing)]
    got, _, heard = await CHAT.turn([Role(), Say("We open at nine. And"), *dripping, Hold()])
    assert got.text.endswith(ENGLISH.closing)
    assert heard.pieces[-1][0] <= 4000


WORK: dict[str, Step] = {
    "thoughts": Think("Hm. "),
    "an open think tag": Say("<think>well "),
    "arguments": Raw(
        b'data: {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, '
        b'"id": "c", "function": {"name": "lookup", "arguments": "1"}}]}}]}\n\n'
    ),
}


@pytest.mark.parametrize("kind", WORK)
async def test_work_that_nobody_hears_keeps_an_answer_alive_for_a_while(kind: str) -> None:
    """It has the time that reasoning has before the first word, and no more."""
    work = WORK[kind]
    dripping = [step for at in range(500, 60_000, 500) for step in (At(at), work)]
    got, _, heard = await CHAT.turn(
        [Role(), Say("We open at nine. And"), *dripping, Hold()], tools=[LOOKUP]
    )
    assert got.text.endswith(ENGLISH.closing)
    assert heard.pieces[-1][0] == 8000


async def test_a_turn_ends_everywhere(way: Way) -> None:
    """A model that never stops is ended by the turn's own limit, on Lambda or not."""
    talking = [step for at in range(500, 200_000, 500) for step in (At(at), Say("and on "))]
    got, _, heard = await way.turn([Role(), *talking], settings={"turn_limit_ms": 30_000})
    assert got.text.endswith(ENGLISH.closing)
    assert heard.pieces[-1][0] == 30_000


async def test_a_caller_who_leaves_while_buffer_words_are_written_ends_the_turn() -> None:
    """A write that nobody takes holds nothing: neither the turn nor its request to the model."""
    taken = asyncio.Event()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 2:
            await taken.wait()

    async def receive() -> Any:
        await asyncio.sleep(5)
        return {"type": "http.disconnect"}

    upstream = PlayedUpstream([Role(), Say(SENTENCE), Hold()])
    caller = CHAT.caller(upstream)
    request = chat.parse(dict(CHAT.body()))
    now = asyncio.get_running_loop().time()
    turn = Turn(caller.state, chat, request, Arrival(seen_at=now), on_failure="speak")
    await turn({}, receive, send)
    assert asyncio.get_running_loop().time() - now == pytest.approx(5, abs=0.2)
    assert len(sent) == 3


@pytest.mark.parametrize("way", [CHAT, OVER_CHAT], ids=str)
async def test_an_answer_that_has_finished_is_no_pause(way: Way) -> None:
    """Whatever its connection does after the finish, no promise is made behind it."""
    heard = await pieces(way, Say(SENTENCE), At(2400), Finish(), Hold())
    assert [text for _, text in heard] == [SENTENCE]
