"""What the SSE events of a Responses answer say, whether a server sends all of them or few."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.dialects import responses
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
from completions.sse import DONE, Decoder, ServerSentEvent
from local.scripted import script
from local.scripted.wires_responses import ResponsesStream, ResponsesWhole


def sse(event: dict[str, Any]) -> ServerSentEvent:
    """One event as a server sends it."""
    data = json.dumps(event).encode()
    return ServerSentEvent(b"data: " + data + b"\n\n", data)


def read(*events: dict[str, Any]) -> list[Delta]:
    """Read these events of one answer, in order."""
    read_event = responses.reader()
    return [delta for event in events for delta in read_event(sse(event))]


def wire(*steps: script.Speech) -> list[tuple[Delta, ...]]:
    """Return the deltas of each of OpenAI's events when its model says this."""
    stream = ResponsesStream("gpt")
    data = b"".join(stream.render(step) for step in steps) + DONE
    read_event = responses.reader()
    return [read_event(one) for one in Decoder().feed(data)]


def flat(events: Sequence[tuple[Delta, ...]]) -> list[Delta]:
    """All deltas."""
    return [delta for deltas in events for delta in deltas]


def item(kind: str, verb: str = "done", /, **fields: Any) -> dict[str, Any]:
    """An `output_item` event."""
    return {"type": f"response.output_item.{verb}", "item": {"type": kind, **fields}}


def ended(status: str = "completed", **fields: Any) -> dict[str, Any]:
    """A last event."""
    return {"type": f"response.{status}", "response": {"status": status, **fields}}


MESSAGE: dict[str, Any] = {"content": [{"type": "output_text", "text": "Hello."}]}
CALL: dict[str, Any] = {"call_id": "call_1", "name": "f", "arguments": '{"a":1}'}


def test_openais_events_are_read_once() -> None:
    """The protocol repeats each word four times; only the first counts."""
    usage = {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    events = wire(
        script.Role(),
        script.Think("Hm."),
        script.Say("Hel"),
        script.Say("lo."),
        script.CallPiece(0, '{"a"', "f", "call_1"),
        script.CallPiece(0, ":1}"),
        script.CallPiece(1, "{}", "g", "call_2"),
        script.Finish("tool_calls"),
        script.Done(),
    )
    deltas = [delta for delta in flat(events) if delta != Reasoning("")]
    assert [delta for delta in deltas if not isinstance(delta, CallPart) or delta.arguments] == [
        Reasoning("Hm."),
        Text("Hel"),
        Text("lo."),
        CallPart(0, None, None, '{"a"'),
        CallPart(0, None, None, ":1}"),
        CallPart(1, None, None, "{}"),
        Usage(usage),
        Finish("tool_calls"),
        Done(),
        Done(),
    ]
    named = [delta for delta in deltas if isinstance(delta, CallPart) and delta.name]
    assert named == [CallPart(0, "call_1", "f", ""), CallPart(1, "call_2", "g", "")]


def test_every_event_of_a_call_is_a_part_of_it() -> None:
    """A turn that holds a call back also holds back its last events."""
    events = wire(
        script.Role(), script.CallPiece(0, "{}", "f", "c"), script.Finish(), script.Done()
    )
    *_, added, delta, arguments_done, item_done, completed, _ = events
    for deltas in (added, delta, arguments_done, item_done):
        assert [type(one) for one in deltas] == [CallPart]
    assert not any(isinstance(one, CallPart) for one in completed)


def test_announced_reasoning_is_a_sign_of_life() -> None:
    """Models without a summary send nothing else while they think."""
    assert read(item("reasoning", "added", summary=[])) == [Reasoning("")]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([{"type": "response.output_text.done", "text": "Hello."}], [Text("Hello.")]),
        ([item("message", **MESSAGE)], [Text("Hello.")]),
        (
            [{"type": "response.output_text.done", "text": "Hello."}, item("message", **MESSAGE)],
            [Text("Hello.")],
        ),
        (
            [{"type": "response.output_text.delta", "delta": "Hello."}] * 2
            + [{"type": "response.output_text.done", "text": "Hello.Hello."}],
            [Text("Hello.")] * 2,
        ),
        ([item("message", **MESSAGE)] * 2, [Text("Hello.")] * 2),
        (
            [item("message", content=[{"type": "refusal", "refusal": "No."}])],
            [Refusal("No.")],
        ),
        ([{"type": "response.refusal.done", "refusal": "No."}], [Refusal("No.")]),
        (
            [item("reasoning", summary=[{"type": "summary_text", "text": "Hm."}])],
            [Reasoning("Hm.")],
        ),
        (
            [{"type": "response.reasoning_text.delta", "delta": "Hm."}],
            [Reasoning("Hm.")],
        ),
        (
            [ended(output=[{"type": "message", **MESSAGE}])],
            [Text("Hello."), Finish("stop"), Done()],
        ),
    ],
)
def test_text_is_read_from_the_first_event_that_has_it(
    events: list[dict[str, Any]], expected: list[Delta]
) -> None:
    """Servers differ in which events they send."""
    assert read(*events) == expected


