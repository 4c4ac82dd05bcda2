"""When a candidate that has failed may be asked again."""

from __future__ import annotations

import asyncio

import pytest

from completions.errors import UpstreamRefused, UpstreamUnavailable
from completions.race.waits import RETRY_WAITS_S, Waits
from completions.settings import Candidate

pytestmark = pytest.mark.looptime

A = Candidate("upstream", "http://a.invalid/v1")
B = Candidate("fallback", "http://b.invalid/v1")
GONE = UpstreamUnavailable("Away.")


def _wait_s(waits: Waits, candidate: Candidate, *, last: bool = False) -> float:
    wait_s = waits.ready_at(candidate, last=last) - asyncio.get_running_loop().time()
    return round(max(wait_s, 0), 3)


async def test_a_candidate_that_has_not_failed_may_be_asked_now() -> None:
    """Another candidate's failure does not count."""
    waits = Waits(RETRY_WAITS_S)
    waits.failed(A, GONE)
    assert [_wait_s(waits, B, last=last) for last in (False, True)] == [0, 0]


async def test_the_second_wait_is_longer() -> None:
    """Later waits are as long as the second."""
    waits = Waits(RETRY_WAITS_S)
    seconds = []
    for _ in range(3):
        waits.failed(A, GONE)
        seconds.append(_wait_s(waits, A))
    assert seconds == [0.25, 0.8, 0.8]


async def test_the_last_request_waits_as_long_as_the_third_would() -> None:
    """It counts from the first failure and includes the time that failing took."""
    waits = Waits(RETRY_WAITS_S)
    waits.failed(A, GONE)
    assert _wait_s(waits, A, last=True) == 1.05
    await asyncio.sleep(0.9)
    assert _wait_s(waits, A, last=True) == 0.15
    waits.failed(A, GONE)
    assert _wait_s(waits, A, last=True) == 0.8


async def test_a_retry_after_prolongs_a_wait() -> None:
    """It never shortens one."""
    for header, wait_s in (("7", 7.0), ("0", 0.25)):
        waits = Waits(RETRY_WAITS_S)
        busy = UpstreamRefused("Busy.", status=429, headers={"retry-after": header})
        waits.failed(A, busy)
        assert _wait_s(waits, A) == wait_s


async def test_without_waits_a_candidate_may_be_asked_at_once() -> None:
    """An agent that fails is run again at once."""
    waits = Waits()
    waits.failed(A, GONE)
    assert [_wait_s(waits, A, last=last) for last in (False, True)] == [0, 0]
