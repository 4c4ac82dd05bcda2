"""Quirks: what a refusal teaches about a model, and how long it is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from completions.dialects.dialect import Prepared
from completions.errors import UpstreamRefused
from completions.quirks.lessons import Keep, Lesson
from completions.quirks.quirks import (
    ENDPOINT_RETRY_S,
    GUESS_CHARS,
    GUESS_TTL_S,
    LESSONS_LIMIT,
    MODELS_LIMIT,
    Quirks,
)
from completions.settings import Candidate
from tests.support.clock import FakeClock
from tests.support.logs import Logged

A = Candidate("upstream", "http://a.invalid/v1")
B = Candidate("fallback", "http://b.invalid/v1")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def quirks(clock: FakeClock) -> Quirks:
    """The quirks of models that have not been asked yet."""
    return Quirks(clock)


def test_models_that_callers_name_do_not_pile_up(quirks: Quirks, logs: Logged) -> None:
    """The least recently used model is forgotten."""
    lesson = Lesson(frozenset({"temperature"}))
    models = [replace(B, model=f"m{number}") for number in range(3 * MODELS_LIMIT)]
    quirks.learn_thinks_first(models[1], began_inside=True)
    for model in models:
        quirks.remember(model, lesson)
        assert quirks.lesson(models[0]) == quirks.lesson(model) == lesson
        assert quirks.guess_chars(models[1])
    assert not quirks.guess_chars(models[0])
    assert sum(quirks.lesson(model) == lesson for model in models) <= MODELS_LIMIT
    assert quirks.lesson(Candidate("fallback", "", "unheard of")) == Lesson()


def test_a_lesson_is_logged_with_its_model(quirks: Quirks, logs: Logged) -> None:
    """The line has the candidate's name, not its address, which may hold anything."""
    named = replace(A, model="m" * 100)
    quirks.remember(named, Lesson(frozenset({"temperature"})))
    quirks.learn_lacks_responses(A, UpstreamRefused("No.", status=404))
    learnt, lacks = logs.event("upstream.learnt"), logs.event("upstream.lacks_responses")
    assert learnt["dropped"] == ["temperature"]
    assert learnt["candidate"] == lacks["candidate"] == "upstream"
    assert len(learnt["model"]) < len(named.model)
    assert A.base_url not in logs.text


def test_a_lesson_for_one_request_is_not_remembered(quirks: Quirks) -> None:
    """The next request is sent in full."""
    quirks.remember(A, Lesson(frozenset({"temperature"}), keep=Keep.ONCE))
    assert quirks.lesson(A) == Lesson()


def test_lessons_about_a_model_are_bounded(quirks: Quirks, logs: Logged) -> None:
    """A server that refuses a different field each time does not fill the memory."""
    for number in range(3 * LESSONS_LIMIT):
        quirks.remember(A, Lesson(frozenset({f"user={number}"})))
    assert len(quirks.lesson(A).dropped) == LESSONS_LIMIT


# -- guesses


def test_a_costly_lesson_needs_two_refusals(quirks: Quirks, clock: FakeClock, logs: Logged) -> None:
    """Tools are sent again after one refusal, and retried some time after two."""
    lesson, whole = Lesson(frozenset({"tools", "seed"})), Prepared({"tools": [{}], "seed": 1})
    quirks.remember(A, lesson)
    assert quirks.applied(A, whole).body == {"tools": [{}]}
    quirks.remember(A, lesson)
    assert quirks.applied(A, whole).body == {}
    clock.now += GUESS_TTL_S
    assert quirks.applied(A, whole).body == {"tools": [{}]}
    quirks.remember(A, lesson)
    assert quirks.applied(A, whole).body == {}


def test_an_answer_clears_the_guesses_about_its_request(quirks: Quirks, logs: Logged) -> None:
    """A model that answered a request with tools has to refuse them twice again."""
    for _ in range(2):
        quirks.remember(A, Lesson(frozenset({"tools"})))
        quirks.doubt(A, {"model", "tools"})
    assert quirks.lesson(A) == Lesson()


def test_more_signs_justify_longer_thoughts(quirks: Quirks) -> None:
    """Any other answer, or a guess that was given up, resets the count."""
    assert quirks.guess_chars(A) == 0
    for chars in (*GUESS_CHARS, GUESS_CHARS[-1]):
        quirks.learn_thinks_first(A, began_inside=True)
        assert quirks.guess_chars(A) == chars
    quirks.learn_thinks_first(A, began_inside=False)
    assert quirks.guess_chars(A) == 0
    quirks.learn_thinks_first(A, began_inside=True)
    quirks.doubt_thinks_first(A)
    assert quirks.guess_chars(A) == 0


def test_a_guess_that_is_not_renewed_expires(quirks: Quirks, clock: FakeClock) -> None:
    """The model may have been replaced under the same name."""
    quirks.learn_thinks_first(A, began_inside=True)
    clock.now += GUESS_TTL_S - 1
    assert quirks.guess_chars(A)
    quirks.learn_thinks_first(A, began_inside=True)
    clock.now += GUESS_TTL_S - 1
    assert quirks.guess_chars(A)
    clock.now += 1
    assert not quirks.guess_chars(A)


NO_PATH = UpstreamRefused("Not found.", status=404)


def test_a_refused_endpoint_is_retried(quirks: Quirks, clock: FakeClock) -> None:
    """The wait grows with each refusal in a row."""
    for wait_s in (*ENDPOINT_RETRY_S, ENDPOINT_RETRY_S[-1]):
        assert not quirks.lacks_responses(A)
        assert quirks.learn_lacks_responses(A, NO_PATH)
        clock.now += wait_s - 1
        assert quirks.lacks_responses(A)
        clock.now += 1


def test_an_answer_of_the_endpoint_clears_the_refusals(quirks: Quirks, clock: FakeClock) -> None:
    """The next refusal counts as a first one."""
    for _ in range(3):
        quirks.learn_lacks_responses(A, NO_PATH)
    quirks.learn_has_responses(A)
    assert not quirks.lacks_responses(A)
    quirks.learn_lacks_responses(A, NO_PATH)
    clock.now += ENDPOINT_RETRY_S[0]
    assert not quirks.lacks_responses(A)
