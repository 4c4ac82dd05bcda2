"""Times tell a stream from a lump, or leave the verdict open."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ops.doctor.pace import LongAnswer, cold_start, judge

SHORT = [180.0, 200.0, 220.0]


def evenly(count: int, first_ms: float, gap_ms: float) -> list[float]:
    return [first_ms + n * gap_ms for n in range(count)]


@pytest.mark.parametrize(
    ("arrivals_ms", "verdict"),
    [
        pytest.param(evenly(100, 210, 12), "stream", id="token by token"),
        pytest.param(sorted(evenly(20, 210, 40) * 5), "stream", id="five tokens a packet"),
        pytest.param([210 + n / 100 for n in range(100)], "unknown", id="quick as a whole"),
        pytest.param([1500 + n / 100 for n in range(100)], "lump", id="held back"),
        pytest.param(
            [1500.0] * 40 + [1600.0] * 80 + [1700.0] * 30, "lump", id="held back, slow start"
        ),
        pytest.param([210.0, *[1500.0] * 90], "lump", id="held back but for the first word"),
        pytest.param(sorted(evenly(3, 210, 300) * 50), "unknown", id="in three bursts"),
        pytest.param(evenly(4, 1500, 0.1), "unknown", id="too short"),
        pytest.param([], "unknown", id="nothing"),
    ],
)
def test_an_answer_is_judged_by_its_times(arrivals_ms: Sequence[float], verdict: str) -> None:
    """Only an answer that was late for its length, and came at once, is called a lump."""
    assert judge(LongAnswer(arrivals_ms), SHORT).verdict == verdict


def test_a_known_length_needs_no_clock() -> None:
    """An event stream with a content-length was whole before it was sent."""
    pace = judge(LongAnswer(evenly(100, 210, 12), length_known=True), SHORT)
    assert (pace.verdict, pace.certain) == ("lump", True)


def test_a_lump_needs_a_short_answer_to_compare_with() -> None:
    """Without a short answer to compare it with, a long one is not called a lump."""
    assert judge(LongAnswer([1500.0] * 100), []).verdict == "unknown"


@pytest.mark.parametrize(
    ("first_ms", "later_ms", "met"),
    [
        (1400.0, [12.0, 9.0, 30.0], True),
        (14.0, [12.0, 9.0, 30.0], False),
        (100.0, [3.0, 3.0, 3.0], False),
        (400.0, [350.0, 360.0, 340.0], False),
        (600.0, [350.0, 360.0, 340.0], False),
        (None, [12.0], None),
        (14.0, [], None),
    ],
)
def test_a_cold_start_is_found_by_comparison(
    first_ms: float | None, later_ms: Sequence[float], met: bool | None
) -> None:
    """A cold start is a first request slower than later ones, by factor and milliseconds."""
    assert cold_start(first_ms, later_ms).met is met
