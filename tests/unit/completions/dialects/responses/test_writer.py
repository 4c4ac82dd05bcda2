"""The stream that a Responses client receives: its rules, and what the official SDK reads in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import APIError

from completions.dialects import responses
from completions.dialects.deltas import Call, CallPart, Chunk, Delta, Reasoning, Refusal, Text
from completions.dialects.request import ParsedRequest
from completions.dialects.responses.writer import ResponsesWriter
from completions.errors import UpstreamRefused, UpstreamUnavailable
from completions.sse import DONE, ServerSentEvent, encode
from local.scripted.script import CallPiece, Decline, Done, Finish, Role, Say, Speech, Think
from local.scripted.wires_responses import ResponsesStream
from tests.support.responses_rules import (
    check,
    events_in,
    sdk_events,
    sdk_final,
    sdk_stream,
    spoken_in,
    sse_events_of,
)

WEATHER = CallPiece(0, '{"city":', "get_weather", "call_1")
TIME = CallPiece(1, "{}", "get_time", "call_2")
USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


def request(*, speakable: bool = True) -> ParsedRequest:
    """A streamed request for the model `m`."""
    text = {} if speakable else {"text": {"format": {"type": "json_object"}}}
    return responses.parse({"model": "m", "input": "Hi", "stream": True, **text})


def upstream(*steps: Speech) -> bytes:
    """What OpenAI sends when its model says this, terminator and all."""
    wire = ResponsesStream("gpt")
    return b"".join(wire.render(step) for step in steps) + DONE


def chunks_of(data: bytes, source: int = 0) -> list[Chunk]:
    """The upstream's events as a turn has read them."""
    read = responses.reader()
    return [Chunk(sse, read(sse), source=source) for sse in sse_events_of(data)]


def relayed(writer: ResponsesWriter, data: bytes, source: int = 0) -> bytes:
    """What the writer makes of all of them."""
    return b"".join(writer.relay(one) for one in chunks_of(data, source))


def test_a_healthy_stream_is_relayed_byte_for_byte_up_to_its_last_event() -> None:
    """Nothing is written anew if nothing has to change."""
    steps = (Role(), Think("Hm."), Say("Hello"), Say(" you."), WEATHER, TIME, Finish(), Done())
    data = upstream(*steps)
    writer = responses.writer(request())
    out = relayed(writer, data)
    assert data.startswith(out)
    assert data.removeprefix(out).startswith(b"event: response.completed\n")
    check(out + writer.end("tool_calls", None))


def test_the_last_event_is_relayed_if_its_output_is_what_was_delivered() -> None:
    """A stream that nothing was changed in is OpenAI's to the last byte."""
    data = upstream(Role(), Say("Hello."), Finish(), Done())
    writer = responses.writer(request())
    out = relayed(writer, data) + writer.end("stop", None)
    assert out == data


async def test_the_sdk_reads_text() -> None:
    """Words relayed reach `output_text` of the SDK's final response."""
    writer = responses.writer(request())
    out = relayed(writer, upstream(Role(), Say("Hello"), Say(" you."), Finish(), Done()))
    out += writer.end("stop", USAGE)
    final = await sdk_final(out)
    assert (final.output_text, final.status, final.model) == ("Hello you.", "completed", "gpt")
    assert final.usage is not None
    assert final.usage.output_tokens == 2


async def test_buffer_words_are_an_item_of_their_own() -> None:
    """The SDK finds the buffer words before the answer, in a message that is closed."""
    writer = responses.writer(request())
    out = writer.buffer_words("One moment... ") + writer.buffer_words("Nearly there... ")
    out += relayed(writer, upstream(Role(), Say("It is"), Say(" noon."), Finish(), Done()))
    out += writer.end("stop", USAGE)
    output = check(out)
    assert [item["type"] for item in output] == ["message"] * 3
    final = await sdk_final(out)
    assert final.output_text == "One moment... Nearly there... It is noon."


