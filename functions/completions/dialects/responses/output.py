"""What a Responses answer consists of: output items, their parts, and the response object.

Shapes: platform.openai.com/docs/api-reference/responses/object. Does not know SSE events.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from completions.dialects.deltas import Call
from completions.dialects.request import ParsedRequest
from completions.dialects.responses.ids import new_id
from completions.dialects.responses.input import flat_tool
from completions.dialects.responses.required_fields import whole_usage


class TextKind(NamedTuple):
    """A kind of text, and the protocol's names for it."""

    type: str
    """The `type` of its parts."""
    list_field: str
    """The field of the item that lists its parts."""
    index_field: str
    """The event field with the part's place in that list."""
    text_field: str
    """The field of the part with its text."""
    part_event: str
    """The middle of `response.<part_event>.added` and `.done`, about a part."""
    text_event: str
    """The middle of `response.<text_event>.delta` and `.done`, about its text."""


OUTPUT_TEXT = TextKind(
    "output_text", "content", "content_index", "text", "content_part", "output_text"
)
REFUSAL = TextKind("refusal", "content", "content_index", "refusal", "content_part", "refusal")
REASONING_TEXT = TextKind(
    "reasoning_text", "content", "content_index", "text", "content_part", "reasoning_text"
)
SUMMARY_TEXT = TextKind(
    "summary_text",
    "summary",
    "summary_index",
    "text",
    "reasoning_summary_part",
    "reasoning_summary_text",
)
TEXT_KINDS = (OUTPUT_TEXT, REFUSAL, REASONING_TEXT, SUMMARY_TEXT)


@dataclass(slots=True)
class TextPart:
    """One part of an item; `index` is its place in the item's list for parts of its kind."""

    kind: TextKind
    index: int
    pieces: list[str] = field(default_factory=list)
    text_done: bool = False
    """True once the `….done` event with its full text has been written."""
    closed: bool = False

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def as_json(self, received: Any = None) -> dict[str, Any]:
        """Return the JSON object, with the other fields of the upstream's own part (`received`)."""
        if not isinstance(received, dict):
            received = {"logprobs": []} if self.kind is OUTPUT_TEXT else {}
        if self.kind is OUTPUT_TEXT:
            received = {"annotations": [], **received}
        return {**received, "type": self.kind.type, self.kind.text_field: self.text}


@dataclass(slots=True)
class OutputItem:
    """One output item. `source` is the attempt it came from; None if it is our own."""

    announced: dict[str, Any]
    """The JSON object it was opened with, before it had content."""
    source: int | None = None
    index: int = -1
    """Its place in the output; -1 until it is opened."""
    parts: list[TextPart] = field(default_factory=list)
    argument_pieces: list[str] = field(default_factory=list)
    arguments_done: bool = False
    """True once the `….done` event with its full arguments has been written."""
    final: dict[str, Any] | None = None
    """The JSON object it was closed with."""

    @property
    def type(self) -> str:
        """`message`, `function_call`, `reasoning`, or a type that only the upstream knows."""
        return str(self.announced["type"])

    @property
    def id(self) -> str:
        """The `item_id` of the events about it."""
        return str(self.announced["id"])

    @property
    def open(self) -> bool:
        """True if it has been opened and not closed."""
        return self.index >= 0 and self.final is None

    def find_open_part(self, kind: TextKind) -> TextPart | None:
        """Return the latest part of this kind that is not closed."""
        for part in reversed(self.parts):
            if part.kind is kind and not part.closed:
                return part
        return None

    def add_part(self, kind: TextKind) -> TextPart:
        """Append a new part of this kind."""
        index = sum(part.kind.list_field == kind.list_field for part in self.parts)
        self.parts.append(TextPart(kind, index))
        return self.parts[-1]

    def as_json(self, status: str, received: Any = None) -> dict[str, Any]:
        """Return the complete JSON object: the upstream's own item with the delivered text."""
        if isinstance(received, dict):
            names = ("id", "call_id", "name", "type")
            announced = {name: self.announced[name] for name in names if self.announced.get(name)}
            item = {**received, **announced}
        else:
            item = {**self.announced, "status": status}
        if self.type == "function_call":
            item["arguments"] = "".join(self.argument_pieces)
        lists = {part.kind.list_field for part in self.parts}
        for name in lists | ({"content"} if self.type == "message" else set()):
            old = item.get(name)
            item[name] = [
                part.as_json(_same_part(part, old))
                for part in self.parts
                if part.kind.list_field == name
            ]
        return item


