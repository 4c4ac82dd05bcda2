"""Properties of whole turns: whatever the models send, and whenever they stop, all promises hold.

Scripted answers are rendered, cut at any byte, packetised and paced at random, and ended in every
possible way. Each model writes in its own script, so that the caller's text shows who said what.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completions.speech.phrases import PHRASES
from local.scripted.script import (
    CallPiece,
    Comment,
    Cut,
    Done,
    Fail,
    Finish,
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
    refused,
)
from local.scripted.script_player import RecordedRequest, Scene
from local.scripted.wires import wire_for
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Heard
from tests.support.ways import WAYS, Answer, Way, in_virtual_time

ENGLISH = PHRASES["en"]
LETTERS = ("αβγ", "бгд", "אבג", "กขค")
"""One script for each request that a turn can make, and a spare one."""
THOUGHTS = "思考"
TOOLS = [
    {
        "name": "transfer",
        "description": "Transfers the call.",
        "parameters": {
            "type": "object",
            "properties": {"to": {"type": "integer"}},
            "required": ["to"],
        },
    }
]
GOOD_ARGUMENTS = ['{"to": 0}', '{"to": 12}']
ARGUMENTS = [*GOOD_ARGUMENTS, '{"to": "3"}', '{"to": 4,}', '{"to": "x"}', "{}", '{"to": 1', ""]
ALLOWED = {0, 12, 3, 4}


@dataclass(frozen=True)
class Played:
    """One model's answer, and how its bytes arrive."""

    content: str
    """The text of `content`, including thoughts in tags."""
    pieces: Sequence[int]
    """Where the content is cut into chunks."""
    thoughts: str = ""
    calls: Sequence[str] = ()
    tail: Sequence[Step] = (Finish(), Usage(), Done())
    keep: float = 1.0
    """The share of the bytes that arrives."""
    cuts: Sequence[float] = ()
    pauses: Sequence[int] = ()
    end: Step | None = None
    reply: Sequence[Step] | None = None
    """Played instead of all this."""

    def speech(self) -> str:
        """Return what a caller hears of it, if all of it is heard."""
        return re.sub(r"<think>.*?(</think>|\Z)", "", self.content, flags=re.DOTALL)

    def steps(self) -> list[Any]:
        """Return the answer before anything goes wrong."""
        steps: list[Any] = [Role()]
        if self.thoughts:
            steps.append(Think(self.thoughts))
        places = sorted({place for place in self.pieces if 0 < place < len(self.content)})
        for start, stop in zip((0, *places), (*places, len(self.content)), strict=True):
            if start < stop:
                steps.append(Say(self.content[start:stop]))
        for index, arguments in enumerate(self.calls):
            half = len(arguments) // 2
            steps += [
                CallPiece(index, "", name="transfer", id=f"call_{index}"),
                CallPiece(index, arguments[:half]),
                CallPiece(index, arguments[half:]),
            ]
        return [*steps, *self.tail]

    def scene(self, seen: RecordedRequest) -> Script:
        """Return the answer as packets."""
        if self.reply is not None:
            return self.reply
        wire = wire_for(seen)
        if not wire.streamed:
            return [*self.steps(), *([self.end] if self.end else [])]
        comment = b": keep-alive\n\n"
        data = b"".join(
            comment if isinstance(step, Comment) else wire.render(step) for step in self.steps()
        )
        data = data[: round(len(data) * self.keep)]
        places = sorted({round(len(data) * cut) for cut in self.cuts} - {0, len(data)})
        packets = [
            data[start:stop]
            for start, stop in zip((0, *places), (*places, len(data)), strict=True)
            if start < stop
        ]
        script: list[Step] = []
        for number, packet in enumerate(packets):
            if number < len(self.pauses):
                script.append(Pause(self.pauses[number]))
            script.append(Raw(packet))
        return [*script, *([self.end] if self.end else [])]


@dataclass(frozen=True)
class Case:
    """A turn and the models it meets."""

    models: Sequence[Played]
    with_fallback: bool = False
    stream: bool = True
    on_failure: str = "speak"
    tools: bool = True
    settings: dict[str, int] = field(default_factory=dict)