@pytest.mark.parametrize(
    "events",
    [
        [item("function_call", **CALL)],
        [item("function_call", "added", **CALL), item("function_call", **CALL)],
        [
            item("function_call", "added", **{**CALL, "arguments": ""}),
            {"type": "response.function_call_arguments.done", "arguments": '{"a":1}'},
            item("function_call", **CALL),
        ],
        [
            item("function_call", "added", **{**CALL, "arguments": ""}),
            {"type": "response.function_call_arguments.delta", "delta": '{"a":1}'},
            {"type": "response.function_call_arguments.done", "arguments": '{"a":1}'},
            item("function_call", **CALL),
            ended(output=[{"type": "function_call", **CALL}]),
        ],
        [item("function_call", "added", **CALL), ended(output=[])],
        [ended(output=[{"type": "function_call", **CALL}])],
        [item("function_call", "added", call_id="call_1"), item("function_call", **CALL)],
        [item("function_call", **{**CALL, "arguments": {"a": 1}})],
    ],
)
def test_a_call_is_read_once_whatever_events_hold_it(events: list[dict[str, Any]]) -> None:
    """It has one name, one id, and its arguments once."""
    parts = [delta for delta in read(*events) if isinstance(delta, CallPart)]
    assert {part.index for part in parts} == {0}
    assert [part.id for part in parts if part.id][-1] == "call_1"
    assert {part.name for part in parts if part.name} == {"f"}
    assert json.loads("".join(part.arguments for part in parts)) == {"a": 1}


def test_parallel_calls_are_told_apart_by_index_else_by_item_id() -> None:
    """Interleaved deltas find their call even if the index or the id is useless."""
    delta = "response.function_call_arguments.delta"
    for by in ({"output_index": 1}, {"item_id": "fc_1"}, {"output_index": 1, "item_id": "random"}):
        first = {**item("function_call", "added", id="fc_1", call_id="a", name="f")}
        second = {**item("function_call", "added", id="fc_2", call_id="b", name="g")}
        deltas = read(
            {**first, "output_index": 1},
            {**second, "output_index": 2},
            {"type": delta, "delta": "{}", **by},
        )
        assert deltas[-1] == CallPart(0, None, None, "{}")


@pytest.mark.parametrize(
    ("event", "finish"),
    [
        (ended(), "stop"),
        (ended("incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (ended("incomplete", incomplete_details={"reason": "content_filter"}), "content_filter"),
        (ended("incomplete"), "length"),
        ({"type": "response.completed", "response": {"status": "incomplete"}}, "length"),
        ({"type": "response.completed"}, "stop"),
    ],
)
def test_the_last_event_is_both_finish_and_end(event: dict[str, Any], finish: str) -> None:
    """OpenAI's own API sends no terminator after it."""
    assert read(event) == [Finish(finish), Done()]


@pytest.mark.parametrize("verb", ["completed", "failed", "incomplete"])
def test_the_end_of_a_built_in_tool_is_not_the_end(verb: str) -> None:
    """A turn does not need `response.mcp_call.failed` and the like."""
    for tool in ("mcp_call", "web_search_call", "image_generation_call"):
        assert read({"type": f"response.{tool}.{verb}", "item_id": "x", "output_index": 0}) == []


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "m"}, 429, None),
        ({"type": "error", "error": {"code": "server_error", "message": "m"}}, 500, None),
        ({"type": "error", "message": "m"}, 502, "upstream_502"),
        (ended("failed", error={"code": "rate_limit_exceeded", "message": "m"}), 429, None),
        (ended("failed", error={"code": "server_error", "message": "m"}), 500, None),
        (ended("cancelled", error={"message": "m"}), 502, "upstream_502"),
        ({"error": {"message": "m", "code": 503}}, 503, "503"),
    ],
)
def test_a_failure_gets_the_most_specific_status(
    event: dict[str, Any], status: int, code: str | None
) -> None:
    """It is read from each shape of this protocol and from that of Chat Completions."""
    (delta,) = read(event)
    assert isinstance(delta, Failure)
    assert (delta.error.status, delta.error.message) == (status, "m")
    if code:
        assert delta.error.code == code


def test_a_whole_answer_is_read_like_a_stream() -> None:
    """It yields the same deltas as its stream would."""
    whole = ResponsesWhole("gpt")
    for step in (
        script.Think("Hm."),
        script.Say("Hello."),
        script.CallPiece(0, "{}", "f", "call_1"),
    ):
        whole.render(step)
    deltas = responses.reader()(ServerSentEvent(b"", whole.whole()))
    assert deltas[:2] == (Reasoning("Hm."), Text("Hello."))
    assert deltas[2:4] == (CallPart(0, "call_1", "f", ""), CallPart(0, None, None, "{}"))
    assert isinstance(deltas[4], Usage)
    assert deltas[5:] == (Finish("tool_calls"), Done())


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"error": {"message": "m"}}', b'{"output": [1]}']
)
def test_a_body_that_is_no_answer_is_a_failure(body: bytes) -> None:
    """It neither raises nor reads as silence."""
    assert any(
        isinstance(delta, Failure) for delta in responses.reader()(ServerSentEvent(b"", body))
    )


