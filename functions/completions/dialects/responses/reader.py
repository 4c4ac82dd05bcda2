"""Reads the SSE events of one Responses answer.

Events: platform.openai.com/docs/api-reference/responses-streaming. The protocol repeats everything
several times (`….delta`, `….done`, `output_item.done`, `response.completed`), and servers differ
in which of these they send. So the reader remembers what it has seen, and takes from each event
only what no earlier event had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from completions.dialects.content_parts import TextType, read_parts
from completions.dialects.deltas import (
    CallPart,
    Delta,
    Done,
    Failure,
    Finish,
    Other,
    Reasoning,
    Refusal,
    Rewrite,
    Text,
    Usage,
    arguments_text,
)
from completions.dialects.error_objects import error_in, upstream_failure
from completions.dialects.finish_reasons import read_finish
from completions.dialects.responses.output import ItemLookup
from completions.dialects.responses.repeated_events import Repeats
from completions.dialects.responses.required_fields import is_whole
from completions.dialects.split_characters import Halves, read_json_with_halves
from completions.errors import UpstreamUnavailable
from completions.sse import ServerSentEvent

_TEXT_EVENTS: dict[str, tuple[TextType, str]] = {
    "response.output_text": (Text, "text"),
    "response.refusal": (Refusal, "refusal"),
    "response.reasoning_text": (Reasoning, "text"),
    "response.reasoning_summary_text": (Reasoning, "text"),
}
"""The events with text: the text's type, and the field of `….done` that repeats it."""

_OTHER_CALLS = frozenset(
    {
        "custom_tool_call",
        "mcp_approval_request",
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
    }
)
"""Items that ask the caller to act, like a function call: an answer without words."""


@dataclass(slots=True)
class _CallState:
    """A tool call so far; `announced_arguments` came with its announcement, before any delta."""

    index: int
    id: str | None
    name: str | None
    announced_arguments: str
    has_arguments: bool = False
    """True once some arguments have been returned; repeats of them are ignored."""