def _contents(letters: str) -> st.SearchStrategy[str]:
    words = st.text(alphabet=letters + "  .,!<", min_size=1, max_size=12)
    thought = st.text(alphabet=THOUGHTS, max_size=3).map(lambda text: f"<think>{text}</think>")
    open_thought = st.just(f"<think>{THOUGHTS}")
    parts = st.lists(st.one_of(words, words, thought), max_size=4).map("".join)
    return st.one_of(parts, parts, st.tuples(parts, open_thought).map("".join))


ENDS: list[Step | None] = [None, Cut(), Hold()]
TAILS: list[Sequence[Step]] = [
    (Finish(), Usage(), Done()),
    (Finish("tool_calls"), Done()),
    (Finish("length"), Done()),
    (Finish("content_filter"), Done()),
    (Finish(),),
    (Done(),),
    (Done(), Done()),
    (Finish(), Comment(), Done(), Comment()),
    (Fail(),),
    (),
]
REPLIES: list[Sequence[Step]] = [
    refused(429, at_ms=20),
    refused(429, retry_after_s=1),
    refused(500),
    refused(400, param="temperature"),
    refused(401),
    [Reply(b"<html>", headers={"content-type": "text/html"})],
    [Reply(b"{}")],
    [Raw(b"data: {broken\n\n")],
    [Raw(b"data: 7\n\ndata: [DONE]\n\n")],
    [Raw(b"\xff\xfe\n\n")],
]


@st.composite
def _played(draw: st.DrawFn, letters: str) -> Played:
    if draw(st.integers(0, 5)) == 0:
        return Played("", (), reply=draw(st.sampled_from(REPLIES)))
    content = draw(_contents(letters))
    return Played(
        content,
        draw(st.lists(st.integers(1, max(1, len(content))), max_size=6)),
        thoughts=draw(st.sampled_from(["", "", THOUGHTS])),
        calls=draw(st.sampled_from([(), (), (), *[(one,) for one in ARGUMENTS]]))
        or draw(st.sampled_from([(), (), (GOOD_ARGUMENTS[0], ARGUMENTS[-1]), GOOD_ARGUMENTS])),
        tail=draw(st.sampled_from(TAILS)),
        keep=draw(st.one_of(st.just(1.0), st.floats(0, 1))),
        cuts=draw(st.lists(st.floats(0, 1), max_size=6)),
        pauses=draw(st.lists(st.sampled_from([0, 10, 400, 900, 2500, 4500]), max_size=7)),
        end=draw(st.sampled_from(ENDS)),
    )


@st.composite
def cases(draw: st.DrawFn, *, stream: bool = True) -> Case:
    """Draw any turn."""
    return Case(
        [draw(_played(letters)) for letters in LETTERS[:3]],
        with_fallback=draw(st.booleans()),
        stream=stream,
        on_failure=draw(st.sampled_from(["speak", "speak", "error"])),
        tools=draw(st.booleans()),
        settings=draw(st.sampled_from([{}, {}, {"hedge_after_ms": 500}])),
    )


async def play(way: Way, case: Case, **more: Any) -> tuple[Heard, PlayedUpstream]:
    """Play the turn: request number n gets model number n, whichever candidate is asked."""
    scenes: list[Scene] = [played.scene for played in case.models]

    def next_scene(seen: RecordedRequest) -> Script:
        assert scenes, "at most three upstream requests"
        scene = scenes.pop(0)
        assert callable(scene)
        return scene(seen)

    upstream = PlayedUpstream(next_scene, fallback=next_scene if case.with_fallback else None)
    request = way.body(tools=TOOLS if case.tools else (), stream=case.stream)
    caller = way.caller(upstream, **case.settings)
    return await way.post(caller, request, on_failure=case.on_failure, **more), upstream


def check(case: Case, heard: Heard, answer: Answer) -> None:
    """Check everything that holds however the turn went."""
    if heard.status != 200:
        assert case.on_failure == "error" or not case.stream or heard.status in {400, 502}
        return
    assert not set(THOUGHTS) & set(answer.text), "nothing is spoken that was only thought"
    assert answer.text.strip() or answer.calls or answer.error or not case.stream, "never empty"
    for name, arguments in answer.calls:
        assert name == "transfer"
        if case.tools and case.stream:
            assert arguments["to"] in ALLOWED
    _check_text(case, answer)
    if case.stream:
        # Audible, or failed, by the end of the turn's budget.
        assert heard.pieces[0][0] <= 12_000
        if answer.speech:
            assert answer.speech[0][0] <= 12_000


