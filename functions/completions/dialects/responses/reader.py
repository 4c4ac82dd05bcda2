"""Tells what the frames of one Responses answer say.

Events: platform.openai.com/docs/api-reference/responses-streaming. The protocol tells everything
several times over (`….delta`, `….done`, `output_item.done`, `response.completed`); servers differ
in which of them they send. So the reader remembers what it has heard: deltas speak, and a later
event only says what no delta has said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from completions.dialects.deltas import (
    CallPart,
    Delta,
    Done,
    Failure,
    Finish,
    Other,
    Reasoning,
    Refusal,
    Text,
    Usage,
    upstream_failure,
)
from completions.dialects.responses.output import ByName
from completions.errors import UpstreamUnavailable
from completions.sse import ServerSentEvent

WORDS: dict[str, tuple[type[Text | Refusal | Reasoning], str]] = {
    "response.output_text": (Text, "text"),
    "response.refusal": (Refusal, "refusal"),
    "response.reasoning_text": (Reasoning, "text"),
    "response.reasoning_summary_text": (Reasoning, "text"),
}
"""The events with words: what they are, and the field of `….done` with all of them."""


OTHER_ANSWERS = frozenset(
    {
        "custom_tool_call",
        "mcp_approval_request",
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
    }
)
"""Items that ask the caller for something, as a function call does: an answer without words."""


@dataclass(slots=True)
class _Heard:
    """A tool call so far; `waiting` are arguments that came whole, before any delta."""

    index: int
    id: str | None
    name: str | None
    waiting: str
    fed: bool = False


class ResponsesReader:
    """For one answer; frames in order."""

    def __init__(self) -> None:
        self._calls: ByName[_Heard] = ByName()
        self._heard: list[_Heard] = []
        # What has been said since the last item ended, and at all.
        self._current: set[type] = set()
        self._ever: set[type] = set()

    def read(self, sse: ServerSentEvent) -> tuple[Delta, ...]:
        """What the frame says. Never raises: what cannot be understood is a Failure."""
        if not sse.data:
            return ()
        if sse.data == b"[DONE]":
            return (*self._rest(), Done())
        try:
            event = from_json(sse.data)
            if not sse.raw:
                return tuple(self._whole(event))
            return tuple(self._event(event, event.get("type") or sse.event.decode()))
        except (ValueError, TypeError, AttributeError):
            return (Failure(UpstreamUnavailable("The upstream sent what is no response.")),)

    def _event(self, event: dict[str, Any], kind: str) -> Iterable[Delta]:
        subject, _, verb = kind.rpartition(".")
        if words := WORDS.get(subject):
            said, field = words
            if verb == "delta":
                return self._said(said, event.get("delta"))
            return self._unsaid(said, event.get(field)) if verb == "done" else ()
        if subject == "response.function_call_arguments":
            return self._arguments(event, verb)
        if subject == "response.output_item":
            return self._item(event, event.get("item") or {}, verb)
        # By its whole name: built-in tools have ends of their own (`response.mcp_call.failed`).
        if kind in {"response.completed", "response.incomplete"}:
            return self._end(event.get("response") or {}, verb)
        if kind in {"response.failed", "response.cancelled", "error"} or event.get("error"):
            response = event.get("response") or {}
            error = response.get("error") or event.get("error") or {**event, "type": None}
            return (Failure(upstream_failure(error)),)
        return ()

    def _said(self, said: type[Text | Refusal | Reasoning], text: Any) -> Iterable[Delta]:
        if not isinstance(text, str) or not text:
            return ()
        self._current.add(said)
        self._ever.add(said)
        return (said(text),)

    def _unsaid(self, said: type[Text | Refusal | Reasoning], text: Any) -> Iterable[Delta]:
        return () if said in self._current else self._said(said, text)

    def _item(self, event: dict[str, Any], item: dict[str, Any], verb: str) -> Iterable[Delta]:
        kind = item.get("type")
        if kind == "function_call":
            if verb == "added":
                return (self._new_call(event, item),)
            return self._call_done(event, item) if verb == "done" else ()
        if verb == "added":
            if kind in OTHER_ANSWERS:
                return (Other(),)
            # Some models announce that they think, and then say nothing until they have thought.
            return (Reasoning(""),) if kind == "reasoning" else ()
        deltas = self._words_of(item, self._current)
        self._current.clear()
        return deltas

    def _words_of(self, item: Mapping[str, Any], heard: set[type]) -> list[Delta]:
        """What a whole item says of the kinds of words that have not been heard."""
        silent, deltas = set(heard), list[Delta]()
        # Reasoning may stand in both.
        for part in item.get("content") or item.get("summary") or ():
            said, text = _part(part)
            if said is not None and said not in silent:
                deltas += self._said(said, text)
        return deltas

    def _new_call(self, event: Mapping[str, Any], item: Mapping[str, Any]) -> CallPart:
        waiting = _written_out(item.get("arguments"))
        name, call_id = item.get("name"), item.get("call_id") or item.get("id")
        call = _Heard(
            len(self._heard),
            str(call_id) if call_id else None,
            str(name) if name else None,
            waiting,
        )
        self._heard.append(call)
        self._calls.add(call, event, item)
        return CallPart(call.index, call.id, call.name, "")

    def _arguments(self, event: dict[str, Any], verb: str) -> Iterable[Delta]:
        opened: tuple[Delta, ...] = ()
        call = self._calls.find(event)
        if call is None:
            item = {"id": event.get("item_id"), "name": event.get("name")}
            opened = (self._new_call(event, item),)
            call = self._heard[-1]
        if verb == "delta":
            call.fed = True
            return (*opened, CallPart(call.index, None, None, str(event.get("delta") or "")))
        return (*opened, self._fed(call, event.get("arguments")))

    def _call_done(self, event: dict[str, Any], item: dict[str, Any]) -> Iterable[Delta]:
        call = self._calls.find({"item_id": item.get("id") or item.get("call_id"), **event})
        # A call that was never announced, and the latest is another one.
        if call is None or (call.id and call.id not in {item.get("call_id"), item.get("id")}):
            return (self._new_call(event, item), self._fed(self._heard[-1], None))
        rest = self._fed(call, item.get("arguments"))
        if call.name or not item.get("name"):
            return (rest,)
        call.name = str(item["name"])
        return (CallPart(call.index, call.id, call.name, rest.arguments),)

    def _fed(self, call: _Heard, arguments: Any) -> CallPart:
        """The arguments that came whole, if no delta told them.

        Nothing is a part, too: the frame belongs to the call, and is held with it.
        """
        if call.fed:
            return CallPart(call.index, None, None, "")
        whole = _written_out(arguments) or call.waiting
        call.fed = bool(whole)
        return CallPart(call.index, None, None, whole)

    def _rest(self) -> list[Delta]:
        """The arguments that no event brought to an end."""
        return [self._fed(call, None) for call in self._heard if not call.fed and call.waiting]

    def _end(self, response: dict[str, Any], verb: str) -> Iterable[Delta]:
        """The last event; its output says what no event before it has said."""
        deltas: list[Delta] = []
        heard, ids = set(self._ever), {call.id for call in self._heard}
        for item in response.get("output") or ():
            if item.get("type") in OTHER_ANSWERS:
                deltas.append(Other())
            elif item.get("type") != "function_call":
                deltas += self._words_of(item, heard)
            elif (item.get("call_id") or item.get("id")) not in ids:
                deltas += (self._new_call({}, item), self._fed(self._heard[-1], None))
        deltas += self._rest()
        if usage := response.get("usage"):
            deltas.append(Usage(dict(usage)))
        status = str(response.get("status") or verb)
        if status in {"failed", "cancelled"}:
            return (*deltas, Failure(upstream_failure(response.get("error") or {})))
        if "incomplete" in {status, verb}:
            why = (response.get("incomplete_details") or {}).get("reason")
            finish = "content_filter" if why == "content_filter" else "length"
        else:
            finish = "tool_calls" if self._heard else "stop"
        return (*deltas, Finish(finish), Done())

    def _whole(self, response: dict[str, Any]) -> Iterable[Delta]:
        """A JSON answer that was not streamed."""
        if response.get("error") and not response.get("output"):
            return (Failure(upstream_failure(response["error"])),)
        if not isinstance(response.get("output"), list):
            raise TypeError("no output")
        return self._end(response, "completed")


def _part(part: Mapping[str, Any]) -> tuple[type[Text | Refusal | Reasoning] | None, Any]:
    match part.get("type"):
        case "output_text" | "text":
            return Text, part.get("text")
        case "refusal":
            return Refusal, part.get("refusal")
        case "summary_text" | "reasoning_text":
            return Reasoning, part.get("text")
        case _:
            return None, None


def _written_out(arguments: Any) -> str:
    """Arguments are a JSON string; some servers send the object."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else to_json(arguments).decode()
