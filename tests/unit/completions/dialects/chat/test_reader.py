"""What the SSE events of a chat completion say."""

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


def sse(data: bytes | dict[str, Any]) -> ServerSentEvent:
    """An event of a stream."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return ServerSentEvent(b"data: " + raw + b"\n\n", raw)


def deltas_of(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> Any:
    """What an event with this delta says."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return chat.read(sse({"id": "1", "choices": [choice]}))


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
def test_a_delta_is_read(delta: Any, deltas: tuple[Delta, ...]) -> None:
    """An empty one says nothing; reasoning has two names; content may be a list of parts."""
    assert deltas_of(delta) == deltas


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
def test_a_piece_of_a_call_is_read(part: Any, expected: CallPart) -> None:
    """Empty ids and names are missing ones; arguments that are an object become a string."""
    assert deltas_of({"tool_calls": [part]}) == (expected,)


def test_finish_usage_and_terminator_are_read() -> None:
    """Each of them says one thing; keep-alives and null usage say nothing."""
    assert deltas_of({}, "stop") == (Finish("stop"),)
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    assert chat.read(sse({"choices": [], "usage": usage})) == (Usage(usage),)
    assert chat.read(sse({"choices": [], "usage": None})) == ()
    assert chat.read(sse(b"[DONE]")) == (Done(),)
    assert chat.read(ServerSentEvent(b": keep-alive\n\n", b"")) == ()


def test_one_event_may_say_everything() -> None:
    """Words come first, then calls, then the end."""
    part = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    assert deltas_of({"content": "Hi", "tool_calls": [part]}, "tool_calls") == (
        Text("Hi"),
        CallPart(0, "c", "f", "{}"),
        Finish("tool_calls"),
    )


def test_an_answer_that_was_not_streamed_is_read_alike() -> None:
    """It says its message, its finish, its usage, and that nothing follows."""
    message = {"role": "assistant", "content": "Hi"}
    usage = {"total_tokens": 3}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
    assert chat.read(ServerSentEvent(b"", json.dumps(answer).encode())) == (
        Text("Hi"),
        Finish("stop"),
        Usage(usage),
        Done(),
    )


@pytest.mark.parametrize("error", [{"message": "Busy.", "code": 503}, "It broke.", ["?"]])
def test_an_error_in_mid_stream_is_a_failure(error: Any) -> None:
    """It stands beside the choices or, from some servers, in one."""
    for deltas in (chat.read(sse({"error": error})), deltas_of({}, error=error)):
        assert [type(delta) for delta in deltas] == [Failure]


def test_an_empty_error_is_none() -> None:
    """Some servers send the field in every event."""
    assert chat.read(sse({"error": {}})) == ()


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
def test_no_event_raises(data: bytes, streamed: bool) -> None:
    """Whatever an upstream sends is read into deltas or a failure."""
    for delta in chat.read(ServerSentEvent(b"data: x\n\n" if streamed else b"", data)):
        for name in ("text", "arguments", "reason"):
            assert isinstance(getattr(delta, name, ""), str)


@given(values)
def test_no_choice_raises(choice: Any) -> None:
    """The same holds inside a choice."""
    for delta in chat.read(sse({"choices": [choice]})):
        for name in ("text", "arguments", "reason"):
            assert isinstance(getattr(delta, name, ""), str)