def _check_text(case: Case, answer: Answer) -> None:
    """Check that each model's words are heard once and in order, with only our phrases between."""
    text = answer.text
    for _ in range(2):
        text = next((text[len(p) :] for p in ENGLISH.buffer if text.startswith(p)), text)
    phrases = "|".join(map(re.escape, ENGLISH.buffer))
    # One pause is covered; the space before the phrase may be ours or the model's.
    covered = f"(?:{phrases}){{1,2}}"
    ours, theirs = (re.sub(f"{space}{covered}", "", text, count=1) for space in (" ", ""))
    try:
        _check_words(case, answer, ours)
    except AssertionError:
        _check_words(case, answer, theirs)


def _check_words(case: Case, answer: Answer, text: str) -> None:
    cut = False
    for ours in (ENGLISH.failure, ENGLISH.closing, ENGLISH.declined):
        if text.endswith(ours):
            text, cut = text[: -len(ours)], True
    pieces = re.split(re.escape(ENGLISH.bridge) + " ?", text)
    assert len(pieces) <= 2, "at most one bridge"
    played_streams = [played for played in case.models if played.reply is None]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        spoken = piece if last and not cut else _without_join(piece)
        whole = [played.speech() for played in played_streams]
        if spoken.strip() in {"", "..."} or spoken in whole:
            continue
        # Calls that were asked for again join two answers; all else is the start of one.
        joined = [
            a + glue for a in whole for b in whole for glue in (b, " " + b, "... " + b.lstrip())
        ]
        cutoff = cut or not last or bool(answer.error) or bool(answer.calls)
        assert spoken in joined or (
            cutoff and any(one.startswith(spoken.rstrip()) for one in [*whole, *joined])
        ), (spoken, whole)


def _without_join(text: str) -> str:
    """Return the text before a phrase of ours without the pause between them."""
    return text.removesuffix("... ").removesuffix(" ")


MANY = settings(max_examples=150, deadline=None, derandomize=True)


@pytest.mark.parametrize("way", WAYS, ids=str)
@MANY
@given(case=cases())
def test_any_stream_is_well_formed_and_ends_once(way: Way, case: Case) -> None:
    """However it is cut: one end, no empty turn, no thought aloud, no word twice."""
    heard, upstream = in_virtual_time(play(way, case))
    check(case, heard, way.read(heard))
    assert len(upstream.requests) <= 3
    assert all(seen.finished or seen.hung_up_at is not None for seen in upstream.requests)


@pytest.mark.parametrize("way", WAYS, ids=str)
@MANY
@given(case=cases(stream=False))
def test_any_buffered_turn_is_an_answer_or_an_error(way: Way, case: Case) -> None:
    """The same models give one JSON object with words, a call or an error."""
    heard, upstream = in_virtual_time(play(way, case, remaining_s=30))
    check(case, heard, way.read(heard))
    assert all(seen.finished or seen.hung_up_at is not None for seen in upstream.requests)


@pytest.mark.parametrize("way", WAYS, ids=str)
@MANY
@given(case=cases(), at_ms=st.integers(0, 9000))
def test_a_hang_up_at_any_moment_ends_everything(way: Way, case: Case, at_ms: int) -> None:
    """After it nothing is asked or written, and no request stays open."""
    heard, upstream = in_virtual_time(play(way, case, hang_up_ms=at_ms))
    assert all(seen.finished or seen.hung_up_at is not None for seen in upstream.requests)
    began = upstream.requests[0].at if upstream.requests else 0
    for seen in upstream.requests:
        left = seen.hung_up_at if seen.hung_up_at is not None else seen.at
        # A finished answer may be read on for a moment, to keep its connection.
        assert round((left - began) * 1000) <= at_ms + 100
    if heard.ended and heard.status:
        check(case, heard, way.read(heard))
    assert all(at <= at_ms for at, _ in heard.pieces)
