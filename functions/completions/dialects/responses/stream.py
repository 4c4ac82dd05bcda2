"""One Responses stream that keeps its own rules, whoever speaks in it.

Strict clients want one `response.created`, one response id, output indices that are unique,
`item_id`s that were announced, sequence numbers without gaps, and a last event whose `output` is
what the deltas said (platform.openai.com/docs/api-reference/responses-streaming; the official
SDK's stream helper raises on most violations). So this module keeps the books: which items and
parts are open, and what was said in them. An upstream's event is passed on as it came when that
is what the books say; else it is written anew with the same fields, corrected.

An upstream's message and its parts are opened when the first word is said in them: a filter may
take every word away. Knows nothing of what a turn wants.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic_core import to_json

from completions.dialects.request import ParsedRequest
from completions.dialects.responses.output import (
    OUTPUT_TEXT,
    REQUIRED,
    Item,
    Kind,
    Part,
    new_id,
    new_response,
)
from completions.sse import ServerSentEvent, encode

Event = dict[str, Any]

ARGUMENTS = "response.function_call_arguments"


class ResponsesStream:
    """The books of one stream; every method that returns bytes has entered them."""

    def __init__(self, request: ParsedRequest) -> None:
        self._request = request
        self._sequence = 0
        self._items: list[Item] = []
        # An upstream's announcements of what nothing has been said in yet.
        self._waiting_items: dict[int, tuple[ServerSentEvent, Event]] = {}
        self._waiting_parts: dict[int, tuple[ServerSentEvent, Event]] = {}
        self.response: dict[str, Any] = {}
        """As it was announced; empty before."""

    @property
    def output(self) -> list[dict[str, Any]]:
        """The items that are closed, in order."""
        return [item.final for item in self._items if item.final is not None]

    def adopt(self, theirs: Any) -> bool:
        """Takes an upstream's response as this stream's; False when it has one or gets none."""
        if self.response:
            return False
        made = new_response(self._request)
        if not isinstance(theirs, dict) or not isinstance(theirs.get("id"), str):
            self.response = made
            return False
        known = {name: value for name, value in theirs.items() if value is not None}
        missing = {name: known.get(name, made[name]) for name in REQUIRED}
        self.response = {**theirs, **missing, "status": "in_progress", "output": []}
        return True

    def begin(self) -> bytes:
        """The first two events, unless something has been written."""
        if self._sequence:
            return b""
        self.adopt(None)
        fields = {"response": self.response}
        return self.event("response.created", fields) + self.event("response.in_progress", fields)

    def open_item(self, kind: str) -> Item | None:
        """The latest open item of this type."""
        for item in reversed(self._items):
            if item.open and item.type == kind:
                return item
        return None

    def wait(self, item: Item, sse: ServerSentEvent, event: Event) -> None:
        """Keeps the upstream's own announcement of the item, or of its next part."""
        waiting = self._waiting_parts if "part" in event else self._waiting_items
        waiting[id(item)] = sse, event

    def announce(self, item: Item) -> bytes:
        """Opens the item, at the end of the output."""
        out = self.begin() + self._close_others(item)
        taken = {name for other in self._items for name in _names(other)}
        for name, prefix in (("id", item.type), ("call_id", "call")):
            if name == "id" or name in item.announced:
                value = item.announced.get(name)
                if not isinstance(value, str) or not value or value in taken:
                    item.announced[name] = new_id(prefix)
        item.index = len(self._items)
        self._items.append(item)
        sse, event = self._waiting_items.pop(id(item), (None, {}))
        right = {"output_index": item.index, "item": item.announced}
        return out + self.pass_on(sse, event, {"type": "response.output_item.added", **right})

    def open_part(self, item: Item, kind: Kind) -> tuple[bytes, Part]:
        """The open part of this kind; and what has to be written before anything is said in it."""
        out = self._close_others(item) if item.index >= 0 else self.announce(item)
        part = item.part(kind)
        if part is not None and not part.told:
            return out, part
        out += self.close_parts(item)
        part = item.add_part(kind)
        sse, event = self._waiting_parts.pop(id(item), (None, {}))
        theirs = event.get("part")
        if not isinstance(theirs, dict) or theirs.get("type") != kind.type:
            sse, event, theirs = None, {}, None
        right = {**place(item, part), "part": part.shown(theirs)}
        right["type"] = f"response.{kind.part_event}.added"
        return out + self.pass_on(sse, event, right), part

    def say(self, item: Item, kind: Kind, text: str) -> bytes:
        """Words in this item."""
        out, part = self.open_part(item, kind)
        part.words.append(text)
        return out + self.event(
            f"response.{kind.event}.delta", {**place(item, part), "delta": text, **_more(kind)}
        )

    def argue(self, item: Item, arguments: str) -> bytes:
        """Arguments of this call."""
        item.arguments.append(arguments)
        return self.event(f"{ARGUMENTS}.delta", {**place(item), "delta": arguments})

    def tell(self, item: Item, part: Part, sse: ServerSentEvent | None, event: Event) -> bytes:
        """`….done` with all that was said in the part; nothing when that has been told."""
        if part.told:
            return b""
        part.told = True
        right = {**place(item, part), part.kind.words: part.text}
        right["type"] = f"response.{part.kind.event}.done"
        return self.pass_on(sse, event or _more(part.kind), right)

    def tell_arguments(self, item: Item, sse: ServerSentEvent | None, event: Event) -> bytes:
        """The same for a call."""
        if item.told:
            return b""
        item.told = True
        right = {**place(item), "arguments": "".join(item.arguments)}
        right["type"] = f"{ARGUMENTS}.done"
        return self.pass_on(sse, event or {"name": item.announced["name"]}, right)

    def close_part(
        self, item: Item, part: Part, sse: ServerSentEvent | None, event: Event
    ) -> bytes:
        """Nothing more will be said in the part."""
        out = self.tell(item, part, None, {})
        part.closed = True
        right = {**place(item, part), "part": part.shown(event.get("part"))}
        right["type"] = f"response.{part.kind.part_event}.done"
        return out + self.pass_on(sse, event, right)

    def close_parts(self, item: Item) -> bytes:
        """Closes the item's parts; one that waits for its first word is forgotten."""
        return b"".join(
            self.close_part(item, part, None, {}) for part in item.parts if not part.closed
        )

    def close(self, item: Item, status: str, sse: ServerSentEvent | None, event: Event) -> bytes:
        """Closes the item; an upstream's message without a word has never been there."""
        self._waiting_parts.pop(id(item), None)
        if item.index < 0:
            return b""
        out = self.close_parts(item)
        if item.type == "function_call":
            out += self.tell_arguments(item, None, {})
        item.final = item.shown(status, event.get("item"))
        right = {"output_index": item.index, "item": item.final}
        return out + self.pass_on(sse, event, {"type": "response.output_item.done", **right})

    def close_all(self, status: str) -> bytes:
        """Closes what is open."""
        return b"".join(self.close(item, status, None, {}) for item in self._items if item.open)

    def _close_others(self, item: Item) -> bytes:
        """Closes what nobody continues: our own items, and those of an upstream that has lost."""
        out = b""
        for other in self._items:
            if (
                other is not item
                and other.open
                and (other.source is None or item.source not in {None, other.source})
            ):
                out += self.close(other, "completed", None, {})
        return out

    def pass_on(self, sse: ServerSentEvent | None, event: Event, right: Event) -> bytes:
        """The upstream's bytes, if `right` is what they say; else its event with `right` in it."""
        out = b"" if self._sequence or "response" in right else self.begin()
        right["sequence_number"] = self._sequence
        self._sequence += 1
        kind = str(right.get("type") or event.get("type"))
        # The hottest lines of the dialect: each word of a healthy answer comes through here.
        if sse is not None and sse.event == kind.encode():
            for name, value in right.items():
                if name not in event or event[name] != value:
                    break
            else:
                return out + sse.raw if out else sse.raw
        return out + encode(to_json({"type": kind, **event, **right}), kind)

    def event(self, kind: str, fields: Event) -> bytes:
        """An event of our own."""
        return self.pass_on(None, {}, {"type": kind, **fields})


def place(item: Item, part: Part | None = None) -> dict[str, Any]:
    """Where something is said: in this item, and in this part of it."""
    where: dict[str, Any] = {"item_id": item.id, "output_index": item.index}
    return where if part is None else {**where, part.kind.numbered: part.index}


def _names(item: Item) -> Iterator[str]:
    return (item.announced[name] for name in ("id", "call_id") if name in item.announced)


def _more(kind: Kind) -> dict[str, Any]:
    return {"logprobs": []} if kind is OUTPUT_TEXT else {}
