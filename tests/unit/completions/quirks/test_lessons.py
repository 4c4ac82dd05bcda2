"""Lessons: what a refusal teaches, and how it changes requests to that model."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.dialect import Prepared
from completions.errors import UpstreamRefused
from completions.quirks.lessons import BOOKKEEPING, SAMPLING, Keep, Lesson, bare, lesson_of
from tests.support.history import called, result

NOTHING = Lesson()


def refusal(
    param: str | None = None, code: str = "", status: int = 400, message: str = "No."
) -> UpstreamRefused:
    """Return a refusal that names this field, or only words."""
    return UpstreamRefused(message, status=status, code=code, param=param)


def test_a_lesson_drops_and_renames_fields() -> None:
    """It changes no other field, and updates the set of those that we added."""
    sent = Prepared({"a": 1, "max_tokens": 2, "b": 3, "c": 4}, frozenset({"b", "c"}))
    lesson = Lesson(frozenset({"b"}), {"max_tokens": "max_completion_tokens"})
    assert lesson.applied(sent) == Prepared(
        {"a": 1, "max_completion_tokens": 2, "c": 4}, frozenset({"c"})
    )
    assert Lesson().applied(sent) is sent


def test_a_limit_under_both_names_is_sent_once() -> None:
    """The value under the name that the model takes wins."""
    sent = Prepared({"max_tokens": 2, "max_completion_tokens": 3})
    lesson = Lesson(renamed={"max_tokens": "max_completion_tokens"})
    assert lesson.applied(sent).body == {"max_completion_tokens": 3}


def test_fields_for_tools_are_dropped_with_them() -> None:
    """A choice of tools without tools is refused, too."""
    sent = Prepared({"tools": [{}], "tool_choice": "auto", "parallel_tool_calls": True, "n": 1})
    assert Lesson(frozenset({"tools"})).applied(sent).body == {"n": 1}


def test_a_server_error_teaches_only_by_its_words() -> None:
    """Gateways give any refusal this status; a bare name may mean anything."""
    sent = Prepared({"temperature": 1, "x": 1}, frozenset({"x"}))
    error = refusal(status=500, message="Unsupported parameter: 'temperature'")
    assert lesson_of(error, sent, NOTHING) == Lesson(frozenset({"temperature"}))


@pytest.mark.parametrize("status", [401, 404, 409, 413, 429, 500])
def test_only_a_bad_request_teaches(status: int) -> None:
    """No other status blames the request."""
    error = refusal("temperature", status=status)
    assert lesson_of(error, Prepared({"temperature": 1}, frozenset({"x"})), NOTHING) is None


def test_a_shapes_place_and_words_may_be_apart() -> None:
    """OpenAI names a role's place in `param` only."""
    sent = Prepared({"messages": [{"role": "developer", "content": "Be short."}]})
    error = refusal("messages[0].role", "invalid_value", message="Invalid value: 'developer'.")
    assert lesson_of(error, sent, NOTHING) == Lesson(shapes=frozenset({"developer"}))


def test_a_required_field_is_not_dropped() -> None:
    """Without it the request would be invalid or a different one."""
    sent = Prepared(
        {"messages": [], "model": "m", "previous_response_id": "r", "prompt": {"id": "p"}}
    )
    for param in ("messages", "messages[3].content", "model", "previous_response_id", "prompt"):
        assert lesson_of(refusal(param), sent, NOTHING) is None


@pytest.mark.parametrize(
    "code", ["previous_response_not_found", "model_not_found", "vector_store_not_found"]
)
def test_a_not_found_error_teaches_nothing(code: str) -> None:
    """Whatever field is named, the request without it would be a different one."""
    sent = Prepared({"metadata": {}, "prompt_cache_key": "k"}, frozenset({"prompt_cache_key"}))
    assert lesson_of(refusal("metadata", code), sent, NOTHING) is None
    assert lesson_of(refusal(None, code), sent, NOTHING) is None


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("context_length_exceeded", "No."),
        ("content_filter", "No."),
        ("", "This model's maximum context length is 4096 tokens."),
        ("", "Blocked by Azure OpenAI's content management policy."),
        ("tool_use_failed", "Failed to call a function."),
    ],
)
def test_a_refusal_that_no_field_caused_removes_nothing(code: str, message: str) -> None:
    """The conversation is too long or not allowed, or the model miswrote its own output."""
    sent = Prepared({"prompt_cache_key": "k"}, frozenset({"prompt_cache_key"}))
    assert lesson_of(refusal(None, code, message=message), sent, NOTHING) is None


def test_a_refusal_without_a_field_removes_what_we_added() -> None:
    """A word in place of a field's name names none; a required field counts as named."""
    sent = Prepared({"messages": [], "prompt_cache_key": "k"}, frozenset({"prompt_cache_key"}))
    guess = Lesson(frozenset({"prompt_cache_key"}), keep=Keep.IF_ANSWERED)
    for param in (None, "request", "validation_problem"):
        assert lesson_of(refusal(param), sent, NOTHING) == guess
    assert lesson_of(refusal("messages[3].content"), sent, NOTHING) is None


