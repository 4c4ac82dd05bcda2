"""What is read in a Responses request."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completions.dialects import chat, responses
from completions.dialects.request import ParsedRequest, PastCall, Tool
from completions.errors import InvalidRequest
from tests.support.responses_requests import (
    CALL,
    FLAT,
    NESTED,
    RESULT,
    SCHEMA,
    USER,
    assistant,
    parsed_with,
    sent,
)


def test_a_string_is_a_user_message() -> None:
    """This is the shortest request."""
    request = responses.parse({"model": "m", "input": "Hello?"})
    assert (request.model, request.stream, request.speakable, request.answers) == (
        *("m", False),
        *(False, 1),
    )
    assert (request.roles, request.user_spoke, request.wants_usage) == (("user",), True, True)


@pytest.mark.parametrize(
    ("items", "spoke"),
    [
        ([USER], True),
        ([{"role": "user", "content": " ... "}], False),
        ([{"role": "user", "content": [{"type": "input_text", "text": "..."}]}], False),
        ([USER, {"role": "user", "content": "..."}], False),
        ([{"role": "system", "content": "Greet."}], False),
        ([assistant("Hello?")], False),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}], True),
    ],
)
def test_silence_and_a_missing_user_are_no_speech(items: list[dict[str, Any]], spoke: bool) -> None:
    """Buffer words are for callers who have said something."""
    assert parsed_with(*items).user_spoke is spoke


def test_the_upstream_may_hold_the_user_message() -> None:
    """A tool result with a previous response's id is part of a conversation."""
    request = parsed_with(RESULT, previous_response_id="resp_1")
    assert (request.user_spoke, request.after_tool_result) == (True, True)


def test_the_history_is_read_from_every_kind_of_item() -> None:
    """This covers roles, the assistant's words, and calls with their recency."""
    request = parsed_with(
        assistant("Hi, who is there?"),
        USER,
        CALL,
        RESULT,
        {"role": "assistant", "content": "Sunny."},
        USER,
        {**CALL, "name": "end_call", "arguments": None},
        instructions="Be brief.",
    )
    roles = "system assistant user assistant tool assistant user assistant"
    assert request.roles == tuple(roles.split())
    assert request.assistant_texts == ("Hi, who is there?", "Sunny.")
    assert request.calls == (
        PastCall("get_weather", '{"a":1}', recent=False),
        PastCall("end_call", "{}", recent=True),
    )
    assert (request.assistant_spoke_since, request.after_tool_result) == (False, False)


def test_what_follows_the_last_user_message_is_read() -> None:
    """It may be words already spoken in this turn, and a tool result at the end."""
    request = parsed_with(USER, assistant("One moment."), CALL, RESULT)
    assert (request.assistant_spoke_since, request.after_tool_result) == (True, True)
    assert not parsed_with(USER, assistant(" "), CALL).assistant_spoke_since


@pytest.mark.parametrize("tool", [FLAT, NESTED, {**FLAT, "type": None}])
def test_tools_are_read_flat_and_nested(tool: dict[str, Any]) -> None:
    """Clients send the shapes of both APIs; the upstream gets the flat one."""
    body = {"input": "Hi", "tools": [tool, {"type": "web_search"}], "tool_choice": "auto"}
    assert responses.parse(body).tools == {"get_weather": Tool("get_weather", "Asks.", SCHEMA)}
    assert sent(body)["tools"] == [FLAT, {"type": "web_search"}]


def test_a_nested_choice_of_a_tool_is_flattened() -> None:
    """The upstream gets it in the same shape as the tool."""
    choice = {"type": "function", "function": {"name": "get_weather"}}
    body = {"input": "Hi", "tools": [FLAT], "tool_choice": choice}
    assert sent(body)["tool_choice"] == {"type": "function", "name": "get_weather"}


@pytest.mark.parametrize(
    ("text", "speakable"),
    [
        (None, True),
        ({}, True),
        ({"format": None}, True),
        ({"format": {"type": "text"}}, True),
        ({"format": {"type": "json_object"}}, False),
        ({"format": {"type": "json_schema", "name": "x", "schema": {}}}, False),
    ],
)
def test_only_streamed_text_is_speakable(text: Any, speakable: bool) -> None:
    """JSON and buffered answers have no room for words of our own."""
    assert parsed_with(USER, text=text).speakable is speakable
    assert not parsed_with(USER, text=text, stream=False).speakable


