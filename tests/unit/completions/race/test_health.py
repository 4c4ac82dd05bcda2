"""Who is cooling: what an environment remembers of its models from turn to turn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from completions.dialects.dialect import Prepared
from completions.errors import (
    CompletionsError,
    UpstreamAuth,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from completions.race.health import (
    COOLING_S,
    LONGEST_COOLING_S,
    RECORDS_LIMIT,
    Lesson,
    Standing,
    lesson_of,
    retry_after_s,
)
from completions.settings import Candidate
from tests.support.logs import Logged

A = Candidate("upstream", "http://a.invalid/v1")
B = Candidate("fallback", "http://b.invalid/v1")


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refusal(status: int, **headers: str) -> UpstreamRefused:
    """An upstream's error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return UpstreamRefused("No.", status=status, headers=named)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def standing(clock: Clock) -> Standing:
    """Of models that nobody has asked yet."""
    return Standing(clock)


TRANSIENT: list[CompletionsError | None] = [
    None,
    UpstreamTimeout("late"),
    UpstreamUnavailable("gone"),
    UpstreamAuth("key"),
    refusal(500),
    refusal(429),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_two_failures_running_cool_a_model(
    standing: Standing, clock: Clock, error: CompletionsError | None
) -> None:
    """It is asked last, for half a minute."""
    standing.failed(A, error)
    assert standing.order([A, B]) == [A, B]
    standing.failed(A, error)
    assert standing.order([A, B]) == [B, A]
    clock.now += COOLING_S - 0.001
    assert standing.order([A, B]) == [B, A]
    clock.now += 0.001
    assert standing.order([A, B]) == [A, B]


def test_the_first_failure_after_cooling_cools_again(standing: Standing, clock: Clock) -> None:
    """Only an answer proves that a model is well."""
    for _ in range(2):
        standing.failed(A)
    clock.now += COOLING_S
    standing.failed(A)
    assert standing.order([A, B]) == [B, A]


def test_an_answer_forgets(standing: Standing) -> None:
    """Earlier failures, and what is left of the cooling."""
    standing.failed(A)
    standing.answered(A)
    standing.failed(A)
    assert standing.order([A, B]) == [A, B]
    standing.failed(A)
    standing.answered(A)
    assert standing.order([A, B]) == [A, B]


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_counts_at_once(standing: Standing, clock: Clock, status: int) -> None:
    """For as long as it says, but no longer than ten minutes."""
    standing.failed(A, refusal(status, retry_after="7"))
    assert standing.order([A, B]) == [B, A]
    clock.now += 7
    assert standing.order([A, B]) == [A, B]
    standing.failed(A, refusal(status, retry_after="86400"))
    clock.now += LONGEST_COOLING_S
    assert standing.order([A, B]) == [A, B]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refused_request_is_nobodys_failure(standing: Standing, status: int) -> None:
    """A caller's mistakes do not cool a model."""
    for _ in range(5):
        standing.failed(A, refusal(status))
    assert standing.order([A, B]) == [A, B]


def test_all_cooling_is_the_order_of_the_deployment(standing: Standing) -> None:
    """Somebody has to be asked."""
    for one in (A, B, A, B):
        standing.failed(one)
    assert standing.order([A, B]) == [A, B]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after_ms": "250", "retry_after": "1"}, 0.25),
        ({"retry_after_ms": "soon", "retry_after": "1"}, 1.0),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """In seconds or milliseconds; what cannot be read says nothing."""
    assert retry_after_s(refusal(429, **headers)) == seconds


def test_an_endless_retry_after_is_bounded(standing: Standing, clock: Clock) -> None:
    """Infinity is a number, too."""
    standing.failed(A, refusal(429, retry_after="inf"))
    clock.now += LONGEST_COOLING_S
    assert standing.order([A, B]) == [A, B]


def test_a_lesson_is_applied_to_every_request() -> None:
    """Fields go or get their other name, ours included; and only they."""
    sent = Prepared({"a": 1, "max_tokens": 2, "b": 3, "c": 4}, frozenset({"b", "c"}))
    lesson = Lesson(frozenset({"b"}), {"max_tokens": "max_completion_tokens"})
    assert lesson.applied(sent) == Prepared(
        {"a": 1, "max_completion_tokens": 2, "c": 4}, frozenset({"c"})
    )
    assert Lesson().applied(sent) is sent


def test_models_that_callers_name_do_not_pile_up(standing: Standing, logs: Logged) -> None:
    """What was used longest ago is forgotten; who cools and what is in use stays known."""
    standing.failed(A, refusal(429, retry_after="60"))
    lesson = Lesson(frozenset({"temperature"}))
    models = [replace(B, model=f"m{number}") for number in range(3 * RECORDS_LIMIT)]
    for model in models:
        standing.order([A, B])
        standing.remember(model, lesson)
        assert standing.lesson(models[0]) == standing.lesson(model) == lesson
        standing.thinks_first(models[1], found=model is models[1])
        assert standing.thinks_first(models[1]) is (model is not models[0])
    assert standing.order([A, B]) == [B, A]
    assert sum(standing.lesson(model) == lesson for model in models) <= RECORDS_LIMIT
    assert standing.lesson(Candidate("fallback", "", "unheard of")) == Lesson()


def test_a_lesson_is_told_with_the_model_it_is_about(standing: Standing, logs: Logged) -> None:
    """By the candidate's name: an address belongs into no line, since people put anything in it."""
    named = replace(A, model="m" * 100)
    standing.remember(named, Lesson(frozenset({"temperature"})))
    standing.lacks_responses(A, refusal(404))
    learnt, lacks = logs.event("upstream.learnt"), logs.event("upstream.lacks_responses")
    assert learnt["dropped"] == ["temperature"]
    assert learnt["candidate"] == lacks["candidate"] == "upstream"
    assert len(learnt["model"]) < len(named.model)
    assert A.base_url not in logs.text


@pytest.mark.parametrize("status", [401, 404, 409, 413, 429, 500])
def test_only_a_bad_request_teaches(status: int) -> None:
    """Nothing else says that the request was at fault."""
    error = UpstreamRefused("No.", status=status, param="temperature")
    assert lesson_of(error, Prepared({"temperature": 1}, frozenset({"x"})), Lesson()) is None
