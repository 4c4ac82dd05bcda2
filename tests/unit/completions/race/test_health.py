"""Health: which models are asked last for a while, and for how long."""

from __future__ import annotations

import pytest

from completions.errors import (
    CompletionsError,
    UpstreamAuth,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from completions.race.health import (
    COOLING_LIMIT_S,
    COOLING_S,
    Health,
)
from completions.settings import Candidate
from tests.support.clock import FakeClock

A = Candidate("upstream", "http://a.invalid/v1")
B = Candidate("fallback", "http://b.invalid/v1")


def refusal(status: int, **headers: str) -> UpstreamRefused:
    """Return an upstream's error with these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return UpstreamRefused("No.", status=status, headers=named)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def health(clock: FakeClock) -> Health:
    """The health of models that have not been asked yet."""
    return Health(clock)


TRANSIENT: list[CompletionsError | None] = [
    None,
    UpstreamTimeout("late"),
    UpstreamUnavailable("gone"),
    UpstreamAuth("key"),
    refusal(500),
    refusal(429),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_two_failures_in_a_row_cool_a_model(
    health: Health, clock: FakeClock, error: CompletionsError | None
) -> None:
    """It is asked last for half a minute."""
    health.failed(A, error)
    assert health.order([A, B]) == [A, B]
    health.failed(A, error)
    assert health.order([A, B]) == [B, A]
    clock.now += COOLING_S - 0.001
    assert health.order([A, B]) == [B, A]
    clock.now += 0.001
    assert health.order([A, B]) == [A, B]


def test_the_first_failure_after_cooling_cools_again(health: Health, clock: FakeClock) -> None:
    """Only an answer proves that a model works again."""
    for _ in range(2):
        health.failed(A)
    clock.now += COOLING_S
    health.failed(A)
    assert health.order([A, B]) == [B, A]


def test_an_answer_ends_the_cooling(health: Health) -> None:
    """Earlier failures are forgotten, too."""
    health.failed(A)
    health.answered(A)
    health.failed(A)
    assert health.order([A, B]) == [A, B]
    health.failed(A)
    health.answered(A)
    assert health.order([A, B]) == [A, B]


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_counts_from_the_first_failure(
    health: Health, clock: FakeClock, status: int
) -> None:
    """The model cools for as long as it says, a minute at most after a first failure."""
    health.failed(A, refusal(status, retry_after="7"))
    assert health.order([A, B]) == [B, A]
    clock.now += 7
    assert health.order([A, B]) == [A, B]
    for endless in ("86400", "inf"):
        health.answered(A)
        for times in (1, 2, 4, 8, 10, 10):
            health.failed(A, refusal(status, retry_after=endless))
            clock.now += times * COOLING_LIMIT_S - 1
            assert health.order([A, B]) == [B, A]
            clock.now += 1
            assert health.order([A, B]) == [A, B]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refused_request_cools_no_model(health: Health, status: int) -> None:
    """It is the caller's mistake."""
    for _ in range(5):
        health.failed(A, refusal(status))
    assert health.order([A, B]) == [A, B]


def test_if_all_are_cooling_the_deployments_order_holds(health: Health) -> None:
    """Some model has to be asked."""
    for one in (A, B, A, B):
        health.failed(one)
    assert health.order([A, B]) == [A, B]


def test_a_clock_set_back_cools_no_model(health: Health, clock: FakeClock) -> None:
    """A failure in the future is ignored."""
    health.failed(A, refusal(429, retry_after="7"))
    clock.now -= 3600
    assert health.order([A, B]) == [A, B]
