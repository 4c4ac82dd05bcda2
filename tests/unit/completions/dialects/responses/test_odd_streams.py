"""Responses streams that leave things out, come in any order, or are malformed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completions.dialects import responses
from completions.dialects.deltas import Call, CallPart, Chunk, Delta, Reasoning, Refusal, Text
from completions.dialects.responses.writer import ResponsesWriter
from completions.errors import UpstreamUnavailable
from completions.sse import DONE, ServerSentEvent, encode
from local.scripted.script import CallPiece, Decline, Done, Finish, Role, Say, Speech, Think
from tests.support.responses_rules import check, events_in, sdk_final, sse_events_of
from tests.support.responses_streams import TIME, WEATHER, chunks_of, relayed, request, upstream

# Servers that leave things out: each function turns OpenAI's events into theirs.

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
    """The least that voice platforms require: text deltas and the end, which has the calls."""
    kinds = {"response.output_text.delta", "response.completed", "response.incomplete"}
    return [event for event in events if event["type"] in kinds]


def _done_only(events: Events) -> Events:
    """Everything but deltas."""
    return [event for event in events if not event["type"].endswith(".delta")]


def _new_item_ids(events: Events) -> Events:
    """Some proxies: each event has a new item id."""
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
    """Return the same answer as that server sends it."""
    if server == "openai":
        return data
    events = SERVERS[server](events_in(data))
    return b"".join(encode(json.dumps(e).encode(), e["type"]) for e in events) + DONE


@pytest.mark.parametrize("server", SERVERS)
async def test_the_sdk_reads_every_servers_stream(server: str) -> None:
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


# Everything in any order

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
    # A model does not return to an earlier call.
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
def test_the_rules_hold_for_any_mixture(
    answers: list[tuple[list[Speech], str, int]], speakable: bool, ending: str, data: st.DataObject
) -> None:
    """Whatever is cut, filtered or interleaved, every rule holds and no word is lost."""
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
def test_no_malformed_event_breaks_the_stream(
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