async def test_the_sdk_reads_text_and_two_calls() -> None:
    """Text and parallel calls of one turn reach the SDK whole, relayed or repaired."""
    data = upstream(Role(), Say("Sure."), WEATHER, CallPiece(0, '"Paris"}'), TIME, Finish(), Done())
    writer = responses.writer(request())
    plain = relayed(writer, data) + writer.end("tool_calls", USAGE)
    writer = responses.writer(request())
    held = [one for one in chunks_of(data) if not any(isinstance(d, CallPart) for d in one.deltas)]
    repaired = b"".join(writer.relay(one) for one in held[:-2])
    repaired += writer.call(Call("call_1", "get_weather", '{"city":"Paris"}'))
    repaired += writer.call(Call("call_2", "get_time", "{}"))
    repaired += b"".join(writer.relay(one) for one in held[-2:]) + writer.end("tool_calls", USAGE)
    for out in (plain, repaired):
        check(out)
        final = await sdk_final(out)
        calls = [item for item in final.output if item.type == "function_call"]
        assert final.output_text == "Sure."
        assert [(c.call_id, c.name, json.loads(c.arguments)) for c in calls] == [
            ("call_1", "get_weather", {"city": "Paris"}),
            ("call_2", "get_time", {}),
        ]


async def test_the_sdk_reads_reasoning_apart_from_the_answer() -> None:
    """Reasoning stands in an item of its own, whether the upstream or a filter found it."""
    writer = responses.writer(request())
    relay = relayed(writer, upstream(Role(), Think("Noon?"), Say("Noon."), Finish(), Done()))
    relay += writer.end("stop", USAGE)
    writer = responses.writer(request())
    ours = writer.reasoning("No") + writer.reasoning("on?") + writer.text("Noon.")
    ours += writer.end("stop", USAGE)
    for out in (relay, ours):
        output = check(out)
        assert [item["type"] for item in output] == ["reasoning", "message"]
        assert "Noon?" in json.dumps(output[0])
        assert (await sdk_final(out)).output_text == "Noon."


def test_a_think_block_is_moved_out_of_its_message() -> None:
    """A filter's deltas replace the event's own, and nothing else repeats what it took out."""
    writer = responses.writer(request())
    deltas: tuple[Delta, ...]
    out = b""
    data = upstream(Role(), Say("<think>why"), Say("</think>Hello."), Finish(), Done())
    for one in chunks_of(data):
        if one.deltas == (Text("<think>why"),):
            deltas = (Reasoning("why"),)
        elif one.deltas == (Text("</think>Hello."),):
            deltas = (Text("Hello."),)
        else:
            deltas = one.deltas
        out += writer.relay(Chunk(one.sse, deltas, unchanged=deltas == one.deltas))
    out += writer.end("stop", USAGE)
    output = check(out)
    assert b"think>" not in out
    assert [item["type"] for item in output] == ["reasoning", "message"]
    assert spoken_in(output) == "Hello."


def test_a_message_that_a_filter_emptied_is_never_opened() -> None:
    """Clients see no item for words that were all taken away."""
    writer = responses.writer(request())
    out = writer.buffer_words("Hm... ")
    for one in chunks_of(upstream(Role(), Say("Hm... "), Finish(), Done())):
        out += writer.relay(
            Chunk(one.sse, (), unchanged=False) if Text("Hm... ") in one.deltas else one
        )
    out += writer.end("stop", None)
    assert len(check(out)) == 1


async def test_after_a_cut_the_same_message_goes_on() -> None:
    """A closing sentence ends the upstream's open message; the SDK sees an incomplete answer."""
    data = upstream(Role(), Say("The answer"), Finish("length"), Done())
    cut = [one for one in chunks_of(data) if b"delta" in one.sse.raw or b"added" in one.sse.raw]  # type: ignore[union-attr]
    writer = responses.writer(request())
    out = b"".join(writer.relay(one) for one in chunks_of(data)[:2] + cut)
    out += writer.text(" — sorry, I lost the line.") + writer.end("length", None)
    (item,) = check(out)
    assert spoken_in([item]) == "The answer — sorry, I lost the line."
    assert item["status"] == "incomplete"
    *_, last = await sdk_stream(out)
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.output_text.startswith("The answer")


def test_a_second_upstream_speaks_in_the_first_ones_stream() -> None:
    """Its ids and indices become this stream's; what the first one left open is closed."""
    writer = responses.writer(request())
    first = chunks_of(upstream(Role(), Say("The ans"), Finish(), Done()))
    out = b"".join(writer.relay(one) for one in first[:5])
    out += writer.text("... again: ")
    out += relayed(writer, upstream(Role(), Say("The answer."), Finish(), Done()), source=1)
    out += writer.end("stop", None)
    output = check(out)
    assert [spoken_in([item]) for item in output] == ["The ans... again: ", "The answer."]


