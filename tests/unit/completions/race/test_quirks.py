"""Quirks: what a refusal teaches about a model, and for how long it is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from completions.dialects.dialect import Prepared
from completions.errors import UpstreamRefused
from completions.race.quirks import MODELS_LIMIT, Lesson, Quirks, lesson_of
from completions.settings import Candidate
from tests.support.logs import Logged

A = Candidate("upstream", "http://a.invalid/v1")
B = Candidate("fallback", "http://b.invalid/v1")


@pytest.fixture
def quirks() -> Quirks:
    """Of models that nobody has asked yet."""
    return Quirks()


def test_a_lesson_is_applied_to_every_request() -> None:
    """Fields go or get their other name, ours included; and only they."""
    sent = Prepared({"a": 1, "max_tokens": 2, "b": 3, "c": 4}, frozenset({"b", "c"}))
    lesson = Lesson(frozenset({"b"}), {"max_tokens": "max_completion_tokens"})
    assert lesson.applied(sent) == Prepared(
        {"a": 1, "max_completion_tokens": 2, "c": 4}, frozenset({"c"})
    )
    assert Lesson().applied(sent) is sent


def test_models_that_callers_name_do_not_pile_up(quirks: Quirks, logs: Logged) -> None:
    """The model used longest ago is forgotten; what is in use stays known."""
    lesson = Lesson(frozenset({"temperature"}))
    models = [replace(B, model=f"m{number}") for number in range(3 * MODELS_LIMIT)]
    quirks.learn_thinks_first(models[1])
    for model in models:
        quirks.remember(model, lesson)
        assert quirks.lesson(models[0]) == quirks.lesson(model) == lesson
        assert quirks.thinks_first(models[1])
    assert not quirks.thinks_first(models[0])
    assert sum(quirks.lesson(model) == lesson for model in models) <= MODELS_LIMIT
    assert quirks.lesson(Candidate("fallback", "", "unheard of")) == Lesson()


def test_a_lesson_is_told_with_the_model_it_is_about(quirks: Quirks, logs: Logged) -> None:
    """By the candidate's name: an address belongs into no line, since people put anything in it."""
    named = replace(A, model="m" * 100)
    quirks.remember(named, Lesson(frozenset({"temperature"})))
    quirks.learn_lacks_responses(A, UpstreamRefused("No.", status=404))
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
