"""What is read in a Chat Completions request, and what an upstream receives of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from completions.dialects import chat, responses
from completions.dialects.dialect import TOKEN_LIMIT, Dialect
from completions.dialects.request import ParsedRequest
from completions.errors import InvalidRequest
from tests.support import history

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello?"}
CALLS = history.called("look_up", '{"q": "a"}')
RESULT = history.result("found")


def parsed(*messages: Mapping[str, Any], **fields: Any) -> ParsedRequest:
    """A streamed request with these messages."""
    return chat.parse(
        {"model": "m", "stream": True, "messages": list(messages or [USER]), **fields}
    )


def sent(*messages: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """What the upstream receives."""
    request = parsed(*messages, **fields)
    return chat.prepare(request, model="", extra_body={}, clean=str).body


@pytest.mark.parametrize("calls", [[0], [None], ["x"], [{}], [{"id": 0}]], ids=str)
def test_only_the_assistant_has_calls(calls: list[Any]) -> None:
    """Another role's `tool_calls` are left out, whatever they hold."""
    got = sent({"role": "critic", "content": "No.", "tool_calls": calls})
    assert got["messages"] == [{"role": "critic", "content": "No."}]


@pytest.mark.parametrize(
    ("n", "answers"), [(None, 1), (-1, 1), (0, 1), (1, 1), (1.0, 1), (2, 2), (3.0, 3)]
)
def test_the_number_of_answers_is_read(n: Any, answers: int) -> None:
    """Words of our own fit into one answer, not into several at once."""
    request = parsed(n=n)
    assert (request.answers, request.single, request.speakable) == (
        answers,
        answers == 1,
        answers == 1,
    )


@pytest.mark.parametrize(
    ("fields", "speakable"),
    [
        ({}, True),
        ({"response_format": {"type": "text"}, "modalities": ["text"]}, True),
        ({"response_format": {"type": "json_object"}}, False),
        ({"modalities": ["text", "audio"]}, False),
        ({"stream": False}, False),
    ],
    ids=repr,
)
def test_only_streamed_text_is_speakable(fields: dict[str, Any], speakable: bool) -> None:
    """JSON, audio and buffered answers have no room for words of our own."""
    assert parsed(**fields).speakable is speakable


def test_the_history_is_read() -> None:
    """This covers roles, texts, calls and what follows the last user message."""
    request = parsed(SYSTEM, USER, {**CALLS, "content": "One moment."}, RESULT)
    assert request.roles == ("system", "user", "assistant", "tool")
    assert (request.user_text, request.user_spoke) == ("Hello?", True)
    assert request.assistant_texts == ("One moment.",)
    assert (request.assistant_spoke_since, request.after_tool_result) == (True, True)
    assert [(call.name, call.recent) for call in request.calls] == [("look_up", True)]
    again = parsed(SYSTEM, CALLS, RESULT, {"role": "user", "content": " ... "})
    assert (again.user_spoke, again.calls[0].recent) == (False, False)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [USER, {"content": "Hi"}]}, "messages[1]"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"messages": [USER], "tools": ["f"]}, "tools[0]"),
        ({"messages": [USER], "n": 1.5}, "n"),
        ({"messages": [USER], "stream": "yes"}, "stream"),
    ],
    ids=repr,
)
def test_a_field_that_cannot_be_understood_is_named(body: dict[str, Any], param: str) -> None:
    """The error names it, down to its place in a list."""
    with pytest.raises(InvalidRequest) as caught:
        chat.parse(body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": " \n"},
        {"role": "assistant", "content": None},
        {"role": "assistant"},
        {"role": "assistant", "content": []},
        {"role": "assistant", "content": [{"type": "text", "text": ""}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "content": "", "tool_calls": None, "refusal": None},
    ],
    ids=repr,
)
def test_an_answer_without_a_word_is_not_sent(message: Mapping[str, Any]) -> None:
    """The caller interrupted before it began, and strict upstreams answer 400 to it."""
    assert sent(USER, message, USER)["messages"] == [USER, USER]


def test_a_history_without_a_word_is_sent_as_an_empty_prompt() -> None:
    """Upstreams refuse an empty list of messages."""
    silent = {"role": "assistant", "content": ""}
    assert sent(silent)["messages"] == [{"role": "system", "content": ""}]


def test_nulls_in_messages_are_left_out() -> None:
    """Serialisers write null for unset fields; only `content` is required."""
    nulls = {"name": None, "tool_calls": None, "function_call": None, "refusal": None}
    got = sent(
        {"role": "user", "content": None, **nulls},
        {"role": "assistant", "content": "Hello.", **nulls},
        {**CALLS, "name": None},
        {**RESULT, "content": None, "name": None},
    )
    assert got["messages"] == [
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "Hello."},
        CALLS,
        {**RESULT, "content": ""},
    ]


def test_a_platforms_own_fields_of_a_tool_are_not_sent() -> None:
    """Strict servers refuse them, and the model needs no server's address."""
    tool = {"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}
    custom = {"type": "custom", "custom": {"name": "g"}}
    got = sent(tools=[{**tool, "server": {"url": "https://example.com"}, "messages": []}, custom])
    assert got["tools"] == [tool, custom]


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": True}])
def test_usage_is_always_asked_for(options: Any) -> None:
    """The log needs it for every stream; the caller gets it only on request."""
    assert sent(stream_options=options)["stream_options"] == {"include_usage": True}
    assert parsed(stream_options=options).wants_usage is bool((options or {}).get("include_usage"))
    assert "stream_options" not in sent(stream_options=options, stream=False)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (-1, None),
        (0, None),
        (None, None),
        (1, 1),
        (5000, 5000),
        (5000.0, 5000),
        (0.5, 1),
        (10**9, TOKEN_LIMIT),
        (1e300, TOKEN_LIMIT),
    ],
)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_token_limit_is_dropped_or_clamped(name: str, limit: Any, expected: Any) -> None:
    """Platforms send -1 for unlimited; models refuse values beyond their limits."""
    assert sent(**{name: limit}).get(name) == expected


def test_the_deployments_token_limit_caps_or_replaces_the_callers() -> None:
    """Where the caller has none, the older name is used, which every server knows."""
    for fields, name, limit in (
        ({}, "max_tokens", 50),
        ({"max_tokens": 20}, "max_tokens", 20),
        ({"max_completion_tokens": 80}, "max_completion_tokens", 50),
    ):
        request = parsed(**fields)
        body = chat.prepare(request, model="", extra_body={}, clean=str, max_tokens=50).body
        limits = {key: value for key, value in body.items() if key.startswith("max_")}
        assert limits == {name: limit}


def test_a_chat_request_needs_no_translation() -> None:
    """Only the other dialect has a chat form."""
    dialects: list[Dialect] = [chat, responses]
    body = {"messages": [USER], "input": [USER]}
    assert [one.as_chat(body) is None for one in dialects] == [True, False]


def test_feedback_is_appended_after_the_answer() -> None:
    """An empty answer is left out; the request itself is not modified."""
    body = {"model": "m", "messages": [USER]}
    feedback = {"role": "user", "content": "Once more."}
    assert chat.with_feedback(body, "", "Once more.")["messages"] == [USER, feedback]
    assert chat.with_feedback(body, "Hi. ", "Once more.")["messages"] == [
        USER,
        {"role": "assistant", "content": "Hi. "},
        feedback,
    ]
    assert body["messages"] == [USER]