@pytest.mark.parametrize("data", [b"", b"[DONE] ", b"[done]", b'{"type": "x.y"}'])
def test_other_events_say_nothing(data: bytes) -> None:
    """Comments and unknown events yield nothing; the terminator may be misspelt."""
    deltas = responses.reader()(ServerSentEvent(b"data: " + data + b"\n\n", data))
    assert deltas in {(), (Done(),)}


@pytest.mark.parametrize("data", [b"{", b"[1]", b"null", b": PROCESSING", b'{"type": 1}', b'"x"'])
def test_an_unreadable_event_is_skipped(data: bytes) -> None:
    """Among others it is neither relayed nor a failure; alone it is no answer."""
    junk = ServerSentEvent(b"data: " + data + b"\n\n", data)
    terminator = ServerSentEvent(DONE, b"[DONE]")
    read_event = responses.reader()
    assert read_event(junk) == (Rewrite(),)
    (failure,) = read_event(terminator)
    assert isinstance(failure, Failure)
    assert read_event(sse({"type": "response.output_text.delta", "delta": "Hi"})) == (Text("Hi"),)
    assert read_event(terminator) == (Done(),)
    (failure,) = responses.reader()(junk._replace(event=b"error"))
    assert isinstance(failure, Failure)


@pytest.mark.parametrize("text", [[{"type": "text", "text": "Hi"}], {"text": "Hi"}, ["Hi"]])
def test_a_delta_may_be_a_list_of_parts(text: Any) -> None:
    """Text is text, and the event is rewritten."""
    delta = {"type": "response.output_text.delta", "delta": text}
    assert read(delta) == [Text("Hi"), Rewrite()]
    done = {"type": "response.output_text.done", "text": "Hi"}
    assert read(delta, done) == [Text("Hi"), Rewrite()]


def test_content_may_be_a_string() -> None:
    """It is the item's text, or its reasoning if the item is reasoning."""
    assert read(item("message", content="Hi")) == [Text("Hi"), Rewrite()]
    assert read(item("reasoning", content="Hm")) == [Reasoning("Hm"), Rewrite()]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *(("max_output_tokens", "length"), ("max_tokens", "length"), (None, "length")),
        *(("content_filter", "content_filter"), ("SAFETY", "content_filter")),
        ("something new", "length"),
    ],
)
def test_an_incomplete_answer_says_why(reason: str | None, finish: str) -> None:
    """An unknown reason still means that something is missing."""
    deltas = read(ended("incomplete", incomplete_details={"reason": reason}))
    assert deltas == [Finish(finish), Done()]


def test_an_incomplete_answer_may_be_a_failure() -> None:
    """In a stream it cuts the answer off; a whole answer that failed yields nothing else."""
    message = {"type": "message", "content": [{"type": "output_text", "text": "We are"}]}
    event = ended("incomplete", incomplete_details={"reason": "abort"}, output=[message])
    assert [type(delta) for delta in read(event)] == [Text, Failure]
    whole = json.dumps(event["response"]).encode()
    assert [type(delta) for delta in responses.reader()(ServerSentEvent(b"", whole))] == [Failure]


def test_a_character_in_two_events_is_joined() -> None:
    """Both events are rewritten, and later ones are read as before."""
    read_event = responses.reader()
    pieces = [rb"Yes \ud83d", rb"\ude00 until", rb" six."]
    event = b'{"type": "response.output_text.delta", "delta": "%s"}'
    deltas = [read_event(ServerSentEvent(b"data: x\n\n", event % piece)) for piece in pieces]
    assert deltas == [(Text("Yes "), Rewrite()), (Text("😀 until"), Rewrite()), (Text(" six."),)]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "call_id", "type", "text", "content", "summary", "output", "error"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "response.output_item.added",
                    "response.output_item.done",
                    "response.output_text.delta",
                    "response.function_call_arguments.delta",
                    "response.function_call_arguments.done",
                    "response.completed",
                    "response.failed",
                    "error",
                ]
            ),
            st.dictionaries(
                st.sampled_from(["item", "delta", "arguments", "response", "output_index", "code"]),
                _JSON | st.just({"type": "function_call"}),
            ),
        ),
        max_size=4,
    )
)
def test_no_event_raises(events: list[tuple[str, dict[str, Any]]]) -> None:
    """Any fields are read into deltas or a failure."""
    for delta in read(*({**fields, "type": kind} for kind, fields in events)):
        assert isinstance(delta, Delta)
