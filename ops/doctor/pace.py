"""How bytes arrived: as a stream or in one lump, from a warm environment or a cold one.

Both are judged by times alone, so the result may be "cannot tell". Does not know HTTP or causes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

TOGETHER_MS = 2.0
"""Pieces closer than this count as one arrival: they left together, or were held together."""
PIECES_FEW = 8
"""A shorter answer proves nothing."""
ARRIVALS_MANY = 8
"""A long answer that was held back and released at once has fewer arrivals: TCP's slow start sends
10 segments, waits for a round trip, sends 20, waits … (RFC 6928): four trips carry 220 kB."""
HELD_BACK_MS = 300.0
COLD_MS = 150.0
COLD_TIMES = 3.0


@dataclass(frozen=True, slots=True)
class LongAnswer:
    """A long answer, as requested: when each piece of the model's words arrived, in ms."""

    arrivals_ms: Sequence[float]
    length_known: bool = False
    """True if the response's head stated its body's length, so that the body was complete."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`stream`, `lump` or `unknown`, and why. `certain` if no clock was needed."""

    verdict: Literal["stream", "lump", "unknown"]
    why: str
    certain: bool = False


def judge(answer: LongAnswer, short_waits_ms: Sequence[float]) -> Pace:
    """Compare one long answer with the waits for the first words of short ones.

    A quick model's answer may come at once, too. The first word shows which it is: if a long
    answer is held back, it is late by the time that the whole answer takes; if it is streamed, it
    comes as soon as a short one's.
    """
    times = sorted(answer.arrivals_ms)
    if answer.length_known:
        return Pace(
            "lump",
            "the head states the length, so the server had the whole answer before sending any",
            True,
        )
    if len(times) < PIECES_FEW:
        return Pace("unknown", f"the answer has {len(times)} pieces, too few to tell")
    groups: list[list[float]] = [[times[0]]]
    for at_ms in times[1:]:
        if at_ms - groups[-1][-1] < TOGETHER_MS:
            groups[-1].append(at_ms)
        else:
            groups.append([at_ms])
    largest = max(groups, key=len)
    spread_ms = times[-1] - times[0]
    seen = f"{len(times)} pieces in {len(groups)} arrivals over {spread_ms:.0f} ms"
    if len(groups) >= ARRIVALS_MANY and len(largest) <= len(times) / 2:
        return Pace("stream", seen)
    if not short_waits_ms:
        return Pace("unknown", f"{seen}, and no short answer to compare with")
    short_ms = median(short_waits_ms)
    late_ms = largest[0] - short_ms
    waits = f"its first word after {times[0]:.0f} ms, a short answer's after {short_ms:.0f} ms"
    if late_ms >= max(HELD_BACK_MS, short_ms):
        return Pace("lump", f"{seen}; {waits}")
    return Pace("unknown", f"{seen}, as from a quick model as well; {waits}")


@dataclass(frozen=True, slots=True)
class ColdStart:
    """True if the first request met an environment that had to be started; None: cannot tell."""

    met: bool | None
    why: str


def cold_start(first_ms: float | None, later_ms: Sequence[float]) -> ColdStart:
    """Compare the first request with the same one later, since no answer shows a cold start."""
    if first_ms is None or not later_ms:
        return ColdStart(None, "it needs the same request twice")
    usual_ms = median(later_ms)
    seen = f"the first request took {first_ms:.0f} ms, the same one later {usual_ms:.0f} ms"
    if first_ms - usual_ms >= COLD_MS and first_ms >= COLD_TIMES * usual_ms:
        return ColdStart(True, f"probably: {seen}")
    return ColdStart(False, seen)