def test_the_extra_body_is_read_and_removed() -> None:
    """It holds what an agent may set for itself."""
    extra = {"buffer_words": ["Hm... "], "language": "de", "conversation_id": "conv_1"}
    body = {"input": "Hi", "elevenlabs_extra_body": extra}
    assert responses.parse(body).extra.language == "de"
    assert "elevenlabs_extra_body" not in sent(body)
    assert sent(body)["prompt_cache_key"] == "conv_1"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": 1}, "input"),
        ({"input": {}}, "input"),
        ({"input": "x", "model": 1}, "model"),
        ({"input": "x", "stream": "yes"}, "stream"),
        ({"input": "x", "instructions": ["a"]}, "instructions"),
        ({"input": "x", "max_output_tokens": "1"}, "max_output_tokens"),
        ({"input": "x", "max_output_tokens": True}, "max_output_tokens"),
        ({"input": "x", "temperature": "hot"}, "temperature"),
        ({"input": "x", "text": "plain"}, "text"),
        ({"input": "x", "text": {"format": "json"}}, "text.format"),
        ({"input": "x", "tools": {}}, "tools"),
        ({"input": "x", "tools": ["f"]}, "tools[0]"),
        ({"input": "x", "tools": [FLAT, {"type": "function"}]}, "tools[1].name"),
        ({"input": "x", "tools": [{"type": "function", "function": 1}]}, "tools[0]"),
        ({"input": [USER, "x"]}, "input[1]"),
        ({"input": [USER, USER, {"content": "x"}]}, "input[2].role"),
        ({"input": [{"role": 1, "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 1}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]},
            "input[0].content[0].text",
        ),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": 1, "role": "user"}]}, "input[0].type"),
        ({"input": "x", "elevenlabs_extra_body": []}, "elevenlabs_extra_body"),
        (
            {"input": "x", "elevenlabs_extra_body": {"language": 1}},
            "elevenlabs_extra_body.language",
        ),
        ({"input": "x", "user_id": ["u"]}, "user_id"),
    ],
)
def test_a_wrong_type_is_named(body: dict[str, Any], param: str) -> None:
    """The error names the field, down to its place in a list."""
    with pytest.raises(InvalidRequest) as caught:
        responses.parse(body)
    assert caught.value.param == param
    assert f"'{param}'" in caught.value.message


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.floats()
    | st.sampled_from(["", "...", "message", "function", "function_call", "user", "assistant"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "name", "call_id", "output", "format"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
_TEXTS = st.sampled_from(["", " ", "...", "Hello."])
_PARTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["input_text", "output_text", "text", "input_image", "refusal"])},
        optional={"text": _TEXTS, "image_url": _TEXTS, "detail": st.none()},
    ),
    max_size=2,
)
_ITEMS = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "developer", "tool"])},
        optional={"content": _TEXTS | _PARTS | st.none(), "type": st.just("message")},
    ),
    st.just(CALL),
    st.just(RESULT),
    st.sampled_from([{"type": "reasoning", "summary": []}, {"id": "msg_1"}, {"type": "x"}]),
)
_NUMBERS = st.integers() | st.floats() | st.none()
_BODY = st.fixed_dictionaries(
    {"input": st.lists(_ITEMS, min_size=1, max_size=4) | st.just("Hi")},
    optional={
        "instructions": _TEXTS | st.none(),
        "model": _TEXTS,
        "stream": st.booleans(),
        "tools": st.lists(st.sampled_from([FLAT, NESTED, {"type": "web_search"}]), max_size=2),
        "tool_choice": st.sampled_from(["auto", {"type": "function", "name": "f"}, {}]),
        "text": st.sampled_from([{}, {"format": {"type": "json_object"}}, {"format": {}}]),
        "reasoning": st.sampled_from([{}, {"effort": "low"}]),
        "max_output_tokens": _NUMBERS,
        "temperature": _NUMBERS,
        "user_id": st.text() | st.integers(),
    },
)
_NAMES = ["arguments", "call_id", "content", "id", "instructions", "input", "max_output_tokens"]
_NAMES += ["name", "output", "reasoning", "role", "text", "tool_choice", "tools", "type", "user_id"]
_NAMES += ["conversation", "elevenlabs_extra_body", "max_tool_calls", "prompt", "stream_options"]


@settings(max_examples=500, deadline=None)
@given(_BODY, st.lists(st.tuples(st.sampled_from(_NAMES), st.integers(0, 3), _JSON), max_size=2))
def test_a_request_is_understood_or_refused_by_name(
    body: dict[str, Any], spoils: list[tuple[str, int, Any]]
) -> None:
    """Parsing raises nothing but an error that names the field, over either API."""
    for name, position, value in spoils:
        items = body["input"] if isinstance(body["input"], list) else []
        where = items[position] if position < len(items) else body
        if isinstance(where, dict):
            spoilt = {**where, name: value}
            body = spoilt if where is body else {**body, "input": [*items, spoilt]}
    with contextlib.suppress(Refused):
        parsed = _refused_by_name(responses.parse, body)
        prepared = responses.prepare(parsed, model="m", extra_body={}, clean=str.strip)
        json.dumps(responses.with_feedback(prepared.body, "answer", "feedback"))
        over = _refused_by_name(chat.parse, responses.as_chat(body))
        chat.prepare(over, model="m", extra_body={}, clean=str.strip)


class Refused(Exception):
    """The request was refused, and the error named the field."""


def _refused_by_name(
    parse: Callable[[dict[str, Any]], ParsedRequest], body: dict[str, Any]
) -> ParsedRequest:
    try:
        return parse(body)
    except InvalidRequest as error:
        if not error.param:
            raise
        raise Refused from error
