"""Frames without words before, between and after words; and pauses."""

from __future__ import annotations

from collections.abc import Callable

from local.scripted.script import CallPiece
from tests.soak.kinds.kind import BOTH, CHAT, RESPONSES, Script, add, kind
from tests.soak.script import Acts, Answer, Break, Head, Wait

DRIPS = 30
"""So many frames without a word come, one a second: longer than any allowed silence."""
FrameWriter = Callable[[Answer], bytes]
NOTHING: dict[str, tuple[FrameWriter, frozenset[str]]] = {
    "comments": (lambda a: b": keep-alive\n\n", BOTH),
    "blank lines": (lambda a: b"\n\n", BOTH),
    "empty data": (lambda a: b"data:\n\n", BOTH),
    "events without data": (lambda a: b"event: ping\n\n", BOTH),
    "retry fields": (lambda a: b"retry: 1000\nid: 7\n\n", BOTH),
    "pings": (lambda a: a.data({"type": "ping"}, "ping"), BOTH),
    "empty objects": (lambda a: a.data({}), BOTH),
    "no choices": (lambda a: a.data(a.envelope([])), CHAT),
    "null choices": (lambda a: a.data(a.envelope(None)), CHAT),
    "roles": (lambda a: a.chunk({"role": "assistant"}), CHAT),
    "empty deltas": (lambda a: a.chunk({}), CHAT),
    "null deltas": (lambda a: a.chunk(None), CHAT),
    "empty content": (lambda a: a.chunk({"content": ""}), CHAT),
    "null content": (lambda a: a.chunk({"content": None}), CHAT),
    "usage": (lambda a: a.data(a.envelope([]) | {"usage": {"total_tokens": 1}}), CHAT),
    "empty calls": (lambda a: a.chunk({"tool_calls": []}), CHAT),
    "empty reasoning": (lambda a: a.chunk({"reasoning_content": ""}), CHAT),
    "obfuscation": (lambda a: a.chunk({}, obfuscation="a8Xk2"), CHAT),
    "progress": (lambda a: a.event("response.in_progress", response={}), RESPONSES),
    "unknown events": (lambda a: a.event("response.dancing", step=1), RESPONSES),
    "empty text": (
        lambda a: a.event("response.output_text.delta", delta="", output_index=0),
        RESPONSES,
    ),
}
"""Frames without words, and their APIs."""
BLANKS: dict[str, FrameWriter] = {
    "blanks": lambda a: a.speech(a.also(" ")),
    "line breaks": lambda a: a.speech(a.also("\n")),
}
WORK: dict[str, FrameWriter] = {
    "reasoning": lambda a: a.think(),
    "an open think tag": lambda a: a.speech("<think>" + a.never()),
    "thoughts": lambda a: a.speech("<think>" + a.never() + "</think>"),
}


def _before(frame: FrameWriter) -> Script:
    def play(answer: Answer) -> Acts:
        yield Head()
        for _ in range(DRIPS):
            yield frame(answer)
            yield Wait(1)
        yield from answer.good()

    return play


def _amid(frame: FrameWriter) -> Script:
    def play(answer: Answer) -> Acts:
        yield answer.open() + answer.say(4)
        for _ in range(DRIPS):
            yield Wait(1)
            yield frame(answer)
        yield Break.HOLD

    return play


def _beside(frame: FrameWriter) -> Script:
    """Return a script of a good answer with a wordless frame around each word."""

    def play(answer: Answer) -> Acts:
        *packets, end = answer.good()
        for packet in packets:
            yield packet + frame(answer)
            yield Wait(answer.rng.uniform(0, 0.2))
        yield frame(answer) + end

    return play


for _name, (_frame, _apis) in NOTHING.items():
    add(f"{_name} before words", _before(_frame), apis=_apis, streams=True, heals=True)
    add(f"{_name} amid words", _amid(_frame), apis=_apis, streams=True)
    add(f"{_name} beside words", _beside(_frame), apis=_apis, streams=True, good=True)
for _name, _frame in BLANKS.items():
    add(f"{_name} before words", _before(_frame), streams=True)
    add(f"{_name} amid words", _amid(_frame), streams=True)
for _name, _frame in WORK.items():
    add(f"{_name} for long before words", _before(_frame), streams=True, heals=True)
    add(f"{_name} for long amid words", _amid(_frame), streams=True, unspoken=True)


@kind("comments behind the finish", streams=True, apis=CHAT, good=True)
def _behind_finish(answer: Answer) -> Acts:
    *packets, end = answer.good()
    yield b"".join(packets) + end.removesuffix(b"data: [DONE]\n\n")
    for _ in range(DRIPS):
        yield Wait(0.3)
        yield b": bye\n\n"


@kind("pieces of a call for long amid words", streams=True, tools=True, unspoken=True)
def _slow_call(answer: Answer) -> Acts:
    yield answer.open() + answer.say(4)
    yield answer.call('{"ref": "', pieces=1)
    for _ in range(DRIPS):
        yield Wait(1)
        yield answer.render(CallPiece(0, "x"))
    yield Break.HOLD


@kind("pieces of a call for long before words", streams=True, tools=True, unspoken=True)
def _slow_call_first(answer: Answer) -> Acts:
    yield answer.open() + answer.call('{"ref": "', pieces=1)
    for _ in range(DRIPS):
        yield Wait(1)
        yield answer.render(CallPiece(0, "x"))
    yield Break.HOLD


@kind("a late first word", streams=True, heals=True)
def _late(answer: Answer) -> Acts:
    yield Wait(answer.rng.uniform(1, 11))
    yield from answer.good()


@kind("late words behind a bridge", streams=True)
def _late_behind_bridge(answer: Answer) -> Acts:
    if answer.number:
        yield Wait(answer.rng.uniform(1, 11))
        yield from answer.good()
    else:
        yield answer.open() + answer.say(2)
        yield Break.CLOSE


@kind("a late answer", streams=False, good=True)
def _late_answer(answer: Answer) -> Acts:
    yield Wait(answer.rng.uniform(1, 60))
    yield answer.open() + answer.say(3) + answer.end()


@kind("a late first word behind an early head", streams=True, heals=True)
def _late_word(answer: Answer) -> Acts:
    yield answer.open()
    yield Wait(answer.rng.uniform(1, 11))
    yield answer.say(3) + answer.end()


@kind("a stall amid words that ends", streams=True)
def _stall(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield Wait(answer.rng.uniform(0.5, 9))
    yield answer.say(2)
    yield answer.end()


@kind("a short stall amid words", streams=True, good=True)
def _short_stall(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield Wait(answer.rng.uniform(0.5, 3.7))
    yield answer.say(2)
    yield answer.end()


@kind("slow words", streams=True, good=True)
def _slow(answer: Answer) -> Acts:
    yield answer.open()
    for _ in range(12):
        yield answer.say()
        yield Wait(answer.rng.uniform(0.5, 3))
    yield answer.end()


@kind("words without end", streams=True)
def _endless(answer: Answer) -> Acts:
    yield answer.open()
    for _ in range(500):
        yield answer.say()
        yield Wait(3.1)
    yield Break.HOLD


@kind("a late finish", streams=True)
def _late_finish(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield Wait(answer.rng.uniform(0.5, 9))
    yield answer.end()


@kind("a late terminator", streams=True, apis=CHAT, good=True)
def _late_terminator(answer: Answer) -> Acts:
    *packets, end = answer.good()
    yield b"".join(packets) + end.removesuffix(b"data: [DONE]\n\n")
    yield Wait(answer.rng.uniform(0.1, 9))
    yield b"data: [DONE]\n\n"
