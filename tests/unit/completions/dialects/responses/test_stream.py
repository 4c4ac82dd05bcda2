"""The record that a Responses stream keeps of itself."""

from __future__ import annotations

import json

from completions.dialects import responses
from completions.dialects.responses.output import OUTPUT_TEXT, OutputItem, new_message
from completions.dialects.responses.stream import Event, ResponsesStream
from completions.sse import ServerSentEvent, encode
from tests.support.responses_rules import sse_events_of

REQUEST = responses.parse({"model": "m", "input": "Hi", "stream": True})


def stream() -> ResponsesStream:
    """A stream before its first event."""
    return ResponsesStream(REQUEST)


def sse_of(event: Event) -> ServerSentEvent:
    """The event as an upstream sends it."""
    (sse,) = sse_events_of(encode(json.dumps(event).encode(), event["type"]))
    return sse


def types_in(data: bytes) -> list[str]:
    """The types of the events written."""
    return [sse.event.decode().removeprefix("response.") for sse in sse_events_of(data)]


def test_a_stream_begins_once() -> None:
    """The two opening events precede whatever is written first."""
    own = stream()
    out = own.write("response.rate_limits.updated", {}) + own.begin()
    assert types_in(out) == ["created", "in_progress", "rate_limits.updated"]


def test_the_first_response_is_adopted() -> None:
    """A stub gets the fields that the SDK requires; a second response is ignored."""
    own = stream()
    assert own.adopt({"id": "resp_1", "model": None, "tier": "x"})
    assert (own.response["id"], own.response["model"], own.response["tier"]) == ("resp_1", "m", "x")
    assert (own.response["object"], own.response["output"]) == ("response", [])
    assert not own.adopt({"id": "resp_2"})
    assert own.response["id"] == "resp_1"


def test_an_id_that_is_taken_is_replaced() -> None:
    """Two upstreams may use the same one."""
    own = stream()
    items = [OutputItem({**new_message(), "id": "msg_1"}, source) for source in (0, 1)]
    for item in items:
        own.open_item(item)
    assert items[0].id == "msg_1" != items[1].id
    assert [item.index for item in items] == [0, 1]


def test_text_opens_its_item_and_its_part() -> None:
    """The first word opens them, and closing them repeats all words."""
    own = stream()
    own.begin()
    item = OutputItem(new_message())
    out = own.add_text(item, OUTPUT_TEXT, "Hel") + own.add_text(item, OUTPUT_TEXT, "lo.")
    out += own.close_all("completed")
    assert types_in(out) == [
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
    ]
    assert own.output[0]["content"][0]["text"] == "Hello."


def test_an_item_that_was_never_opened_is_not_closed() -> None:
    """A message without a word leaves nothing in the output."""
    own = stream()
    assert own.close_item(OutputItem(new_message()), "completed", None, {}) == b""
    assert own.output == []


def test_an_event_is_relayed_only_if_it_agrees() -> None:
    """Its bytes pass if its sequence number and fields are right; otherwise it is corrected."""
    own = stream()
    own.begin()
    event = {"type": "response.x", "sequence_number": 2, "output_index": 0, "more": 1}
    sse = sse_of(event)
    assert own.relay(sse, event, {"output_index": 0}) == sse.raw
    (corrected,) = sse_events_of(own.relay(sse, event, {"output_index": 0}))
    assert json.loads(corrected.data) == {**event, "sequence_number": 3}