def _same_part(part: TextPart, received: Any) -> Any:
    """Return the upstream's own part if its text is the delivered text."""
    for old in received if isinstance(received, list) else ():
        if (
            isinstance(old, dict)
            and old.get("type") == part.kind.type
            and old.get(part.kind.text_field) == part.text
        ):
            return old
    return None


_T = TypeVar("_T")


class ItemLookup(Generic[_T]):
    """Finds the item that an upstream's event is about.

    By `output_index`, because some proxies give each event another `item_id`; by `item_id` where
    there is no index (llama.cpp, whose `item_id` for a call is its `call_id`); else the latest.
    """

    def __init__(self) -> None:
        self._by_key: dict[str | int, _T] = {}
        self._latest: _T | None = None

    def add(self, tracked: _T, event: Mapping[str, Any], item: Mapping[str, Any]) -> None:
        """Remember what `output_item.added` announced; a later item takes over its keys."""
        self._latest = tracked
        for key in (event.get("output_index"), item.get("id"), item.get("call_id")):
            if isinstance(key, str | int):
                self._by_key[key] = tracked

    def find(self, event: Mapping[str, Any]) -> _T | None:
        """Return what the event is about; None if it has an `item` that was never announced."""
        item = event.get("item")
        keys = [event.get("output_index"), event.get("item_id")]
        if isinstance(item, dict):
            keys += [item.get("id"), item.get("call_id")]
        for key in keys:
            if isinstance(key, str | int) and key in self._by_key:
                return self._by_key[key]
        return None if isinstance(item, dict) and keys != [None] * 4 else self._latest


def new_message() -> dict[str, Any]:
    """Return an empty message."""
    return {
        "id": new_id("message"),
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }


def new_reasoning() -> dict[str, Any]:
    """Return an empty reasoning item."""
    return {"id": new_id("reasoning"), "type": "reasoning", "summary": [], "status": "in_progress"}


def new_call(call: Call) -> dict[str, Any]:
    """Return a tool call, its arguments still empty."""
    return {
        "id": new_id("function_call"),
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": "",
        "status": "in_progress",
        **({"extra_content": call.extra_content} if call.extra_content else {}),
    }


def new_response(request: ParsedRequest) -> dict[str, Any]:
    """Return a response in progress, made up from the request.

    NOTE: `instructions` are not echoed. They can be 2 MB long, and three events would repeat them.
    """
    body = request.body
    limit, metadata = body.get("max_output_tokens") or 0, body.get("metadata") or {}
    choice = body.get("tool_choice") or "auto"
    return {
        "id": new_id("response"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": int(limit) if 0 < limit < math.inf else None,
        "metadata": {name: one for name, one in metadata.items() if isinstance(one, str)},
        "model": request.model or "model",
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "temperature": body.get("temperature"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": flat_tool(choice) if isinstance(choice, dict) else choice,
        "tools": [flat_tool(tool) for tool in body.get("tools") or ()],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": None,
    }


def finished_response(
    response: Mapping[str, Any],
    reason: str,
    output: list[dict[str, Any]],
    usage: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the finished response; `reason` is a finish reason of Chat Completions."""
    details = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reason)
    finished = {
        **response,
        "status": "incomplete" if details else "completed",
        "error": None,
        "incomplete_details": {"reason": details} if details else None,
        "output": output,
        "usage": whole_usage(usage or response.get("usage")),
    }
    if "output_text" in finished:  # The SDK computes it; some servers send it.
        finished["output_text"] = "".join(
            str(part.get("text"))
            for item in output
            for part in item.get("content") or ()
            if part.get("type") == "output_text"
        )
    return finished


def announcement(received: Mapping[str, Any], call_id: str | None) -> dict[str, Any]:
    """Return an upstream's item in the form in which it is announced: complete, without content.

    `call_id` is the id that was read, if the item is a tool call.
    """
    match received["type"]:
        case "message":
            return {**new_message(), **received, "content": []}
        case "reasoning":
            return {"summary": [], **received}
        case "function_call":
            name = str(received.get("name") or "")
            own = {"call_id": call_id or new_id("call"), "arguments": "", "name": name}
            return {**received, **own}
    return dict(received)
