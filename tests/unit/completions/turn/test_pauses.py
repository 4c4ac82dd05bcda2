"""A long pause in mid-answer: covered once, between sentences, and never in the answer's way."""

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
"""Thirteen characters, which take less than a second to speak."""
TAIL = (Finish(), Usage(), Done())


async def pieces(way: Way, *steps: Step, **fields: Any) -> list[tuple[int, str]]:
    """Return what is heard of an answer, with milliseconds and buffer words replaced by a name."""
    got, _, _ = await way.turn([Role(), *steps], **fields)
    return [(at, "<ours>" if text.lstrip() in ENGLISH.buffer else text) for at, text in got.speech]


async def test_a_pause_after_a_sentence_is_covered(way: Way) -> None:
    """The wait starts when the sentence has been spoken, and is as long as at the start."""
    heard = await pieces(way, Say(SENTENCE), At(3500), Say("Here it is."), *TAIL)
    assert heard == [(0, SENTENCE), (2500, "<ours>"), (3500, "Here it is.")]


async def test_a_long_pause_is_covered_like_the_wait_at_the_start(way: Way) -> None:
    """Two phrases, five seconds apart, are spoken while the model works, and no third."""
    thinking = [step for at in range(500, 14_000, 500) for step in (At(at), Think("Hm. "))]
    heard = await pieces(way, Say(SENTENCE), *thinking, Say("Done."), *TAIL)
    assert heard == [(0, SENTENCE), (2500, "<ours>"), (7500, "<ours>"), (13_500, "Done.")]


BRIDGED: Script = [Role(), Say("It is"), Cut()]
LATE: Script = [Role(), At(11_000), Say("It is ten."), *TAIL]


async def test_a_pause_after_a_bridge_is_covered(way: Way) -> None:
    """The next model may be slow, and the bridge has promised an answer."""
    settings = {"first_token_timeout_ms": 0}
    got, _, _ = await way.turn(BRIDGED, LATE, settings=settings)
    heard = [at for at, text in got.speech if text.lstrip() in ENGLISH.buffer]
    assert len(heard) == 2
    assert max(b - a for a, b in pairwise([0, *heard, got.speech[-1][0]])) <= 5500
    assert ENGLISH.bridge in got.text
    assert got.text.endswith("... It is ten.")


async def test_a_pause_while_a_call_is_asked_for_again_is_covered(way: Way) -> None:
    """This holds even if the words before the call end without a full stop."""
    spoken: Script = [Role(), Say("I book it"), *calls("lookup", {"count": "x"})[1:]]
    late: Script = [At(6000), *calls("lookup", {"count": 1})]
    got, _, _ = await way.turn(spoken, late, tools=[LOOKUP], settings={"first_token_timeout_ms": 0})
    assert [text.removeprefix("... ") in ENGLISH.buffer for _, text in got.speech] == [False, True]
    assert got.text.startswith("I book it... ")
    assert got.calls == [("lookup", {"count": 1})]


def cover_of(record: TurnRecord, response: ResponseSender) -> PauseCover:
    """Return a cover for an English turn, without the turn."""
    plan = SimpleNamespace(
        record=record, fails_in_words=True, pause_after_s=1.5, next_buffer_words=lambda *_: "Hm... "
    )
    return PauseCover(plan, SimpleNamespace(text=str.encode), response)  # type: ignore[arg-type]


async def test_a_caller_slow_to_take_words_hears_no_buffer_words() -> None:
    """The pause is the caller's: it counts from when the pending bytes were taken."""
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


async def test_a_pause_of_our_own_process_is_not_covered() -> None:
    """When the timer fires late, waiting bytes in the socket are read first."""
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
    """A second pause means that the model speaks slowly, not that the line is dead."""
    steps: list[Step] = [Say(SENTENCE), At(3500), Say("And. "), At(7000), Say("So."), *TAIL]
    heard = await pieces(way, *steps)
    assert [text for _, text in heard] == [SENTENCE, "<ours>", "And. ", "So."]


@pytest.mark.parametrize("text", ["Let me look, ", "Ask for Dr. ", "The number is 4. ", "It is "])
async def test_a_pause_within_a_sentence_is_not_covered(way: Way, text: str) -> None:
    """Buffer words would interrupt the sentence."""
    heard = await pieces(way, Say(text), At(3500), Say("mine."), *TAIL)
    assert [words for _, words in heard] == [text, "mine."]


async def test_words_still_being_spoken_are_no_pause(way: Way) -> None:
    """An answer comes faster than it is spoken: three hundred characters take twenty seconds."""
    text = "It is a long story. " * 15
    heard = await pieces(way, Say(text), At(3500), Say("The end."), *TAIL)
    assert [words for _, words in heard] == [text, "The end."]


async def test_thoughts_and_pieces_of_calls_do_not_end_a_pause(way: Way) -> None:
    """The model works, but the caller hears nothing."""
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
async def test_buffer_words_can_be_turned_off(way: Way, fields: dict[str, Any]) -> None:
    """The deployment, the agent or a client that wants errors can do so."""
    heard = await pieces(way, Say(SENTENCE), At(3500), Say("Here."), *TAIL, **fields)
    assert [text for _, text in heard] == [SENTENCE, "Here."]


async def test_two_buffer_words_at_the_start_leave_none_for_a_pause(way: Way) -> None:
    """A turn never has a third."""
    steps: list[Step] = [At(7000), Say(SENTENCE), At(10_500), Say("Here."), *TAIL]
    heard = await pieces(way, *steps, settings={"first_token_timeout_ms": 0})
    assert [text for _, text in heard] == ["<ours>", "<ours>", SENTENCE, "Here."]


@pytest.mark.parametrize("pace_ms", [500, 3000])
async def test_a_long_call_has_time_from_the_last_words_heard(way: Way, pace_ms: int) -> None:
    """Buffer words count, too: while they are heard, the model may go on with its call."""
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


# -- what keeps an answer alive

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
async def test_empty_events_keep_no_answer_alive(nothing: Step) -> None:
    """However many come, the stall time-out counts from the last word."""
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
async def test_inaudible_work_keeps_an_answer_alive_for_a_while(kind: str) -> None:
    """It gets the time that reasoning has before the first word, and no more."""
    work = WORK[kind]
    dripping = [step for at in range(500, 60_000, 500) for step in (At(at), work)]
    got, _, heard = await CHAT.turn(
        [Role(), Say("We open at nine. And"), *dripping, Hold()], tools=[LOOKUP]
    )
    assert got.text.endswith(ENGLISH.closing)
    assert heard.pieces[-1][0] == 8000


async def test_a_turn_without_end_is_ended(way: Way) -> None:
    """The turn's own limit ends a model that never stops, on Lambda or not."""
    talking = [step for at in range(500, 200_000, 500) for step in (At(at), Say("and on "))]
    got, _, heard = await way.turn([Role(), *talking], settings={"turn_limit_ms": 30_000})
    assert got.text.endswith(ENGLISH.closing)
    assert heard.pieces[-1][0] == 30_000


async def test_a_hang_up_during_buffer_words_ends_the_turn() -> None:
    """A write that the caller never takes blocks neither the turn nor its request to the model."""
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
    """Whatever the connection does after the finish, no buffer words follow."""
    heard = await pieces(way, Say(SENTENCE), At(2400), Finish(), Hold())
    assert [text for _, text in heard] == [SENTENCE]