@pytest.mark.parametrize("status", [429, 502])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_failure_is_raised_by_the_sdk_and_reported_to_others(
    status: int, begun: bool
) -> None:
    """The failure stands in `response.failed`, then in an error event that client SDKs raise."""
    writer = responses.writer(request())
    out = writer.text("Well, ") if begun else b""
    error = UpstreamRefused("Come back later.", status=status, code="too_busy")
    out += writer.failure(error)
    output = check(out)
    assert spoken_in(output) == ("Well, " if begun else "")
    failed, event = events_in(out)[-2:]
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["message"] == "Come back later."
    expected = "rate_limit_exceeded" if status == 429 else "server_error"
    assert failed["response"]["error"]["code"] == expected
    assert (event["message"], event["code"]) == ("Come back later.", "too_busy")
    for read in (sdk_events, sdk_stream, sdk_final):
        with pytest.raises(APIError, match=r"Come back later\."):
            await read(out)


async def test_a_refusal_is_spoken_in_a_speakable_turn() -> None:
    """In any other turn it stays a refusal."""
    data = upstream(Role(), Decline("I can"), Decline("not."), Finish(), Done())
    writer = responses.writer(request())
    spoken = relayed(writer, data) + writer.end("stop", None)
    assert spoken_in(check(spoken)) == "I cannot."
    assert (await sdk_final(spoken)).output_text == "I cannot."
    writer = responses.writer(request(speakable=False))
    refused = relayed(writer, data) + writer.end("stop", None)
    (item,) = check(refused)
    assert item["content"] == [{"type": "refusal", "refusal": "I cannot."}]
    assert (await sdk_final(refused)).output_text == ""


async def test_an_answer_made_over_chat_completions_is_the_whole_sequence() -> None:
    """Without any upstream event the stream is complete, and chat's usage is translated."""
    writer = responses.writer(request())
    out = writer.reasoning("Hm.") + writer.text("Sure, ") + writer.text("one moment.")
    out += writer.call(Call("call_1", "end_call", '{"reason":"done"}'))
    chat_usage = {
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    out += writer.end("tool_calls", chat_usage)
    kinds = [event["type"].removeprefix("response.") for event in events_in(out)]
    assert kinds == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    check(out)
    final = await sdk_final(out)
    assert final.usage is not None
    assert final.usage.to_dict() == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 14,
    }


def test_a_call_may_be_named_at_its_end() -> None:
    """Servers that announce a call before they know its name send the name when it is complete."""
    added = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "", "arguments": ""}
    steps: list[dict[str, Any]] = [
        {"type": "response.output_item.added", "output_index": 0, "item": added},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {**added, "name": "f", "arguments": "{}"},
        },
    ]
    writer = responses.writer(request())
    out = relayed(writer, b"".join(encode(json.dumps(e).encode(), e["type"]) for e in steps))
    (item,) = check(out + writer.end("tool_calls", None))
    assert (item["name"], item["call_id"], item["arguments"]) == ("f", "c1", "{}")


async def test_items_of_built_in_tools_are_relayed() -> None:
    """Their events get this stream's ids and numbers."""
    search = {"type": "web_search_call", "id": "ws_1", "status": "in_progress", "action": {}}
    done = {**search, "status": "completed"}
    at = {"item_id": "ws_1", "output_index": 0}
    steps = [
        {"type": "response.output_item.added", "output_index": 0, "item": search},
        {"type": "response.web_search_call.searching", **at},
        {"type": "response.web_search_call.completed", **at},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.rate_limits.updated", "left": 1},
    ]
    theirs = b"".join(encode(json.dumps(e).encode(), str(e["type"])) for e in steps)
    writer = responses.writer(request())
    out = writer.buffer_words("One moment... ") + relayed(writer, theirs)
    out += writer.text("Found it.") + writer.end("stop", None)
    kinds = [event["type"] for event in events_in(out)]
    assert {"response.web_search_call.searching", "response.rate_limits.updated"} <= set(kinds)
    output = check(out)
    assert output[1] == done
    assert (await sdk_final(out)).output_text == "One moment... Found it."


# Servers that leave things out: each function turns OpenAI's events into that server's.

Events = list[dict[str, Any]]


def _bare(events: Events) -> Events:
    """llama.cpp: no sequence numbers, no indices, a stub of a response, calls without an id."""
    left_out = {"sequence_number", "output_index", "content_index", "summary_index"}
    bare = [{k: v for k, v in event.items() if k not in left_out} for event in events]
    names = {
        event["item"]["id"]: event["item"]["call_id"]
        for event in bare
        if event.get("item", {}).get("type") == "function_call"
    }
    for event in bare:
        if event["type"] in {"response.created", "response.in_progress"}:
            event["response"] = {"id": event["response"]["id"], "status": "in_progress"}
        if event.get("item", {}).get("type") == "function_call":
            event["item"] = {k: v for k, v in event["item"].items() if k != "id"}
        if event.get("item_id") in names:
            event["item_id"] = names[event["item_id"]]
    return [event for event in bare if not event["type"].endswith("arguments.done")]


