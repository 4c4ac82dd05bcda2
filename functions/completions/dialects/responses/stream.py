"""One Responses stream that obeys the protocol, for an upstream's words and our own.

Strict clients want one `response.created`, one response id, output indices that are unique,
`item_id`s that were announced, sequence numbers without gaps, and a last event whose `output` is
what the deltas said (platform.openai.com/docs/api-reference/responses-streaming; the official
SDK's stream helper raises on most violations). So this module keeps a record of the items and
parts that are open and of the text in them. An upstream's event is relayed as it came if it
agrees with the record; otherwise it is rewritten with the fields corrected.

An upstream's message and its parts are opened only with their first word, because a filter may
remove every word. Does not know what a turn wants.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic_core import to_json

from completions.dialects.request import ParsedRequest
from completions.dialects.responses.events import ARGUMENTS_DELTA, ARGUMENTS_DONE
from completions.dialects.responses.ids import new_id
from completions.dialects.responses.output import (
    OUTPUT_TEXT,
    OutputItem,
    TextKind,
    TextPart,
    new_response,
)
from completions.dialects.responses.required_fields import REQUIRED_FIELDS
from completions.sse import ServerSentEvent, encode

Event = dict[str, Any]
"""A decoded Responses API event; `sse` is the server-sent event that carried it."""


class ResponsesStream:
    """The record of one stream; every method that returns bytes updates it."""

    def __init__(self, request: ParsedRequest) -> None:
        self._request = request
        self._sequence = 0
        self._items: list[OutputItem] = []
        # An upstream's announcements of items and parts that have no text yet.
        self._announced_items: dict[int, tuple[ServerSentEvent, Event]] = {}
        self._announced_parts: dict[int, tuple[ServerSentEvent, Event]] = {}
        self.response: dict[str, Any] = {}
        """The response object of `response.created`; empty before."""

    @property
    def output(self) -> list[dict[str, Any]]:
        """The closed items, in order."""
        return [item.final for item in self._items if item.final is not None]

    def adopt(self, received: Any) -> bool:
        """Adopt an upstream's response for this stream; return False if it keeps another."""
        if self.response:
            return False
        own = new_response(self._request)
        if not isinstance(received, dict) or not isinstance(received.get("id"), str):
            self.response = own
            return False
        known = {name: value for name, value in received.items() if value is not None}
        required = {name: known.get(name, own[name]) for name in REQUIRED_FIELDS}
        self.response = {**received, **required, "status": "in_progress", "output": []}
        return True

    def begin(self) -> bytes:
        """Write the first two events, unless something has been written."""
        if self._sequence:
            return b""
        self.adopt(None)
        fields = {"response": self.response}
        return self.write("response.created", fields) + self.write("response.in_progress", fields)

    def find_open_item(self, item_type: str) -> OutputItem | None:
        """Return the latest open item of this type."""
        for item in reversed(self._items):
            if item.open and item.type == item_type:
                return item
        return None

    def keep_announcement(self, item: OutputItem, sse: ServerSentEvent, event: Event) -> None:
        """Keep the upstream's announcement of the item, or of its next part, until it is opened."""
        announced = self._announced_parts if "part" in event else self._announced_items
        announced[id(item)] = sse, event

    def open_item(self, item: OutputItem) -> bytes:
        """Open the item at the end of the output."""
        out = self.begin() + self._close_others(item)
        taken = {known for other in self._items for known in _ids_of(other)}
        for name, prefix in (("id", item.type), ("call_id", "call")):
            if name == "id" or name in item.announced:
                value = item.announced.get(name)
                if not isinstance(value, str) or not value or value in taken:
                    item.announced[name] = new_id(prefix)
        item.index = len(self._items)
        self._items.append(item)
        sse, event = self._announced_items.pop(id(item), (None, {}))
        fields = {"output_index": item.index, "item": item.announced}
        return out + self.relay(sse, event, {"type": "response.output_item.added", **fields})

    def open_part(self, item: OutputItem, kind: TextKind) -> tuple[bytes, TextPart]:
        """Return the open part of this kind, and the bytes that open it if it was not."""
        out = self._close_others(item) if item.index >= 0 else self.open_item(item)
        part = item.find_open_part(kind)
        if part is not None and not part.text_done:
            return out, part
        out += self.close_parts(item)
        part = item.add_part(kind)
        sse, event = self._announced_parts.pop(id(item), (None, {}))
        received = event.get("part")
        if not isinstance(received, dict) or received.get("type") != kind.type:
            sse, event, received = None, {}, None
        fields = {**location(item, part), "part": part.as_json(received)}
        fields["type"] = f"response.{kind.part_event}.added"
        return out + self.relay(sse, event, fields), part

    def add_text(self, item: OutputItem, kind: TextKind, text: str) -> bytes:
        """Write text of this kind into the item."""
        out, part = self.open_part(item, kind)
        part.pieces.append(text)
        fields = {**location(item, part), "delta": text, **_extra_fields(kind)}
        return out + self.write(f"response.{kind.text_event}.delta", fields)

    def add_arguments(self, item: OutputItem, arguments: str) -> bytes:
        """Write a piece of this call's arguments."""
        item.argument_pieces.append(arguments)
        return self.write(ARGUMENTS_DELTA, {**location(item), "delta": arguments})

    def finish_text(
        self, item: OutputItem, part: TextPart, sse: ServerSentEvent | None, event: Event
    ) -> bytes:
        """Write `….done` with the part's full text, once."""
        if part.text_done:
            return b""
        part.text_done = True
        if _extra_fields(part.kind).keys() - event.keys():
            sse, event = None, {**_extra_fields(part.kind), **event}
        fields = {**location(item, part), part.kind.text_field: part.text}
        fields["type"] = f"response.{part.kind.text_event}.done"
        return self.relay(sse, event, fields)

    def finish_arguments(
        self, item: OutputItem, sse: ServerSentEvent | None, event: Event
    ) -> bytes:
        """Write `….done` with the call's full arguments, once."""
        if item.arguments_done:
            return b""
        item.arguments_done = True
        fields = {**location(item), "arguments": "".join(item.argument_pieces)}
        fields["type"] = ARGUMENTS_DONE
        return self.relay(sse, event, fields)

    def close_part(
        self, item: OutputItem, part: TextPart, sse: ServerSentEvent | None, event: Event
    ) -> bytes:
        """Close the part, its text finished."""
        out = self.finish_text(item, part, None, {})
        part.closed = True
        fields = {**location(item, part), "part": part.as_json(event.get("part"))}
        fields["type"] = f"response.{part.kind.part_event}.done"
        return out + self.relay(sse, event, fields)

    def close_parts(self, item: OutputItem) -> bytes:
        """Close the item's parts."""
        return b"".join(
            self.close_part(item, part, None, {}) for part in item.parts if not part.closed
        )

    def close_item(
        self, item: OutputItem, status: str, sse: ServerSentEvent | None, event: Event
    ) -> bytes:
        """Close the item; write nothing if it was never opened, as a message without a word."""
        self._announced_parts.pop(id(item), None)
        if item.index < 0:
            return b""
        out = self.close_parts(item)
        if item.type == "function_call":
            out += self.finish_arguments(item, None, {})
        item.final = item.as_json(status, event.get("item"))
        fields = {"output_index": item.index, "item": item.final}
        return out + self.relay(sse, event, {"type": "response.output_item.done", **fields})

    def close_all(self, status: str) -> bytes:
        """Close every open item."""
        return b"".join(
            self.close_item(item, status, None, {}) for item in self._items if item.open
        )

    def _close_others(self, item: OutputItem) -> bytes:
        """Close items that nobody continues: our own, and those of an upstream that has lost."""
        out = b""
        for other in self._items:
            if (
                other is not item
                and other.open
                and (other.source is None or item.source not in {None, other.source})
            ):
                out += self.close_item(other, "completed", None, {})
        return out

    def relay(self, sse: ServerSentEvent | None, event: Event, fields: Event) -> bytes:
        """Write `sse` as it came if `event` agrees with `fields`; else write a corrected event.

        Sets `sequence_number` in `fields`.
        """
        out = b"" if self._sequence or "response" in fields else self.begin()
        fields["sequence_number"] = self._sequence
        self._sequence += 1
        kind = str(fields.get("type") or event.get("type"))
        # The hottest lines of the dialect: each word of a healthy answer passes through here.
        if sse is not None and sse.event == kind.encode():
            for name, value in fields.items():
                if name not in event or event[name] != value:
                    break
            else:
                return out + sse.raw if out else sse.raw
        return out + encode(to_json({"type": kind, **event, **fields}), kind)

    def write(self, kind: str, fields: Event) -> bytes:
        """Write an event of our own."""
        return self.relay(None, {}, {"type": kind, **fields})


def location(item: OutputItem, part: TextPart | None = None) -> dict[str, Any]:
    """Return the fields that identify the item in an event, and its part."""
    fields: dict[str, Any] = {"item_id": item.id, "output_index": item.index}
    return fields if part is None else {**fields, part.kind.index_field: part.index}


def _ids_of(item: OutputItem) -> Iterator[str]:
    return (item.announced[name] for name in ("id", "call_id") if name in item.announced)


def _extra_fields(kind: TextKind) -> dict[str, Any]:
    return {"logprobs": []} if kind is OUTPUT_TEXT else {}