def test_a_mistake_inside_tools_is_the_callers() -> None:
    """Tools are dropped only if the model does not take them at all."""
    sent = Prepared({"tools": [{"name": "t"}]})
    assert not lesson_of(refusal("tools[0].name"), sent, NOTHING)
    assert not lesson_of(refusal("tools", "invalid_value"), sent, NOTHING)
    assert lesson_of(refusal("tools"), sent, NOTHING) == Lesson(frozenset({"tools"}))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("value_above_maximum", "No."),
        ("invalid_value", "No."),
        ("", "temperature must be at most 2"),
        ("", "Input should be less than or equal to 2"),
    ],
)
@pytest.mark.parametrize("param", ["temperature", "max_tokens"])
def test_a_bad_value_teaches_nothing_lasting(param: str, code: str, message: str) -> None:
    """It is left out of this request only; later callers do not pay for it."""
    sent = Prepared({"temperature": 9, "max_tokens": 9})
    lesson = lesson_of(refusal(param, code, message=message), sent, NOTHING)
    assert lesson == Lesson(frozenset({param}), keep=Keep.ONCE)


def test_a_value_that_a_model_lacks_is_dropped_alone() -> None:
    """Other values of the field are kept."""
    words = "Unsupported value: 'reasoning_effort' does not support 'minimal'. Supported values: …"
    error = refusal("reasoning_effort", "unsupported_value", message=words)
    lesson = lesson_of(error, Prepared({"reasoning_effort": "minimal"}), NOTHING)
    assert lesson
    assert lesson.keep is Keep.KNOWN
    assert lesson.applied(Prepared({"reasoning_effort": "minimal"})).body == {}
    assert lesson.applied(Prepared({"reasoning_effort": "low"})).body == {"reasoning_effort": "low"}
    sent = Prepared({"reasoning": {"effort": "minimal", "summary": "auto"}})
    lesson = lesson_of(refusal("reasoning.effort", "unsupported_value"), sent, NOTHING)
    assert lesson
    assert lesson.applied(sent).body == {"reasoning": {"summary": "auto"}}


def test_a_field_is_renamed_once_and_then_dropped() -> None:
    """A limit under its second name has no third."""
    sent = Prepared({"max_completion_tokens": 9})
    known = Lesson(renamed={"max_tokens": "max_completion_tokens"})
    assert lesson_of(refusal("max_completion_tokens"), sent, known) == Lesson(
        frozenset({"max_completion_tokens"})
    )


def test_a_model_that_refuses_two_of_a_family_refuses_all() -> None:
    """A reasoning model names one at a time, and a turn has three requests."""
    sent = Prepared({"temperature": 1, "top_p": 1, "stop": ["x"]})
    known = Lesson(renamed={"max_tokens": "max_completion_tokens"})
    lesson = lesson_of(refusal("temperature"), sent, known)
    assert lesson == Lesson(SAMPLING)
    assert lesson_of(refusal("top_p"), sent, Lesson(frozenset({"temperature"}))) == lesson
    user = Prepared({"user": "u", "prompt_cache_key": "k"})
    known = Lesson(frozenset({"prompt_cache_key"}))
    assert lesson_of(refusal("user"), user, known) == Lesson(BOOKKEEPING)


@pytest.mark.parametrize(
    ("known", "param"),
    [
        (Lesson(renamed={"max_completion_tokens": "max_tokens"}), "temperature"),
        (Lesson(frozenset({"frequency_penalty"})), "logprobs"),
        (Lesson(frozenset({"seed"})), "temperature"),
    ],
)
def test_fields_that_a_server_never_had_are_no_family(known: Lesson, param: str) -> None:
    """Servers without some penalties, or with the older limit only, still take a temperature."""
    lesson = lesson_of(refusal(param), Prepared({param: 1, "top_p": 1}), known)
    assert lesson == Lesson(frozenset({param}))


def test_the_last_request_has_only_what_it_needs() -> None:
    """The deployment's own fields are kept, and so is `store: false`."""
    body: dict[str, Any] = {
        "model": "m",
        "messages": [],
        "stream": True,
        "tools": [{}],
        "max_tokens": 9,
        "store": False,
        "temperature": 1,
        "seed": 1,
        "x": 1,
    }
    sent = Prepared(body)
    kept = bare(sent, {"x": 1}).applied(sent).body
    assert body.keys() - kept.keys() == {"temperature", "seed"}


def test_fields_are_dropped_by_the_role_that_is_sent() -> None:
    """A path may name a role that an adapted shape has changed."""
    lesson = Lesson(frozenset({"messages[system].name"}), shapes=frozenset({"developer"}))
    named = {"role": "developer", "name": "desk", "content": "Be brief."}
    kept = lesson.applied(Prepared({"messages": [named]})).body["messages"]
    assert kept == [{"role": "system", "content": "Be brief."}]


def test_a_model_that_refuses_numeric_enums_refuses_nameless_results() -> None:
    """Gemini has both rules and names one of them at a time."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "enum": [1]}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    words = "Invalid value at 'tools[0].x.properties[0].value.enum[0]' (TYPE_STRING), 1"
    learnt = lesson_of(refusal(message=words), Prepared({"tools": [tool]}), NOTHING)
    assert learnt == Lesson(shapes=frozenset({"enum", "names"}))


def test_the_last_request_has_no_refusable_shape() -> None:
    """Shapes are adapted where that costs nothing: calls stay calls, instructions stay ours."""
    system, call = {"role": "system", "content": "Be brief."}, called("f", "{}", "a-1")
    body = {"messages": [system, call, result("1", "a-1"), {**system, "role": "developer"}]}
    kept = bare(Prepared(body), ()).applied(Prepared(body)).body["messages"]
    assert [one["role"] for one in kept] == ["system", "user", "assistant", "tool", "user"]
    assert len(kept[2]["tool_calls"][0]["id"]) == 9
    assert kept[3].keys() == {"role", "tool_call_id", "content"}
