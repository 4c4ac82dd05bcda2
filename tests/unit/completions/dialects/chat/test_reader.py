"""What the SSE events of a chat completion say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.dialects import chat
from completions.dialects.chat.reader import ChatReader
from completions.dialects.deltas import (
    CallPart,
    Delta,
    Done,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Rewrite,
    Text,
    Usage,
)
from completions.sse import ServerSentEvent


def sse(data: bytes | dict[str, Any]) -> ServerSentEvent:
    """An event of a stream."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return ServerSentEvent(b"data: " + raw + b"\n\n", raw)


def deltas_of(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> Any:
    """Read an event with this delta."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return chat.reader()(sse({"id": "1", "choices": [choice]}))


@pytest.mark.parametrize(
    ("delta", "deltas"),
    [
        (None, (Rewrite(),)),
        ({}, (Rewrite(),)),
        ({"content": None}, (Rewrite(),)),
        ({"role": "assistant", "content": ""}, ()),
        ({"content": "Hi"}, (Text("Hi"),)),
        ({"content": " "}, (Text(" "),)),
        ({"reasoning_content": "Hm"}, (Reasoning("Hm"),)),
        ({"reasoning": "Hm"}, (Reasoning("Hm"),)),
        ({"reasoning": "Hm", "content": "Hi"}, (Reasoning("Hm"), Text("Hi"))),
        ({"refusal": "No."}, (Refusal("No."),)),
        (
            {"content": "Hm", "extra_content": {"google": {"thought": True}}},
            (Reasoning("Hm"), Rewrite()),
        ),
        ({"content": "Hi", "extra_content": {"google": {"thought": False}}}, (Text("Hi"),)),
        ({"content": "Hi", "extra_content": {"google": None}}, (Text("Hi"),)),
        ({"content": "Hi", "extra_content": ["thought"]}, (Text("Hi"),)),
    ],
)
def test_a_delta_is_read(delta: Any, deltas: tuple[Delta, ...]) -> None:
    """An empty delta says nothing and need not be relayed; reasoning has two names."""
    assert deltas_of(delta) == deltas


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}},
            CallPart(0, "c", "f", ""),
        ),
        ({"index": 2, "function": {"arguments": '{"a"'}}, CallPart(2, None, None, '{"a"')),
        (
            {"index": 0, "function": {"arguments": {"a": 1}}},
            CallPart(0, None, None, '{"a":1}', nonstandard=True),
        ),
    ],
)
def test_a_piece_of_a_call_is_read(part: Any, expected: CallPart) -> None:
    """Arguments given as an object become a string."""
    assert deltas_of({"tool_calls": [part]}) == (expected,)


def test_finish_usage_and_terminator_are_read() -> None:
    """Keep-alives and null usage say nothing."""
    assert deltas_of({}, "stop") == (Finish("stop"),)
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    assert chat.reader()(sse({"choices": [], "usage": usage})) == (Usage(usage),)
    assert chat.reader()(sse({"choices": [], "usage": None})) == (Rewrite(),)
    assert chat.reader()(sse(b"[DONE]")) == (Done(),)
    assert chat.reader()(ServerSentEvent(b": keep-alive\n\n", b"")) == ()


def test_one_event_may_say_everything() -> None:
    """Words come first, then calls, then the end."""
    part = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    assert deltas_of({"content": "Hi", "tool_calls": [part]}, "tool_calls") == (
        Text("Hi"),
        CallPart(0, "c", "f", "{}"),
        Finish("tool_calls"),
    )


def test_a_whole_answer_is_read_like_a_stream() -> None:
    """It yields its message, its finish, its usage and the end."""
    message = {"role": "assistant", "content": "Hi"}
    usage = {"total_tokens": 3}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    answer = {**head, "choices": [choice], "usage": usage}
    assert chat.reader()(ServerSentEvent(b"", json.dumps(answer).encode())) == (
        Text("Hi"),
        Finish("stop"),
        Usage(usage),
        Done(),
    )


@pytest.mark.parametrize("usage", [7, [7], "7"])
def test_usage_of_an_odd_shape_costs_no_words(usage: Any) -> None:
    """Such usage is dropped, and the rest of its event is read."""
    choice = {"index": 0, "delta": {"content": "Hi"}}
    for event in ({"choices": [choice], "usage": usage}, {"choices": [{**choice, "usage": usage}]}):
        assert chat.reader()(sse(event)) == (Text("Hi"), Rewrite())


def test_text_is_read_where_the_older_api_had_it() -> None:
    """Each event adds to it, as a delta does."""
    read = chat.reader()
    for text in ("Hi ", "there"):
        assert read(sse({"choices": [{"index": 0, "text": text}]})) == (Text(text), Rewrite())


def test_usage_is_read_in_the_last_choice() -> None:
    """Moonshot puts it there; clients look for it beside the choices."""
    choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"total_tokens": 3}}
    deltas = chat.reader()(sse({"choices": [choice]}))
    assert deltas == (Finish("stop"), Usage({"total_tokens": 3}), Rewrite())


@pytest.mark.parametrize("error", [{"message": "Busy.", "code": 503}, "It broke.", ["?"]])
def test_an_error_in_mid_stream_is_a_failure(error: Any) -> None:
    """It stands beside the choices or, from some servers, in one."""
    for deltas in (chat.reader()(sse({"error": error})), deltas_of({}, error=error)):
        assert [type(delta) for delta in deltas] == [Failure]


def test_an_empty_error_is_ignored() -> None:
    """Some servers send the field in every event."""
    assert chat.reader()(sse({"error": {}})) == (Rewrite(),)


# -- what only tolerant clients understand


def read_all(*choices: dict[str, Any], single: bool = True) -> list[Delta]:
    """Read one event for each choice, and return all deltas."""
    read = ChatReader(single=single).read
    return [delta for one in choices for delta in read(sse({"choices": [one]}))]


def word(text: Any, finish: Any = None, index: int = 0) -> dict[str, Any]:
    """A choice with this content."""
    return {"index": index, "delta": {"content": text}, "finish_reason": finish}


@pytest.mark.parametrize(
    ("content", "deltas"),
    [
        ([{"type": "text", "text": "Hi"}], [Text("Hi")]),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}], [Reasoning("Hm")]),
        ([{"type": "reference", "reference_ids": [1]}], []),
    ],
)
def test_content_may_be_a_list_of_parts(content: Any, deltas: list[Delta]) -> None:
    """Text is text, thinking is reasoning, and the event is rewritten."""
    assert read_all(word(content)) == [*deltas, Rewrite()]
    message = {"index": 0, "message": {"content": content}, "finish_reason": "stop"}
    whole = ServerSentEvent(b"", json.dumps({"choices": [message]}).encode())
    assert chat.reader()(whole) == (*deltas, Finish("stop"), Done(), Rewrite())


def test_reasoning_may_be_a_list_of_parts() -> None:
    """Its text is reasoning."""
    delta = {"reasoning_content": [{"type": "text", "text": "Hm"}]}
    assert deltas_of(delta) == (Reasoning("Hm"), Rewrite())


@pytest.mark.parametrize("nothing", ["", "null", " ", False, 0])
def test_an_empty_finish_reason_is_removed(nothing: Any) -> None:
    """Some servers send one in each event, which strict clients take for the end."""
    deltas = read_all(word("Hi", nothing), word(" there.", nothing), word("", "stop"))
    assert deltas == [Text("Hi"), Rewrite(), Text(" there."), Rewrite(), Finish("stop")]


def test_a_finish_in_the_servers_own_words_is_translated() -> None:
    """The event is rewritten, since clients know only four words."""
    assert read_all(word("Hi"), word("", "MAX_TOKENS")) == [
        Text("Hi"),
        Finish("length"),
        Rewrite(),
    ]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_finish_may_be_a_failure(streamed: bool) -> None:
    """In a stream it cuts the answer off; a whole answer that failed yields nothing else."""
    if streamed:
        *_, failure = read_all(word("We are"), word("", "error"))[:2]
    else:
        choice = {"index": 0, "message": {"content": "We are"}, "finish_reason": "abort"}
        (failure,) = chat.reader()(ServerSentEvent(b"", json.dumps({"choices": [choice]}).encode()))
    assert isinstance(failure, Failure)


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    "behind",
    [
        {"choices": [word(" closed.")]},
        {"choices": [word("", "length")]},
        {"error": {"message": "The stream is closed."}},
        {"choices": [{"index": 0, "delta": {}, "error": {"message": "Closed."}}]},
        b"stream closed",
        b"[]",
    ],
)
def test_a_finish_ends_the_answer(behind: Any, single: bool) -> None:
    """What follows does not change that; usage and the terminator are still read."""
    read = ChatReader(single=single).read
    read(sse({"choices": [word("Yes.", "stop")]}))
    assert read(sse(behind)) == (Rewrite(),)
    usage = {"total_tokens": 3}
    assert read(sse({"choices": [], "usage": usage})) == (Usage(usage),)
    assert read(sse(b"[DONE]")) == (Done(),)


def test_each_of_several_answers_has_its_own_finish() -> None:
    """The end of one leaves the others alone."""
    deltas = read_all(word("A", "stop"), word("B", index=1), word("", "stop", 1), single=False)
    assert deltas == [Text("A"), Finish("stop"), Text("B"), Finish("stop")]


def test_choices_that_were_not_asked_for_are_dropped() -> None:
    """Their words belong to another answer."""
    both = {"choices": [word("no", index=1), word(" is.")]}
    deltas = read_all(word("It"), word("So", index=1), word("", "stop", 1))
    assert deltas == [Text("It"), Rewrite(), Rewrite()]
    assert ChatReader(single=True).read(sse(both)) == (Text(" is."), Rewrite())


def test_the_first_choice_counts_whatever_its_index() -> None:
    """It is the answer, and its event is rewritten."""
    for index in (1, None, "0"):
        choice = {**word("Hi"), "index": index}
        assert read_all(choice, choice) == [Text("Hi"), Rewrite()] * 2


@pytest.mark.parametrize("beside", [{}, {"delta": {}}, {"delta": {"content": ""}}])
def test_a_message_after_the_deltas_adds_only_what_they_lacked(beside: dict[str, Any]) -> None:
    """A last event may repeat the whole answer."""
    message = {"content": "Yes.", "reasoning_content": "Hm."}
    last = {"index": 0, "message": message, "finish_reason": "stop", **beside}
    assert read_all(word("Yes."), last) == [
        Text("Yes."),
        Reasoning("Hm."),
        Finish("stop"),
        Rewrite(),
    ]
    assert read_all(last)[:2] == [Reasoning("Hm."), Text("Yes.")]


@pytest.mark.parametrize(
    "data",
    [
        *(b": OPENROUTER PROCESSING", b"2026-11-28T10:00:00Z", b'{"cho', b"[]", b'"ping"', b"7"),
        *(b"null", b'{"choices": {"a": 1}}', b'{"choices": ["x"]}', b'{"choices": []}'),
        b'{"type": "ping"}',
    ],
)
def test_an_event_that_says_nothing_is_skipped(data: bytes) -> None:
    """In a stream with others it is neither relayed nor a failure."""
    read = chat.reader()
    for text in ("Yes, ", "until six."):
        assert read(sse(data)) == (Rewrite(),)
        assert read(sse({"choices": [word(text)]})) == (Text(text),)


def test_only_unreadable_events_are_no_answer() -> None:
    """Their terminator is a failure, as is an error that is no JSON."""
    read = chat.reader()
    read(sse(b"<html>"))
    (failure,) = read(sse(b"[DONE]"))
    assert isinstance(failure, Failure)
    (failure,) = chat.reader()(ServerSentEvent(b"event: error\n", b"Oh no", b"error"))
    assert isinstance(failure, Failure)


@pytest.mark.parametrize("spelling", [b"[DONE] ", b"[done]"])
def test_the_terminator_may_be_misspelt(spelling: bytes) -> None:
    """A trailing space occurs in the wild."""
    assert chat.reader()(sse(spelling)) == (Done(),)


def test_an_event_may_be_framed_twice() -> None:
    """A framework that frames its input again turns an event into `data: data: {…}`."""
    reader = ChatReader(single=True)
    event = json.dumps({"choices": [{"index": 0, "delta": {"content": "Yes."}}]})
    assert reader.read(sse(f"data: {event}\n\n".encode())) == (Text("Yes."), Rewrite())
    assert reader.read(sse(b"data: data: [DONE]")) == (Done(), Rewrite())


def test_a_character_in_two_events_is_joined() -> None:
    """Both events are rewritten, and later ones are read as before."""
    read = chat.reader()
    halves = [rb"Yes \ud83d", rb"\ude00 until", rb" six."]
    events = [b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % half for half in halves]
    deltas = [read(sse(event)) for event in events]
    assert deltas == [(Text("Yes "), Rewrite()), (Text("😀 until"), Rewrite()), (Text(" six."),)]


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
    """Anything an upstream sends becomes deltas, is skipped, or is a failure."""
    for delta in chat.reader()(ServerSentEvent(b"data: x\n\n" if streamed else b"", data)):
        for name in ("text", "arguments", "reason"):
            assert isinstance(getattr(delta, name, ""), str)


@given(values, st.booleans())
def test_no_choice_raises(choice: Any, single: bool) -> None:
    """The same holds for a choice, whether first or later."""
    read = ChatReader(single=single).read
    for choices in ([choice], [word("Hi")], [choice], choice):
        for delta in read(sse({"choices": choices})):
            for name in ("text", "arguments", "reason"):
                assert isinstance(getattr(delta, name, ""), str)
