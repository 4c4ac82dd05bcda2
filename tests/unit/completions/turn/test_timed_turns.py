"""Whole turns as one table: what a caller hears, and at which millisecond.

The settings are the defaults, and a fallback speaks 1,000 ms after it was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from completions.speech.phrases import PHRASES
from local.scripted.script import (
    At,
    CallPiece,
    Comment,
    Cut,
    Done,
    Finish,
    Head,
    Hold,
    Role,
    Say,
    Script,
    Think,
    answer,
    call,
    refused,
)
from local.scripted.script_player import Scene
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Heard
from tests.support.ways import Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]
ANSWER = "Sunny and warm."
FALLBACK_ANSWER = "From the fallback."
NUMBERS = "one two three four five six seven eight nine ten eleven"
FALLBACK = answer(FALLBACK_ANSWER, at_ms=1000)
TOOLS = (
    {
        "name": "transfer_to_agent",
        "description": "Transfers to a specialist.",
        "parameters": {
            "type": "object",
            "properties": {"agent_number": {"type": "integer"}, "reason": {"type": "string"}},
            "required": ["agent_number"],
        },
    },
    {
        "name": "skip_turn",
        "description": "Skips the turn.",
        "parameters": {"type": "object", "properties": {"reason": {"type": "string"}}},
    },
)

CALL_MARKS = (b'"tool_calls":[', b'"type":"function_call"')
BUFFER_WORDS, FAILURE, BRIDGE, CLOSING = "<buffer words>", "<failure>", "<bridge>", "<closing>"
"""In the table these stand for any of our phrases of their kind."""


def phrase_or_text(text: str) -> str:
    """Return the text, or which kind of our phrases it is."""
    if text in ENGLISH.buffer:
        return BUFFER_WORDS
    for kind, phrase in (
        (FAILURE, ENGLISH.failure),
        (BRIDGE, ENGLISH.bridge),
        (CLOSING, ENGLISH.closing),
    ):
        if text.strip().removeprefix("... ") == phrase:
            return kind
    return text


@dataclass(frozen=True)
class Line:
    """One row: what the models play, and what must be heard."""

    name: str
    primary: Sequence[Scene]
    spoken: Sequence[tuple[int, str]]
    fallback: Scene | None = None
    requests: Sequence[tuple[int, str]] = ((0, "upstream"),)
    """Every upstream request: its time, and which candidate was asked."""
    calls: Sequence[int] = ()
    finish: str = "stop"
    cancelled: int = 0
    """How many requests were cancelled."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """For `Way.body`."""
    post: Mapping[str, Any] = field(default_factory=dict)


def whole(text: str, at_ms: int) -> list[tuple[int, str]]:
    """Return the answer word by word, all at one moment."""
    words = text.split(" ")
    return [(at_ms, word + " ") for word in words[:-1]] + [(at_ms, words[-1])]


def late(at_ms: float) -> Script:
    """Return the ordinary answer, this late."""
    return answer(ANSWER, at_ms=at_ms)


STALLS: dict[str, Script] = {
    "no headers": [Hold()],
    "headers, then silence": [Head(), Hold()],
    "headers and keep-alives": [
        Head(),
        *(step for ms in range(500, 60_000, 500) for step in (At(ms), Comment())),
    ],
    "headers and role-only chunks": [
        Head(),
        *(step for ms in range(500, 60_000, 500) for step in (At(ms), Role())),
    ],
}

SENTENCES = [At(3000), Role(), Say("It is sunny today. "), Say("It will rain tomorrow. And ")]

LINES = [
    Line("model speaks at 400", [late(400)], whole(ANSWER, 400)),
    Line("model speaks at 1,450", [late(1450)], whole(ANSWER, 1450)),
    Line("model speaks at 1,600", [late(1600)], [(1500, BUFFER_WORDS), *whole(ANSWER, 1600)]),
    Line(
        "6,000, no fallback",
        [late(6000), late(9000)],
        [(1500, BUFFER_WORDS), *whole(ANSWER, 6000)],
        requests=[(0, "upstream"), (3000, "upstream")],
        cancelled=1,
    ),
    *(
        Line(
            f"stall: {name}",
            [script],
            [(1500, BUFFER_WORDS), *whole(FALLBACK_ANSWER, 4000)],
            fallback=FALLBACK,
            requests=[(0, "upstream"), (3000, "fallback")],
            cancelled=1,
        )
        for name, script in STALLS.items()
    ),
    Line(
        "refused at 20",
        [refused(500, at_ms=20)],
        whole(FALLBACK_ANSWER, 1020),
        fallback=FALLBACK,
        requests=[(0, "upstream"), (20, "fallback")],
    ),
    Line(
        "reasoning until 5,000, then a call",
        [
            [
                *(step for ms in range(400, 5000, 400) for step in (At(ms), Think("Hm. "))),
                At(5000),
                *call("transfer_to_agent", {"agent_number": 0}),
                Finish("tool_calls"),
                Done(),
            ]
        ],
        [(1500, BUFFER_WORDS)],
        fallback=FALLBACK,
        calls=[5000],
        finish="tool_calls",
        request={"tools": TOOLS},
    ),
    Line(
        "call begins 600, whole 4,500",
        [
            [
                At(600),
                Role(),
                CallPiece(0, '{"agent_', name="transfer_to_agent", id="call_0"),
                At(2500),
                CallPiece(0, 'number": '),
                At(4500),
                CallPiece(0, "0}"),
                Finish("tool_calls"),
                Done(),
            ]
        ],
        [(1500, BUFFER_WORDS)],
        fallback=FALLBACK,
        calls=[4500],
        finish="tool_calls",
        request={"tools": TOOLS},
    ),
    Line(
        "skip_turn whole at 400",
        [[At(400), Role(), *call("skip_turn", {}), Finish("tool_calls"), Done()]],
        [],
        calls=[400],
        finish="tool_calls",
        request={"tools": TOOLS},
    ),
    Line("silence turn", [late(2500)], whole(ANSWER, 2500), request={"text": "..."}),
    Line(
        "429, fallback 429: speak",
        [refused(429, at_ms=200)],
        [(1450, FAILURE)],
        fallback=refused(429, at_ms=200, retry_after_s=7),
        requests=[(0, "upstream"), (200, "fallback"), (1250, "upstream")],
    ),
    Line(
        "stall, fallback stalls too",
        [[Hold()]],
        [(1500, BUFFER_WORDS), (6500, BUFFER_WORDS), (12_000, FAILURE)],
        fallback=[Hold()],
        requests=[(0, "upstream"), (3000, "fallback")],
        cancelled=2,
    ),
    Line(
        "cut after three words at 900",
        [[At(900), Role(), Say("It "), Say("is "), Say("very"), Cut()]],
        [(900, "It "), (900, "is "), (900, "very"), (900, BRIDGE), *whole(FALLBACK_ANSWER, 1900)],
        fallback=FALLBACK,
        requests=[(0, "upstream"), (900, "fallback")],
    ),
    Line(
        "cut after two sentences at 3,000",
        [[At(1000), Role(), Say("It is sunny today. "), Say("Rain is far. "), At(3000), Cut()]],
        [(1000, "It is sunny today. "), (1000, "Rain is far. "), (3000, CLOSING)],
        fallback=FALLBACK,
        finish="length",
    ),
    Line(
        "stall after two sentences at 3,000",
        [[At(2500), Role(), Say("It is sunny today. "), At(3000), Say("Rain is far. "), Hold()]],
        [
            (1500, BUFFER_WORDS),
            (2500, "It is sunny today. "),
            (3000, "Rain is far. "),
            (6500, BUFFER_WORDS),
            (7000, CLOSING),
        ],
        fallback=FALLBACK,
        finish="length",
        cancelled=1,
    ),
    Line(
        "keep-alives after three words",
        [
            [
                At(900),
                Role(),
                Say("Well, the thing"),
                *(step for ms in range(1500, 60_000, 1000) for step in (At(ms), Comment())),
            ]
        ],
        [(900, "Well, the thing"), (4900, BRIDGE), *whole(FALLBACK_ANSWER, 5900)],
        fallback=FALLBACK,
        requests=[(0, "upstream"), (4900, "fallback")],
        cancelled=1,
    ),
    Line(
        "[DONE] at 300, the repeat speaks after 700",
        [[At(300), Role(), Done()], answer(ANSWER, at_ms=700)],
        whole(ANSWER, 1000),
        requests=[(0, "upstream"), (300, "upstream")],
    ),
    Line(
        "cold start took 1,200, model 800",
        [answer(ANSWER, at_ms=800)],
        [(1500, BUFFER_WORDS), *whole(ANSWER, 2000)],
        requests=[(1200, "upstream")],
        post={"age_ms": 1200},
    ),
    Line(
        "answer flows for 20 s",
        [answer(NUMBERS, pace_ms=2000)],
        [
            (2000 * position, word if word == "eleven" else word + " ")
            for position, word in enumerate(NUMBERS.split())
        ],
    ),
    Line(
        "JSON response format, model 6,000",
        [answer('{"sunny": true}', at_ms=6000), late(9000)],
        whole('{"sunny": true}', 6000),
        requests=[(0, "upstream"), (3000, "upstream")],
        cancelled=1,
        request={"json_format": True},
    ),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
async def test_a_turn_keeps_its_time_line(line: Line, way: Way) -> None:
    """What is heard, asked and finished matches the table to the millisecond."""
    upstream = PlayedUpstream(*line.primary, fallback=line.fallback)
    heard = await way.post(way.caller(upstream), way.body(**line.request), **line.post)

    answer = way.read(heard)
    assert [(at_ms, phrase_or_text(text)) for at_ms, text in answer.speech] == list(line.spoken)
    assert called_at(heard) == set(line.calls)
    assert len(answer.calls) == len(line.calls)
    arrived = upstream.requests[0].at - line.requests[0][0] / 1000
    requests = [(round((each.at - arrived) * 1000), each.candidate) for each in upstream.requests]
    assert requests == list(line.requests)
    assert sum(each.hung_up_at is not None for each in upstream.requests) == line.cancelled
    assert answer.finish == line.finish
    assert heard.ends == 1


def called_at(heard: Heard) -> set[int]:
    """Return the moments at which parts of tool calls were written, in either API."""
    written = [(at_ms, data.replace(b" ", b"")) for at_ms, data in heard.pieces]
    return {at_ms for at_ms, data in written if any(mark in data for mark in CALL_MARKS)}
