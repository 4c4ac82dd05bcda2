"""The stream that a Responses client receives: its rules, and what the official SDK reads in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from openai import APIError

from completions.dialects import responses
from completions.dialects.deltas import Call, CallPart, Chunk, Delta, Reasoning, Text
from completions.errors import UpstreamRefused
from completions.sse import encode
from local.scripted.script import CallPiece, Decline, Done, Finish, Role, Say, Think
from tests.support.responses_rules import (
    check,
    events_in,
    sdk_events,
    sdk_final,
    sdk_stream,
    spoken_in,
)
from tests.support.responses_streams import TIME, WEATHER, chunks_of, relayed, request, upstream

USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


def test_a_healthy_stream_is_relayed_byte_for_byte_up_to_its_last_event() -> None:
    """Nothing is rewritten if nothing has to change."""
    steps = (Role(), Think("Hm."), Say("Hello"), Say(" you."), WEATHER, TIME, Finish(), Done())
    data = upstream(*steps)
    writer = responses.writer(request())
    out = relayed(writer, data)
    assert data.startswith(out)
    assert data.removeprefix(out).startswith(b"event: response.completed\n")
    check(out + writer.end("tool_calls", None))


def test_the_last_event_is_relayed_if_its_output_is_what_was_delivered() -> None:
    """An unchanged stream is OpenAI's to the last byte."""
    data = upstream(Role(), Say("Hello."), Finish(), Done())
    writer = responses.writer(request())
    out = relayed(writer, data) + writer.end("stop", None)
    assert out == data


async def test_the_sdk_reads_text() -> None:
    """Relayed words reach `output_text` of the SDK's final response."""
    writer = responses.writer(request())
    out = relayed(writer, upstream(Role(), Say("Hello"), Say(" you."), Finish(), Done()))
    out += writer.end("stop", USAGE)
    final = await sdk_final(out)
    assert (final.output_text, final.status, final.model) == ("Hello you.", "completed", "gpt")
    assert final.usage is not None
    assert final.usage.output_tokens == 2


async def test_buffer_words_are_an_item_of_their_own() -> None:
    """The SDK finds them before the answer, in a message that is closed."""
    writer = responses.writer(request())
    out = writer.buffer_words("One moment... ") + writer.buffer_words("Nearly there... ")
    out += relayed(writer, upstream(Role(), Say("It is"), Say(" noon."), Finish(), Done()))
    out += writer.end("stop", USAGE)
    output = check(out)
    assert [item["type"] for item in output] == ["message"] * 3
    final = await sdk_final(out)
    assert final.output_text == "One moment... Nearly there... It is noon."


async def test_the_sdk_reads_text_and_two_calls() -> None:
    """Text and parallel calls of one turn arrive whole, relayed or repaired."""
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
    """Reasoning has its own item, whether the upstream or a filter found it."""
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
    """A filter's deltas replace the event's, and no later event repeats the thought."""
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
    """Clients see no item for words that were all removed."""
    writer = responses.writer(request())
    out = writer.buffer_words("Hm... ")
    for one in chunks_of(upstream(Role(), Say("Hm... "), Finish(), Done())):
        out += writer.relay(
            Chunk(one.sse, (), unchanged=False) if Text("Hm... ") in one.deltas else one
        )
    out += writer.end("stop", None)
    assert len(check(out)) == 1


async def test_our_words_after_a_cut_continue_the_message() -> None:
    """They close the upstream's open message; the SDK sees an incomplete answer."""
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
    """Its ids and indices are adapted, and open items of the first one are closed."""
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
    """`response.failed` holds it, and then an error event, which client SDKs raise."""
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
    """The stream is complete without upstream events, and chat's usage is translated."""
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
    """Servers that do not know the name at first send it with the complete call."""
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
def test_text_of_an_odd_shape_is_rewritten(pieces: Sequence[bytes]) -> None:
    """It stays in its item, whose last event has the same text."""
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