def _terse(events: Events) -> Events:
    """The least that voice platforms ask for: text deltas and the end, which has the calls."""
    kinds = {"response.output_text.delta", "response.completed", "response.incomplete"}
    return [event for event in events if event["type"] in kinds]


def _done_only(events: Events) -> Events:
    """Everything but deltas."""
    return [event for event in events if not event["type"].endswith(".delta")]


def _new_item_ids(events: Events) -> Events:
    """Some proxies: each event has an item id of its own."""
    return [
        {**event, "item_id": f"x{n}"} if "item_id" in event else event
        for n, event in enumerate(events)
    ]


def _openai(events: Events) -> Events:
    return events


SERVERS: dict[str, Callable[[Events], Events]] = {
    "openai": _openai,
    "bare": _bare,
    "terse": _terse,
    "done only": _done_only,
    "new item ids": _new_item_ids,
}


def as_served_by(data: bytes, server: str) -> bytes:
    """The same answer from another server."""
    if server == "openai":
        return data
    events = SERVERS[server](events_in(data))
    return b"".join(encode(json.dumps(e).encode(), e["type"]) for e in events) + DONE


@pytest.mark.parametrize("server", SERVERS)
async def test_every_server_s_answer_becomes_a_stream_that_the_sdk_reads(server: str) -> None:
    """What a server leaves out is filled in, and nothing is repeated or lost."""
    steps = (Role(), Think("Hm."), Say("Sure"), Say(", now."), WEATHER, CallPiece(0, '"Paris"}'))
    data = as_served_by(upstream(*steps, TIME, Finish(), Done()), server)
    writer = responses.writer(request())
    out = relayed(writer, data) + writer.end("tool_calls", None)
    check(out)
    final = await sdk_final(out)
    assert final.output_text == "Sure, now."
    calls = [item for item in final.output if item.type == "function_call"]
    assert [(call.call_id, call.name, call.arguments) for call in calls] == [
        ("call_1", "get_weather", '{"city":"Paris"}'),
        ("call_2", "get_time", "{}"),
    ]


# Everything in any order.

_WORDS = st.text(st.sampled_from("ab ÄÖ…\n<"), min_size=1, max_size=4)
_STEPS = st.lists(
    st.one_of(
        st.builds(Say, _WORDS),
        st.builds(Think, _WORDS),
        st.builds(Decline, _WORDS),
        st.builds(
            lambda n: CallPiece(n, '{"a":1}', "tool", f"call_{n}"),
            st.integers(0, 2),
        ),
    ),
    max_size=6,
    # A model does not take up a call again.
    unique_by=lambda step: step.index if isinstance(step, CallPiece) else object(),
)
_OURS = st.sampled_from(["", "", "", "text", "buffer_words", "reasoning", "call"])
_FILTERS = st.sampled_from(["keep", "keep", "keep", "drop", "change"])


def _own(writer: ResponsesWriter, kind: str) -> tuple[bytes, str]:
    if kind == "call":
        return writer.call(Call("call_1", "ours", "{}")), ""
    if kind == "reasoning":
        return writer.reasoning("why"), ""
    write = {"text": writer.text, "buffer_words": writer.buffer_words}.get(kind)
    return (write(f"[{kind}]"), f"[{kind}]") if write else (b"", "")