class ResponsesReader:
    """Reads one answer, its events in order."""

    def __init__(self) -> None:
        self._call_lookup: ItemLookup[_CallState] = ItemLookup()
        self._calls: list[_CallState] = []
        # The types of text seen since the last item ended, and in all.
        self._types_in_item: set[type] = set()
        self._types_in_answer: set[type] = set()
        self._halves = Halves()
        self._skipped = False
        self._repeats = Repeats()

    def read(self, sse: ServerSentEvent) -> tuple[Delta, ...]:
        """Return what the event adds to all earlier ones. Never raises."""
        if not sse.data:
            return ()
        halved = False
        try:
            event = from_json(sse.data)
        except ValueError:
            if sse.data.strip().upper() == b"[DONE]":
                if self._skipped and not (self._types_in_answer or self._calls):
                    return (_not_a_response(),)
                return tuple(self._halves.join([*self._emit_pending_arguments(), Done()]))
            try:
                event, halved = read_json_with_halves(sse.data), True
            except ValueError:
                return self._skip_or_fail(sse)
        try:
            if not sse.raw:
                deltas = self._buffered_answer(event)
            else:
                if self._repeats.has_event(sse.raw, event):
                    return (Rewrite(),)
                kind = event.get("type")
                deltas = self._read_event(event, kind or sse.event.decode(), sse.event)
            if halved or self._halves.held:
                deltas = (*self._halves.join(deltas), Rewrite())
            return tuple(deltas)
        except (ValueError, TypeError, AttributeError):
            return self._skip_or_fail(sse)

    def _skip_or_fail(self, sse: ServerSentEvent) -> tuple[Delta, ...]:
        """Skip an odd event in a stream; report an error, or a whole body that is no answer."""
        if not sse.raw or sse.event == b"error":
            return (_not_a_response(),)
        self._skipped = True
        return (Rewrite(),)

    def _read_event(self, event: dict[str, Any], kind: str, name: bytes) -> Iterable[Delta]:
        subject, _, verb = kind.rpartition(".")
        if text_event := _TEXT_EVENTS.get(subject):
            text_type, field = text_event
            if verb == "delta":
                return self._text(text_type, event.get("delta"))
            return self._text_unless_seen(text_type, event.get(field)) if verb == "done" else ()
        if subject == "response.function_call_arguments":
            return self._read_arguments(event, verb)
        if subject == "response.output_item":
            return self._read_item(event, event.get("item") or {}, verb)
        # The full name: built-in tools have their own ends (`response.mcp_call.failed`).
        if kind in {"response.completed", "response.incomplete"}:
            return self._read_end(event.get("response") or {}, verb)
        reported = error_in(event, name)
        if kind in {"response.failed", "response.cancelled"} or reported:
            response = event.get("response") or {}
            error = response.get("error") or reported or {**event, "type": None}
            return (Failure(upstream_failure(error)),)
        return ()

    def _text(self, text_type: TextType, text: Any) -> Iterable[Delta]:
        if not text:
            return ()
        if not isinstance(text, str):
            # Gateways pass on lists of parts.
            parts = [*read_parts(text, text_type)]
            return (
                *(one for part in parts for one in self._text(type(part), part.text)),
                Rewrite(),
            )
        self._types_in_item.add(text_type)
        self._types_in_answer.add(text_type)
        return (text_type(text),)

    def _text_unless_seen(self, text_type: TextType, text: Any) -> Iterable[Delta]:
        return () if text_type in self._types_in_item else self._text(text_type, text)

    def _read_item(self, event: dict[str, Any], item: dict[str, Any], verb: str) -> Iterable[Delta]:
        kind = item.get("type")
        if self._repeats.has_item(event, item, verb):
            return (Rewrite(),)
        if kind == "function_call":
            if verb == "added":
                return (self._new_call(event, item),)
            return self._call_done(event, item) if verb == "done" else ()
        if verb == "added":
            if kind in _OTHER_CALLS:
                return (Other(),)
            # Some models announce reasoning and then send nothing until it is complete.
            return (Reasoning(""),) if kind == "reasoning" else ()
        deltas = self._item_texts(item, self._types_in_item)
        self._types_in_item.clear()
        return deltas

    def _item_texts(self, item: Mapping[str, Any], seen: set[type]) -> list[Delta]:
        """Return the text of a complete item, except the types already `seen`."""
        seen, deltas = set(seen), list[Delta]()  # A copy: `_text` adds to the original.
        # A reasoning item may have the same text in both.
        content = item.get("content") or item.get("summary")
        for part in read_parts(content, Reasoning if item.get("type") == "reasoning" else Text):
            if type(part) not in seen:
                deltas += self._text(type(part), part.text)
        if deltas and not isinstance(content, list):
            deltas.append(Rewrite())
        return deltas

    def _new_call(self, event: Mapping[str, Any], item: Mapping[str, Any]) -> CallPart:
        name, call_id = item.get("name"), item.get("call_id") or item.get("id")
        call = _CallState(
            len(self._calls),
            str(call_id) if call_id else None,
            str(name) if name else None,
            arguments_text(item.get("arguments")),
        )
        self._calls.append(call)
        self._call_lookup.add(call, event, item)
        extra = item.get("extra_content")
        return CallPart(
            call.index,
            call.id,
            call.name,
            "",
            extra_content=extra if isinstance(extra, dict) and extra else None,
        )

    def _read_arguments(self, event: dict[str, Any], verb: str) -> Iterable[Delta]:
        opened: tuple[Delta, ...] = ()
        call = self._call_lookup.find(event)
        if call is None:
            item = {"id": event.get("item_id"), "name": event.get("name")}
            opened = (self._new_call(event, item),)
            call = self._calls[-1]
        if verb == "delta":
            call.has_arguments = True
            return (*opened, CallPart(call.index, None, None, arguments_text(event.get("delta"))))
        return (*opened, self._emit_arguments(call, event.get("arguments")))

    def _call_done(self, event: dict[str, Any], item: dict[str, Any]) -> Iterable[Delta]:
        call = self._call_lookup.find({"item_id": item.get("id") or item.get("call_id"), **event})
        # It may not have been announced: then `find` returned the latest, a different one.
        if call is None or (call.id and call.id not in {item.get("call_id"), item.get("id")}):
            return (self._new_call(event, item), self._emit_arguments(self._calls[-1], None))
        rest = self._emit_arguments(call, item.get("arguments"))
        if call.name or not item.get("name"):
            return (rest,)
        call.name = str(item["name"])
        return (CallPart(call.index, call.id, call.name, rest.arguments),)

    def _emit_arguments(self, call: _CallState, arguments: Any) -> CallPart:
        """Return the call's complete `arguments`, unless some have been returned.

        Returns an empty part as well: its event belongs to the call and is held back with it.
        """
        if call.has_arguments:
            return CallPart(call.index, None, None, "")
        complete = arguments_text(arguments) or call.announced_arguments
        call.has_arguments = bool(complete)
        return CallPart(call.index, None, None, complete)

    def _emit_pending_arguments(self) -> list[Delta]:
        """Return announced arguments that no later event repeated."""
        return [
            self._emit_arguments(call, None)
            for call in self._calls
            if not call.has_arguments and call.announced_arguments
        ]

    def _read_end(self, response: dict[str, Any], verb: str) -> Iterable[Delta]:
        """Read the last event: take from its output what no earlier event had."""
        deltas: list[Delta] = []
        seen, ids = set(self._types_in_answer), {call.id for call in self._calls}
        for item in response.get("output") or ():
            if item.get("type") in _OTHER_CALLS:
                deltas.append(Other())
            elif item.get("type") != "function_call":
                deltas += self._item_texts(item, seen)
            elif (item.get("call_id") or item.get("id")) not in ids:
                deltas += (self._new_call({}, item), self._emit_arguments(self._calls[-1], None))
        deltas += self._emit_pending_arguments()
        if usage := response.get("usage"):
            deltas.append(Usage(dict(usage)))
        status = str(response.get("status") or verb)
        if status in {"failed", "cancelled"}:
            return (*deltas, Failure(upstream_failure(response.get("error") or {})))
        if "incomplete" in {status, verb}:
            reason = (response.get("incomplete_details") or {}).get("reason")
            finish = read_finish(reason or "length")
            if isinstance(finish, Failure):
                return (*deltas, finish)
            if finish not in {Finish("length"), Finish("content_filter")}:
                finish = Finish("length")
        else:
            finish = Finish("tool_calls" if self._calls else "stop")
        return (*deltas, finish, Done())

    def _buffered_answer(self, response: dict[str, Any]) -> Iterable[Delta]:
        """Read a JSON answer that was not streamed."""
        if response.get("error") and not response.get("output"):
            return (Failure(upstream_failure(response["error"])),)
        if not isinstance(response.get("output"), list):
            raise TypeError("no output")
        deltas = list(self._read_end(response, "completed"))
        if not is_whole(response):
            deltas.append(Rewrite())
        # Nothing of a failed answer was heard, so all of it can be dropped.
        return [delta for delta in deltas if isinstance(delta, Failure)] or deltas


def _not_a_response() -> Failure:
    return Failure(UpstreamUnavailable("The upstream's answer is not a response."))
