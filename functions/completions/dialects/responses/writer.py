"""Writes one Responses answer, from an upstream's SSE events and a turn's own words.

Decides which item each piece of the answer goes into, and how the answer ends; `stream` keeps the
result well-formed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

from completions.dialects.deltas import (
    Call,
    CallPart,
    Chunk,
    Delta,
    Reasoning,
    Refusal,
    Rewrite,
    Text,
)
from completions.dialects.obfuscation import NAME, without_padding
from completions.dialects.request import ParsedRequest
from completions.dialects.responses import events
from completions.dialects.responses.events import ARGUMENTS_DELTA, TEXT_DELTAS, can_hold
from completions.dialects.responses.ids import new_buffer_words_id, new_id
from completions.dialects.responses.output import (
    OUTPUT_TEXT,
    REASONING_TEXT,
    REFUSAL,
    ItemLookup,
    OutputItem,
    announcement,
    finished_response,
    new_call,
    new_message,
    new_reasoning,
)
from completions.dialects.responses.stream import Event, ResponsesStream, location
from completions.errors import CompletionsError
from completions.sse import DONE, ServerSentEvent


class ResponsesWriter:
    """See `dialect.Writer`."""

    def __init__(self, request: ParsedRequest) -> None:
        self._request = request
        self._stream = ResponsesStream(request)
        self._adopted: int | None = None
        self._lookups: dict[int, ItemLookup[OutputItem]] = {}
        self._end_event: tuple[ServerSentEvent | None, Event] = (None, {})
        self._ended = False

    def relay(self, chunk: Chunk) -> bytes:
        """Write an upstream's SSE event: its own bytes if nothing has to change."""
        sse = chunk.sse
        if self._ended or (sse is not None and not sse.data):
            return b""
        if sse is None:
            return self._write_deltas(chunk.deltas)
        try:
            event = from_json(sse.data)
        except ValueError:  # The terminator, or an event with half a character.
            return self._write_deltas(chunk.deltas)
        if not isinstance(event, dict):
            return b""
        if not sse.raw:
            if self._stream.adopt(event):
                self._adopted = chunk.source
            self._end_event = None, {"response": event}
            return self._write_deltas(chunk.deltas)
        if NAME in event:
            del event[NAME]
            sse = sse._replace(raw=without_padding(sse.raw))
        if not isinstance(event.get("type"), str):
            event["type"] = sse.event.decode(errors="replace")
            sse = sse._replace(event=b"")  # Cannot be relayed as it came: clients look for `type`.
        return self._relay(chunk, sse, event, event["type"])

    def text(self, text: str) -> bytes:
        """Write words to speak into the open message, whoever opened it."""
        if self._ended or not text:
            return b""
        item = self._stream.find_open_item("message") or OutputItem(new_message())
        return self._stream.add_text(item, OUTPUT_TEXT, text)

    def buffer_words(self, text: str) -> bytes:
        """Write buffer words as a separate message: they are not part of the answer."""
        if self._ended or not text:
            return b""
        item = OutputItem({**new_message(), "id": new_buffer_words_id()})
        out = self._stream.add_text(item, OUTPUT_TEXT, text)
        return out + self._stream.close_item(item, "completed", None, {})

    def reasoning(self, text: str) -> bytes:
        """Write reasoning, which is never spoken."""
        if self._ended or not text:
            return b""
        item = self._stream.find_open_item("reasoning")
        if item is None or item.source is not None:
            item = OutputItem(new_reasoning())
        return self._stream.add_text(item, REASONING_TEXT, text)

    def call(self, call: Call) -> bytes:
        """Write a complete tool call as a separate item."""
        if self._ended:
            return b""
        item = OutputItem(new_call(call))
        out = self._stream.open_item(item)
        if call.arguments:
            out += self._stream.add_arguments(item, call.arguments)
        return out + self._stream.close_item(item, "completed", None, {})

    def end(self, reason: str, usage: dict[str, Any] | None) -> bytes:
        """Close what is open and write the last event: the delivered output, and why it ended."""
        if self._ended:
            return b""
        self._ended = True
        out = self._stream.begin()
        partial = reason in {"length", "content_filter"}
        out += self._stream.close_all("incomplete" if partial else "completed")
        sse, event = self._end_event
        announced, received = self._stream.response, event.get("response")
        identity = {name: announced[name] for name in ("id", "object", "created_at", "model")}
        known = {**announced, **(received if isinstance(received, dict) else {}), **identity}
        response = finished_response(known, reason, self._stream.output, usage)
        fields = {"type": f"response.{response['status']}", "response": response}
        return out + self._stream.relay(sse, event, fields) + DONE

    def failure(self, error: CompletionsError) -> bytes:
        """Write `response.failed`, the protocol's own end, and `error`, on which the SDKs raise.

        NOTE: the official SDKs raise only if the event has an `error` object, which OpenAI's
        documentation does not show; it has the same fields beside `type`. We write both.
        """
        if self._ended:
            return b""
        self._ended = True
        out = self._stream.begin() + self._stream.close_all("incomplete")
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        response = {
            **self._stream.response,
            "status": "failed",
            "error": {"code": code, "message": error.message},
            "output": self._stream.output,
        }
        details = error.body()["error"]
        flat = {name: details[name] for name in ("code", "message", "param")}
        out += self._stream.write("response.failed", {"response": response})
        return out + self._stream.write("error", {**flat, "error": details}) + DONE

    def _relay(self, chunk: Chunk, sse: ServerSentEvent, event: Event, kind: str) -> bytes:
        if kind in TEXT_DELTAS or kind == ARGUMENTS_DELTA:
            # In a speakable turn a refusal is spoken: it becomes text.
            item = self._open_item_of(chunk.source, event)
            spoken = kind == "response.refusal.delta" and self._request.speakable
            relayable = chunk.unchanged and len(chunk.deltas) == 1 and not spoken
            if item is None or not relayable or not can_hold(item, kind):
                return self._write_deltas(chunk.deltas, item, event)
            if type(chunk.deltas[0]) is Rewrite:
                return b""
            return self._relay_delta(item, sse, event, kind)
        if chunk.deltas == (Rewrite(),):
            return b""  # It repeats an earlier event, or says nothing.
        if kind in events.BEGIN_EVENTS:
            return self._relay_begin(chunk, sse, event)
        if kind in events.END_EVENTS:
            # Servers that stream little put words here that no other event had.
            self._end_event = sse, event
            return self._write_deltas(chunk.deltas)
        if kind in events.FAILURE_EVENTS:
            return b""
        if kind == "response.output_item.added":
            return self._relay_item_added(chunk, sse, event)
        item = self._open_item_of(chunk.source, event)
        # Any other event with deltas has words that no delta event had.
        out = self._write_deltas(chunk.deltas, item, event)
        if not kind.startswith("response."):
            return out  # Pings and the like are not events of this API.
        if item is not None:
            return out + self._relay_item_event(item, sse, event, kind)
        names_an_item = {"item", "item_id", "output_index"} & event.keys()
        return out if names_an_item else out + self._stream.relay(sse, event, {})

    def _open_item_of(self, source: int, event: Event) -> OutputItem | None:
        """Return the item that the event is about, unless it is closed."""
        items = self._lookups.get(source)
        item = items.find(event) if items else None
        if item is None or item.final is not None:
            return None
        received = event.get("item")
        return None if isinstance(received, dict) and received.get("type") != item.type else item

    def _relay_begin(self, chunk: Chunk, sse: ServerSentEvent, event: Event) -> bytes:
        created = event["type"] == "response.created"
        if self._stream.adopt(event.get("response")):
            self._adopted = chunk.source
            if not created:
                return self._stream.begin()
        elif self._adopted != chunk.source or created:
            return self._stream.begin()
        elif self._lookups:
            return b""
        return self._stream.relay(sse, event, {"response": self._stream.response})

    def _relay_item_added(self, chunk: Chunk, sse: ServerSentEvent, event: Event) -> bytes:
        received = event.get("item")
        if not isinstance(received, dict) or not isinstance(received.get("type"), str):
            return b""
        parts = [part for part in chunk.deltas if isinstance(part, CallPart)]
        announced = announcement(received, parts[0].id if parts else None)
        item = OutputItem(announced, chunk.source)
        self._lookups.setdefault(chunk.source, ItemLookup()).add(item, event, received)
        self._stream.keep_announcement(item, sse, event)
        return b"" if item.type == "message" else self._stream.open_item(item)

    def _relay_delta(
        self, item: OutputItem, sse: ServerSentEvent | None, event: Event, kind: str
    ) -> bytes:
        delta = event.get("delta")
        if not isinstance(delta, str):
            return b""
        if kind not in TEXT_DELTAS:
            item.argument_pieces.append(delta)
            return self._stream.relay(sse, event, location(item))
        if TEXT_DELTAS[kind] is OUTPUT_TEXT and "logprobs" not in event:
            # Some servers leave it out of their events; the SDK's types require it.
            sse, event = None, {**event, "logprobs": []}
        out, part = self._stream.open_part(item, TEXT_DELTAS[kind])
        part.pieces.append(delta)
        return out + self._stream.relay(sse, event, location(item, part))

    def _relay_item_event(
        self, item: OutputItem, sse: ServerSentEvent, event: Event, kind: str
    ) -> bytes:
        if kind == "response.output_item.done":
            return self._stream.close_item(item, "completed", sse, event)
        if kind in events.PART_ADDED:
            self._stream.keep_announcement(item, sse, event)
            return b""
        if kind in events.PART_DONE or kind in events.TEXT_DONE:
            received = event.get("part")
            part_type = received.get("type") if isinstance(received, dict) else None
            text_kind = events.TEXT_DONE.get(kind) or events.KINDS_BY_TYPE.get(str(part_type))
            part = item.find_open_part(text_kind) if text_kind else None
            if part is None:
                return b""
            write = (
                self._stream.finish_text if kind in events.TEXT_DONE else self._stream.close_part
            )
            return write(item, part, sse, event)
        if item.index < 0:
            return b""
        if kind == events.ARGUMENTS_DONE and item.type == "function_call":
            return self._stream.finish_arguments(item, sse, event)
        # An event that only this upstream and the client understand.
        fields = {name: value for name, value in location(item).items() if name in event}
        return self._stream.relay(sse, event, fields)

    def _write_deltas(
        self, deltas: Iterable[Delta], item: OutputItem | None = None, event: Event | None = None
    ) -> bytes:
        """Write deltas in our own events, into the upstream's item if it can hold them."""
        out = b""
        calls: dict[int, list[CallPart]] = {}
        for delta in deltas:
            match delta:
                case Text(text) | Refusal(text) if text:
                    text_kind = OUTPUT_TEXT
                    if isinstance(delta, Refusal) and not self._request.speakable:
                        text_kind = REFUSAL
                    target = item if item is not None and item.type == "message" else None
                    target = (
                        target
                        or self._stream.find_open_item("message")
                        or OutputItem(new_message())
                    )
                    out += self._stream.add_text(target, text_kind, text)
                case Reasoning(text) if text and item is not None and item.type == "reasoning":
                    out += self._stream.add_text(item, events.reasoning_kind(event or {}), text)
                case Reasoning(text):
                    out += self.reasoning(text)
                case CallPart():
                    calls.setdefault(delta.index, []).append(delta)
        for parts in calls.values():
            arguments = "".join(part.arguments for part in parts)
            if item is not None and item.type == "function_call":
                out += self._stream.add_arguments(item, arguments) if arguments else b""
                continue
            name = next((part.name for part in parts if part.name), None)
            call_id = next((part.id for part in parts if part.id), None)
            extra = next((part.extra_content for part in parts if part.extra_content), None)
            if name:
                out += self.call(Call(call_id or new_id("call"), name, arguments, extra))
        return out