def _filtered(one: Chunk, how: str) -> Chunk:
    if how == "keep" or any(isinstance(delta, CallPart) for delta in one.deltas):
        return one
    words = (Text, Refusal)
    left: Sequence[Delta] = [delta for delta in one.deltas if not isinstance(delta, words)]
    if how == "change":
        spoken = [type(d)(d.text.upper() + "!") for d in one.deltas if isinstance(d, words)]
        left = [Reasoning("thought"), *spoken, *left]
    return Chunk(one.sse, tuple(left), unchanged=False, source=one.source)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(_STEPS, st.sampled_from(list(SERVERS)), st.integers(0, 60)), max_size=3),
    st.booleans(),
    st.sampled_from(["stop", "length", "failure"]),
    st.data(),
)
def test_the_rules_hold_whoever_speaks_in_whatever_order(
    answers: list[tuple[list[Speech], str, int]], speakable: bool, ending: str, data: st.DataObject
) -> None:
    """Cut anywhere, filtered, interrupted, from any server: every rule holds, no word is lost."""
    writer = responses.writer(request(speakable=speakable))
    out, expected = b"", ""
    for source, (steps, server, cut) in enumerate(answers):
        chunks = chunks_of(as_served_by(upstream(*steps, Finish(), Done()), server), source)[:cut]
        held = {index for index in range(3) if data.draw(st.booleans())}
        for one in chunks:
            written, words = _own(writer, data.draw(_OURS))
            out, expected = out + written, expected + words
            indices = {delta.index for delta in one.deltas if isinstance(delta, CallPart)}
            if indices & held and len(indices) == 1:
                continue
            passed = _filtered(one, data.draw(_FILTERS))
            out += writer.relay(passed)
            spoken = (Text, Refusal) if speakable else (Text,)
            expected += "".join(d.text for d in passed.deltas if isinstance(d, spoken))
    if ending == "failure":
        out += writer.failure(UpstreamUnavailable("Gone."))
    else:
        out += writer.end(ending, None)
    check(out)
    deltas = [e["delta"] for e in events_in(out) if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == expected
    assert (
        writer.end("stop", None) + writer.text("x") + writer.failure(UpstreamUnavailable("")) == b""
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "item_0", "message"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["id", "type", "text", "error", "output", "name"]), inner)
    ),
    max_leaves=4,
)
_FIELDS = st.sampled_from(
    [
        "type",
        "item",
        "item_id",
        "output_index",
        "content_index",
        "part",
        "delta",
        "response",
        "text",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), _FIELDS, _JSON), max_size=8), st.booleans())
def test_no_event_however_malformed_breaks_the_stream(
    spoils: list[tuple[int, str, Any]], buffered: bool
) -> None:
    """Fields of wrong types are ignored or corrected."""
    steps = (Role(), Think("Hm."), Say("Sure."), WEATHER, CallPiece(0, "1}"), Decline("No."))
    events = events_in(upstream(*steps, Finish(), Done()))
    for position, name, value in spoils:
        events[position % len(events)][name] = value
    writer = responses.writer(request(speakable=False))
    read = responses.reader()
    out = b""
    for event in events:
        data = json.dumps(event).encode()
        (sse,) = (
            [ServerSentEvent(b"", data)]
            if buffered
            else sse_events_of(encode(data, str(event["type"])))
        )
        out += writer.relay(Chunk(sse, read(sse)))
    out += writer.end("stop", None)
    events_in(out)
    numbers = [event["sequence_number"] for event in events_in(out)]
    assert numbers == list(range(len(numbers)))


def test_sse_events_without_a_responses_event_are_not_relayed() -> None:
    """Comments, junk and a second terminator never reach the client."""
    writer = responses.writer(request())
    junk = b": ping\n\nevent: x\n\ndata: nonsense\n\ndata: [1]\n\ndata: [DONE]\n\n"
    junk += b'data: {"type": "ping"}\n\nevent: heartbeat\ndata: {}\n\ndata: {}\n\n'
    assert relayed(writer, junk) == b""


@pytest.mark.parametrize(
    "pieces",
    [
        (rb'"Yes \ud83d"', rb'"\ude00."'),
        (b'"Yes \xf0\x9f"', b'"\x98\x80."'),
        (b'[{"type": "text", "text": "Yes "}]', '"😀."'.encode()),
    ],
)
def test_text_of_an_odd_shape_is_written_anew(pieces: Sequence[bytes]) -> None:
    """It stays in its item, whose end says the same."""
    steps = events_in(upstream(Role(), Say("Yes 😀."), Finish(), Done()))
    deltas = [event for event in steps if event["type"] == "response.output_text.delta"]
    begin, end = steps[: steps.index(deltas[0])], steps[steps.index(deltas[-1]) + 1 :]
    place = json.dumps({**deltas[0], "delta": 0}).encode()
    middle = [place.replace(b'"delta": 0', b'"delta": ' + piece) for piece in pieces]
    writer = responses.writer(request())
    events = [json.dumps(event).encode() for event in begin]
    events += middle + [json.dumps(event).encode() for event in end]
    out = relayed(writer, b"".join(b"data: " + data + b"\n\n" for data in events))
    (message,) = check(out + writer.end("stop", None))
    assert message["content"][0]["text"] == "Yes 😀."
