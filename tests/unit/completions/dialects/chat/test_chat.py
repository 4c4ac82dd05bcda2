"""What a chat completion's frames say, and how a request is continued."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.dialects import chat
from completions.dialects.deltas import (
    CallPart,
    Delta,
    Done,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Text,
    Usage,
)
from completions.sse import ServerSentEvent


def frame(data: bytes | dict[str, Any]) -> ServerSentEvent:
    """A frame of a stream."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return ServerSentEvent(b"data: " + raw + b"\n\n", raw)


def said(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> Any:
    """What a chunk with this delta says."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return chat.read(frame({"id": "1", "choices": [choice]}))


@pytest.mark.parametrize(
    ("delta", "deltas"),
    [
        (None, ()),
        ({}, ()),
        ({"role": "assistant", "content": ""}, ()),
        ({"content": None}, ()),
        ({"content": "Hi"}, (Text("Hi"),)),
        ({"content": " "}, (Text(" "),)),
        ({"content": [{"type": "text", "text": "Hi"}]}, (Text("Hi"),)),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
            (Reasoning("Hm"),),
        ),
        ({"reasoning_content": "Hm"}, (Reasoning("Hm"),)),
        ({"reasoning": "Hm"}, (Reasoning("Hm"),)),
        ({"reasoning": "Hm", "content": "Hi"}, (Reasoning("Hm"), Text("Hi"))),
        ({"refusal": "No."}, (Refusal("No."),)),
    ],
)
def test_what_a_delta_says(delta: Any, deltas: tuple[Delta, ...]) -> None:
    """Empty ones say nothing; reasoning has two names; content may come as parts."""
    assert said(delta) == deltas


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}},
            CallPart(0, "c", "f", ""),
        ),
        ({"index": 2, "function": {"arguments": '{"a"'}}, CallPart(2, None, None, '{"a"')),
        ({"index": 0, "id": "", "function": {"name": None}}, CallPart(0, None, None, "")),
        (
            {"index": 0, "function": {"arguments": {"a": 1}}},
            CallPart(0, None, None, '{"a":1}', nonstandard=True),
        ),
        ({"index": 0}, CallPart(0, None, None, "")),
    ],
)
def test_what_a_part_of_a_call_says(part: Any, expected: CallPart) -> None:
    """Empty ids and names are none; arguments that are an object are written out."""
    assert said({"tool_calls": [part]}) == (expected,)


def test_the_end_and_what_it_cost() -> None:
    """A finish, usage and the terminator each say one thing."""
    assert said({}, "stop") == (Finish("stop"),)
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    assert chat.read(frame({"choices": [], "usage": usage})) == (Usage(usage),)
    assert chat.read(frame({"choices": [], "usage": None})) == ()
    assert chat.read(frame(b"[DONE]")) == (Done(),)
    assert chat.read(ServerSentEvent(b": keep-alive\n\n", b"")) == ()


def test_everything_in_one_frame() -> None:
    """In the order in which it counts: words, calls, then the end."""
    part = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    assert said({"content": "Hi", "tool_calls": [part]}, "tool_calls") == (
        Text("Hi"),
        CallPart(0, "c", "f", "{}"),
        Finish("tool_calls"),
    )


def test_a_whole_answer_is_read_alike() -> None:
    """From an upstream that does not stream: its message, its finish, and that nothing follows."""
    message = {"role": "assistant", "content": "Hi"}
    usage = {"total_tokens": 3}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
    assert chat.read(ServerSentEvent(b"", json.dumps(answer).encode())) == (
        Text("Hi"),
        Finish("stop"),
        Usage(usage),
        Done(),
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "Slow down.", "code": "rate_limit_exceeded"}, 429),
        ({"message": "Broken.", "type": "server_error", "code": None}, 502),
        ({"message": "Busy.", "code": 503}, 503),
        ({}, None),
        ("It broke.", 502),
        (["?"], 502),
    ],
)
def test_an_error_in_mid_stream(error: Any, status: int | None) -> None:
    """Keeps its words and gets the status that fits best; an empty one is none."""
    deltas = chat.read(frame({"error": error}))
    if status is None:
        assert deltas == ()
        return
    (failure,) = deltas
    assert isinstance(failure, Failure)
    assert failure.error.status == status
    if isinstance(error, dict):
        assert failure.error.message == error["message"]
    in_choice = said({}, error=error)
    assert isinstance(in_choice[0], Failure)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 600) | st.text(max_size=5) | st.just("stop"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("choices", "delta", "message", "content", "tool_calls", "function"),
                    *("name", "arguments", "index", "error", "usage", "finish_reason", "type"),
                    *("text", "thinking", "reasoning", "refusal", "code", "id"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(values.map(json.dumps).map(str.encode) | st.binary(max_size=40), st.booleans())
def test_no_frame_is_too_odd_to_be_read(data: bytes, streamed: bool) -> None:
    """Whatever an upstream sends: facts or a failure, and never an exception."""
    for delta in chat.read(ServerSentEvent(b"data: x\n\n" if streamed else b"", data)):
        for name in ("text", "arguments", "reason"):
            assert isinstance(getattr(delta, name, ""), str)


@given(values)
def test_no_choice_is_too_odd_to_be_read(choice: Any) -> None:
    """The same, deeper inside."""
    for delta in chat.read(frame({"choices": [choice]})):
        for name in ("text", "arguments", "reason"):
            assert isinstance(getattr(delta, name, ""), str)


def test_a_request_is_continued() -> None:
    """By what was said, if anything was, and a note; the request itself stays as it is."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}
    note = {"role": "user", "content": "Once more."}
    assert chat.with_feedback(body, "", "Once more.")["messages"] == [*body["messages"], note]
    assert chat.with_feedback(body, "Hi. ", "Once more.")["messages"] == [
        *body["messages"],
        {"role": "assistant", "content": "Hi. "},
        note,
    ]
    assert len(body["messages"]) == 1
