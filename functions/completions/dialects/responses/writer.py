"""Writes one Responses answer: what an upstream's events and a turn's own words become.

`responses_stream` keeps the stream well-formed; this module decides in which item something is
said, and how the answer ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

from completions.dialects.deltas import Call, CallPart, Chunk, Delta, Reasoning, Refusal, Text
from completions.dialects.request import ParsedRequest
from completions.dialects.responses.output import (
    KINDS,
    OUTPUT_TEXT,
    REASONING_TEXT,
    REFUSAL,
    SUMMARY_TEXT,
    ByName,
    Item,
    Kind,
    ended,
    new_call,
    new_id,
    new_message,
    new_reasoning,
)
from completions.dialects.responses.stream import ARGUMENTS, Event, ResponsesStream, place
from completions.errors import CompletionsError
from completions.sse import DONE, ServerSentEvent

_BEGINS = frozenset({"response.created", "response.queued", "response.in_progress"})
_ENDS = frozenset({"response.completed", "response.incomplete"})
_FAILS = frozenset({"response.failed", "response.cancelled", "error"})
_DELTAS = {f"response.{kind.event}.delta": kind for kind in KINDS}
_DONES = {f"response.{kind.event}.done": kind for kind in KINDS}
_PART_ADDED = frozenset(f"response.{kind.part_event}.added" for kind in KINDS)
_PART_DONE = frozenset(f"response.{kind.part_event}.done" for kind in KINDS)
_KINDS = {kind.type: kind for kind in KINDS}


class ResponsesWriter:
    """See `dialect.Writer`."""

    def __init__(self, request: ParsedRequest) -> None:
        self._request = request
        self._stream = ResponsesStream(request)
        self._adopted: int | None = None
        self._theirs: dict[int, ByName[Item]] = {}
        self._last: tuple[ServerSentEvent | None, Event] = (None, {})
        self._ended = False

    def relay(self, chunk: Chunk) -> bytes:
        """The upstream's frame: its own bytes where nothing has to change."""
        sse = chunk.sse
        if self._ended or (sse is not None and not sse.data):
            return b""
        if sse is None:
            return self._write(chunk.deltas)
        try:
            event = from_json(sse.data)
        except ValueError:  # The terminator, too.
            return b""
        if not isinstance(event, dict):
            return b""
        if not sse.raw:
            if self._stream.adopt(event):
                self._adopted = chunk.source
            self._last = None, {"response": event}
            return self._write(chunk.deltas)
        if not isinstance(event.get("type"), str):
            event["type"] = sse.event.decode(errors="replace")
            sse = sse._replace(event=b"")  # Never relayed as it came: clients look for `type`.
        return self._relay(chunk, sse, event, event["type"])

    def text(self, text: str) -> bytes:
        """Words to be spoken: in the message that is open, whoever opened it."""
        if self._ended or not text:
            return b""
        item = self._stream.open_item("message") or Item(new_message())
        return self._stream.say(item, OUTPUT_TEXT, text)

    def buffer_words(self, text: str) -> bytes:
        """Words to be spoken that are no part of the answer: a message of their own."""
        if self._ended or not text:
            return b""
        item = Item(new_message())
        out = self._stream.say(item, OUTPUT_TEXT, text)
        return out + self._stream.close(item, "completed", None, {})

    def reasoning(self, text: str) -> bytes:
        """Words that are shown and never spoken."""
        if self._ended or not text:
            return b""
        item = self._stream.open_item("reasoning")
        if item is None or item.source is not None:
            item = Item(new_reasoning())
        return self._stream.say(item, REASONING_TEXT, text)

    def call(self, call: Call) -> bytes:
        """A whole tool call: an item of its own."""
        if self._ended:
            return b""
        item = Item(new_call(call))
        out = self._stream.announce(item)
        if call.arguments:
            out += self._stream.argue(item, call.arguments)
        return out + self._stream.close(item, "completed", None, {})

    def end(self, reason: str, usage: dict[str, Any] | None) -> bytes:
        """Closes what is open and writes the last event: what was delivered, and why it ended."""
        if self._ended:
            return b""
        self._ended = True
        out = self._stream.begin()
        partial = reason in {"length", "content_filter"}
        out += self._stream.close_all("incomplete" if partial else "completed")
        sse, event = self._last
        announced, theirs = self._stream.response, event.get("response")
        identity = {name: announced[name] for name in ("id", "object", "created_at", "model")}
        known = {**announced, **(theirs if isinstance(theirs, dict) else {}), **identity}
        response = ended(known, reason, self._stream.output, usage)
        right = {"type": f"response.{response['status']}", "response": response}
        return out + self._stream.pass_on(sse, event, right) + DONE

    def failure(self, error: CompletionsError) -> bytes:
        """`response.failed` for clients that follow the protocol, and `error`: the SDKs raise.

        NOTE: the official SDKs raise only when the event has an `error` object, which OpenAI's
        documentation does not show; it shows the same fields beside `type`. Both stand here.
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
        out += self._stream.event("response.failed", {"response": response})
        return out + self._stream.event("error", {**flat, "error": details}) + DONE

    def _relay(self, chunk: Chunk, sse: ServerSentEvent, event: Event, kind: str) -> bytes:
        if kind in _BEGINS:
            return self._relay_begin(chunk, sse, event)
        if kind in _ENDS:
            # It may bring words of its own, from servers that stream little.
            self._last = sse, event
            return self._write(chunk.deltas)
        if kind in _FAILS:
            return b""
        if kind == "response.output_item.added":
            return self._relay_item(chunk, sse, event)
        item = self._find(chunk.source, event)
        if kind in _DELTAS or kind == f"{ARGUMENTS}.delta":
            # In a speakable turn a refusal is spoken: it becomes text.
            spoken = kind == "response.refusal.delta" and self._request.speakable
            if item is None or spoken or not chunk.plain or not _holds(item, kind):
                return self._write(chunk.deltas, item, event)
            return self._relay_delta(item, sse, event, kind)
        # Whatever else has words to say is the first to say them.
        out = self._write(chunk.deltas, item, event)
        if item is not None:
            return out + self._relay_about(item, sse, event, kind)
        about_an_item = {"item", "item_id", "output_index"} & event.keys()
        return out if about_an_item else out + self._stream.pass_on(sse, event, {})

    def _find(self, source: int, event: Event) -> Item | None:
        """The item that the event is about, unless it is closed."""
        items = self._theirs.get(source)
        item = items.find(event) if items else None
        if item is None or item.final is not None:
            return None
        theirs = event.get("item")
        return None if isinstance(theirs, dict) and theirs.get("type") != item.type else item

    def _relay_begin(self, chunk: Chunk, sse: ServerSentEvent, event: Event) -> bytes:
        created = event["type"] == "response.created"
        if self._stream.adopt(event.get("response")):
            self._adopted = chunk.source
            if not created:
                return self._stream.begin()
        elif self._adopted != chunk.source or created:
            return self._stream.begin()
        elif self._theirs:
            return b""
        return self._stream.pass_on(sse, event, {"response": self._stream.response})

    def _relay_item(self, chunk: Chunk, sse: ServerSentEvent, event: Event) -> bytes:
        theirs = event.get("item")
        if not isinstance(theirs, dict) or not isinstance(theirs.get("type"), str):
            return b""
        announced = dict(theirs)
        if theirs["type"] == "message":
            announced = {**new_message(), **theirs, "content": []}
        elif theirs["type"] == "reasoning":
            announced = {"summary": [], **theirs}
        elif theirs["type"] == "function_call":
            parts = [part for part in chunk.deltas if isinstance(part, CallPart)]
            call_id = (parts[0].id if parts else None) or new_id("call")
            announced["call_id"], announced["arguments"] = call_id, ""
            announced["name"] = str(theirs.get("name") or "")
        item = Item(announced, chunk.source)
        self._theirs.setdefault(chunk.source, ByName()).add(item, event, theirs)
        self._stream.wait(item, sse, event)
        return b"" if item.type == "message" else self._stream.announce(item)

    def _relay_delta(self, item: Item, sse: ServerSentEvent, event: Event, kind: str) -> bytes:
        delta = event.get("delta")
        if not isinstance(delta, str):
            return b""
        if kind not in _DELTAS:
            item.arguments.append(delta)
            return self._stream.pass_on(sse, event, place(item))
        out, part = self._stream.open_part(item, _DELTAS[kind])
        part.words.append(delta)
        return out + self._stream.pass_on(sse, event, place(item, part))

    def _relay_about(self, item: Item, sse: ServerSentEvent, event: Event, kind: str) -> bytes:
        if kind == "response.output_item.done":
            return self._stream.close(item, "completed", sse, event)
        if kind in _PART_ADDED:
            self._stream.wait(item, sse, event)
            return b""
        if kind in _PART_DONE or kind in _DONES:
            shown = event.get("part")
            named = shown.get("type") if isinstance(shown, dict) else None
            words = _DONES.get(kind) or _KINDS.get(str(named))
            part = item.part(words) if words else None
            if part is None:
                return b""
            write = self._stream.tell if kind in _DONES else self._stream.close_part
            return write(item, part, sse, event)
        if item.index < 0:
            return b""
        if kind == f"{ARGUMENTS}.done" and item.type == "function_call":
            return self._stream.tell_arguments(item, sse, event)
        # What only this upstream and its client know.
        right = {name: value for name, value in place(item).items() if name in event}
        return self._stream.pass_on(sse, event, right)

    def _write(
        self, deltas: Iterable[Delta], item: Item | None = None, event: Event | None = None
    ) -> bytes:
        """Writes deltas in events of our own: in the upstream's item where it can hold them."""
        out = b""
        calls: dict[int, list[CallPart]] = {}
        for delta in deltas:
            match delta:
                case Text(text) | Refusal(text) if text:
                    words = OUTPUT_TEXT
                    if isinstance(delta, Refusal) and not self._request.speakable:
                        words = REFUSAL
                    target = item if item is not None and item.type == "message" else None
                    target = target or self._stream.open_item("message") or Item(new_message())
                    out += self._stream.say(target, words, text)
                case Reasoning(text) if text and item is not None and item.type == "reasoning":
                    out += self._stream.say(item, _reasoning_in(event or {}), text)
                case Reasoning(text):
                    out += self.reasoning(text)
                case CallPart():
                    calls.setdefault(delta.index, []).append(delta)
        for parts in calls.values():
            arguments = "".join(part.arguments for part in parts)
            if item is not None and item.type == "function_call":
                out += self._stream.argue(item, arguments) if arguments else b""
                continue
            name = next((part.name for part in parts if part.name), None)
            call_id = next((part.id for part in parts if part.id), None)
            if name:
                out += self.call(Call(call_id or new_id("call"), name, arguments))
        return out


def _holds(item: Item, kind: str) -> bool:
    """This kind of words can be said in this type of item."""
    words = _DELTAS.get(kind)
    if words is None:
        return item.type == "function_call"
    return item.type == ("message" if words in {OUTPUT_TEXT, REFUSAL} else "reasoning")


def _reasoning_in(event: Event) -> Kind:
    """Which of the two kinds of reasoning an event has."""
    item = event.get("item")
    if isinstance(item, dict):
        return REASONING_TEXT if item.get("content") else SUMMARY_TEXT
    return SUMMARY_TEXT if "summary" in str(event.get("type")) else REASONING_TEXT
