"""The rules of a Responses stream, and the official SDK's reading of one.

Written from platform.openai.com/docs/api-reference/responses-streaming, independently of the code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from openai.lib.streaming.responses import ResponseStreamEvent
from openai.types.responses import ParsedResponse
from openai.types.responses import ResponseStreamEvent as RawEvent

from completions.sse import Decoder, ServerSentEvent
from tests.support.sdk_http import client_of

ENDS = {"response.completed", "response.incomplete", "response.failed"}


def sse_events_of(data: bytes) -> list[ServerSentEvent]:
    """Cut the stream into server-sent events."""
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.flush()]


def events_in(data: bytes) -> list[dict[str, Any]]:
    """Return the events before the terminator, which must come once and last."""
    *sses, terminator = sse_events_of(data)
    assert terminator.data == b"[DONE]"
    assert all(sse.data != b"[DONE]" for sse in sses)
    events = [json.loads(sse.data) for sse in sses]
    assert [sse.event.decode() for sse in sses] == [event["type"] for event in events]
    return events


def check(data: bytes) -> list[dict[str, Any]]:
    """Assert every rule; return the final `output`."""
    events = events_in(data)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"] for event in events]
    assert kinds[0] == "response.created"
    assert kinds.count("response.created") == 1
    assert sum(kind in ENDS for kind in kinds) == 1
    assert kinds[-1] in {*ENDS, "error"}
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    assert len({event["response"]["model"] for event in events if "response" in event}) == 1
    final: dict[str, Any] = next(e["response"] for e in events if e["type"] in ENDS)
    _check_items(events, final["output"])
    return list(final["output"])


def _check_items(events: Sequence[dict[str, Any]], output: Sequence[dict[str, Any]]) -> None:
    items: dict[int, dict[str, Any]] = {}
    closed: dict[int, dict[str, Any]] = {}
    texts: dict[tuple[int, str, int], str] = {}
    done: set[tuple[int, str, int]] = set()
    for event in events:
        kind, index = event["type"], event.get("output_index")
        if index is None:
            continue
        if kind == "response.output_item.added":
            assert index == len(items), "indices count up and are unique"
            assert event["item"]["id"] not in {item["id"] for item in items.values()}
            items[index] = event["item"]
            continue
        assert index in items, "an item is announced before its other events"
        assert index not in closed, "a closed item has no further events"
        if kind == "response.output_item.done":
            assert event["item"]["id"] == items[index]["id"]
            assert {place for place in texts if place[0] == index} <= done
            closed[index] = event["item"]
            continue
        assert event["item_id"] == items[index]["id"]
        part = event.get("content_index", event.get("summary_index", 0))
        subject, verb = kind.removeprefix("response.").rsplit(".", 1)
        place = (index, subject.replace("_part", ""), part)
        if subject in {"content_part", "reasoning_summary_part"}:
            if verb == "added":
                assert place not in texts, "a part is announced once"
                texts[place] = ""
            else:
                text = event["part"].get("text", event["part"].get("refusal"))
                assert text == texts[place]
                done.add(place)
            continue
        if subject == "reasoning_summary_text":
            place = (index, "reasoning_summary", part)
        elif subject == "function_call_arguments":
            texts.setdefault(place, "")
        else:
            place = (index, "content", part)
        if verb == "delta":
            texts[place] += event["delta"]
        elif verb == "done":
            text = event.get("text", event.get("refusal", event.get("arguments")))
            assert text == texts[place]
            if subject == "function_call_arguments":
                done.add(place)
    assert closed.keys() == items.keys(), "every item is closed"
    assert list(output) == [closed[index] for index in sorted(closed)]
    for index, item in closed.items():
        if item["type"] == "function_call":
            assert item["arguments"] == texts.get((index, "function_call_arguments", 0), "")
        for list_field, name in (("content", "content"), ("summary", "reasoning_summary")):
            final_texts = [
                part.get("text", part.get("refusal")) for part in item.get(list_field) or ()
            ]
            parts = sorted(place for place in texts if place[:2] == (index, name))
            assert final_texts == [texts[place] for place in parts]


def spoken_in(output: Sequence[dict[str, Any]]) -> str:
    """Return what a caller hears."""
    return "".join(
        part["text"]
        for item in output
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    )


async def sdk_events(data: bytes) -> list[RawEvent]:
    """Return what `responses.create(stream=True)` yields."""
    async with client_of(data) as client:
        stream = await client.responses.create(model="m", input="Hi", stream=True)
        return [event async for event in stream]


async def sdk_stream(data: bytes) -> list[ResponseStreamEvent[None]]:
    """Return what the `responses.stream` helper yields."""
    async with client_of(data) as client, client.responses.stream(model="m", input="Hi") as stream:
        return [event async for event in stream]


async def sdk_final(data: bytes) -> ParsedResponse[None]:
    """Return what `get_final_response` of the stream helper returns."""
    async with client_of(data) as client, client.responses.stream(model="m", input="Hi") as stream:
        return await stream.get_final_response()
