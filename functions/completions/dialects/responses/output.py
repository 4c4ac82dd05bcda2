"""What a Responses answer is made of: output items, their parts, and the object around them.

Shapes: platform.openai.com/docs/api-reference/responses/object. Knows nothing of events.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from completions.dialects.deltas import Call
from completions.dialects.request import ParsedRequest


class Kind(NamedTuple):
    """One kind of words, and the names that the protocol has for everything about it."""

    type: str
    """The part's type."""
    listed: str
    """The item's field that lists its parts."""
    numbered: str
    """The event field with the part's place in that list."""
    words: str
    """The part's field with the words."""
    part_event: str
    event: str
    """The middle of `response.<…>.delta`; of `response.<part_event>.added` for the part."""


OUTPUT_TEXT = Kind("output_text", "content", "content_index", "text", "content_part", "output_text")
REFUSAL = Kind("refusal", "content", "content_index", "refusal", "content_part", "refusal")
REASONING_TEXT = Kind(
    "reasoning_text", "content", "content_index", "text", "content_part", "reasoning_text"
)
SUMMARY_TEXT = Kind(
    "summary_text",
    "summary",
    "summary_index",
    "text",
    "reasoning_summary_part",
    "reasoning_summary_text",
)
KINDS = (OUTPUT_TEXT, REFUSAL, REASONING_TEXT, SUMMARY_TEXT)


@dataclass(slots=True)
class Part:
    """Words in one piece; `index` counts in the list that its kind belongs to."""

    kind: Kind
    index: int
    words: list[str] = field(default_factory=list)
    told: bool = False
    """Its whole text has been told: `….done` is out."""
    closed: bool = False

    @property
    def text(self) -> str:
        """All the words so far."""
        return "".join(self.words)

    def shown(self, theirs: Any = None) -> dict[str, Any]:
        """As JSON, with what the upstream's own object (`theirs`) says besides the words."""
        if not isinstance(theirs, dict):
            theirs = {"annotations": [], "logprobs": []} if self.kind is OUTPUT_TEXT else {}
        return {**theirs, "type": self.kind.type, self.kind.words: self.text}


@dataclass(slots=True)
class Item:
    """One output item. `source` is the upstream request it came from; None: it is ours."""

    announced: dict[str, Any]
    """As it was opened: no words yet."""
    source: int | None = None
    index: int = -1
    """Its place in the output; -1 until it is written."""
    parts: list[Part] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    told: bool = False
    """Its whole arguments have been told."""
    final: dict[str, Any] | None = None
    """As it was closed."""

    @property
    def type(self) -> str:
        """`message`, `function_call`, `reasoning`, or what only an upstream knows."""
        return str(self.announced["type"])

    @property
    def id(self) -> str:
        """What the events about it call it."""
        return str(self.announced["id"])

    @property
    def open(self) -> bool:
        """It has been announced, and not closed."""
        return self.index >= 0 and self.final is None

    def part(self, kind: Kind) -> Part | None:
        """The open part of this kind."""
        for part in reversed(self.parts):
            if part.kind is kind and not part.closed:
                return part
        return None

    def add_part(self, kind: Kind) -> Part:
        """A new part, behind the others of its list."""
        index = sum(part.kind.listed == kind.listed for part in self.parts)
        self.parts.append(Part(kind, index))
        return self.parts[-1]

    def shown(self, status: str, theirs: Any = None) -> dict[str, Any]:
        """As JSON, when all is said: the words that were delivered in the upstream's item."""
        if isinstance(theirs, dict):
            names = ("id", "call_id", "name", "type")
            announced = {name: self.announced[name] for name in names if self.announced.get(name)}
            item = {**theirs, **announced}
        else:
            item = {**self.announced, "status": status}
        if self.type == "function_call":
            item["arguments"] = "".join(self.arguments)
        listed = {part.kind.listed for part in self.parts}
        for name in listed | ({"content"} if self.type == "message" else set()):
            old = item.get(name)
            item[name] = [
                part.shown(_same_words(part, old))
                for part in self.parts
                if part.kind.listed == name
            ]
        return item


def _same_words(part: Part, theirs: Any) -> Any:
    for old in theirs if isinstance(theirs, list) else ():
        if (
            isinstance(old, dict)
            and old.get("type") == part.kind.type
            and old.get(part.kind.words) == part.text
        ):
            return old
    return None


_Thing = TypeVar("_Thing")


class ByName(Generic[_Thing]):
    """Finds what an upstream's event is about.

    By `output_index`, because some proxies give each event another `item_id`; by that where there
    is no index (llama.cpp, whose `item_id` of a call is its `call_id`); else it is the latest.
    """

    def __init__(self) -> None:
        self._things: dict[str | int, _Thing] = {}
        self._latest: _Thing | None = None

    def add(self, thing: _Thing, event: Mapping[str, Any], item: Mapping[str, Any]) -> None:
        """Remembers what `output_item.added` announced; a newer thing takes over its names."""
        self._latest = thing
        for name in (event.get("output_index"), item.get("id"), item.get("call_id")):
            if isinstance(name, str | int):
                self._things[name] = thing

    def find(self, event: Mapping[str, Any]) -> _Thing | None:
        """What the event is about; None when its own `item` has never been announced."""
        item = event.get("item")
        names = [event.get("output_index"), event.get("item_id")]
        if isinstance(item, dict):
            names += [item.get("id"), item.get("call_id")]
        for name in names:
            if isinstance(name, str | int) and name in self._things:
                return self._things[name]
        return None if isinstance(item, dict) and names != [None] * 4 else self._latest


_PREFIXES = {
    "call": "call",
    "message": "msg",
    "function_call": "fc",
    "reasoning": "rs",
    "response": "resp",
}


def new_id(kind: str) -> str:
    """OpenAI's API refuses an item sent back to it whose id has not the prefix of its type."""
    return f"{_PREFIXES.get(kind, 'item')}_{secrets.token_hex(16)}"


def new_message() -> dict[str, Any]:
    """A message without a word."""
    return {
        "id": new_id("message"),
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }


def new_reasoning() -> dict[str, Any]:
    """Reasoning without a word."""
    return {"id": new_id("reasoning"), "type": "reasoning", "summary": [], "status": "in_progress"}


def new_call(call: Call) -> dict[str, Any]:
    """A tool call without its arguments."""
    return {
        "id": new_id("function_call"),
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": "",
        "status": "in_progress",
    }


REQUIRED = (
    "id",
    "object",
    "created_at",
    "status",
    "model",
    "output",
    "parallel_tool_calls",
    "tool_choice",
    "tools",
)
"""What the official SDK's `Response` cannot be without."""


def new_response(request: ParsedRequest) -> dict[str, Any]:
    """A response in progress, made up from the request.

    NOTE: `instructions` are not echoed. They can be 2 MB, and three events would carry them.
    """
    body = request.body
    return {
        "id": new_id("response"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": request.model or "model",
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "store": body.get("store") is True,
        "temperature": body.get("temperature"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": None,
    }


def ended(
    response: Mapping[str, Any],
    reason: str,
    output: list[dict[str, Any]],
    usage: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The response as it stands at its end; `reason` in Chat Completions' words."""
    details = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reason)
    done = {
        **response,
        "status": "incomplete" if details else "completed",
        "error": None,
        "incomplete_details": {"reason": details} if details else None,
        "output": output,
        "usage": _usage(usage) if usage else response.get("usage"),
    }
    if "output_text" in done:  # Some servers send what the SDK only computes.
        done["output_text"] = "".join(
            str(part.get("text"))
            for item in output
            for part in item.get("content") or ()
            if part.get("type") == "output_text"
        )
    return done


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens in the Responses shape, whatever API counted them."""
    if "input_tokens" in usage:
        return {
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
            **usage,
        }
    sent, made = _number(usage, "prompt_tokens"), _number(usage, "completion_tokens")
    details = (usage.get("prompt_tokens_details"), usage.get("completion_tokens_details"))
    cached, reasoned = (found if isinstance(found, dict) else {} for found in details)
    return {
        "input_tokens": sent,
        "input_tokens_details": {"cached_tokens": _number(cached, "cached_tokens")},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": _number(reasoned, "reasoning_tokens")},
        "total_tokens": _number(usage, "total_tokens") or sent + made,
    }


def _number(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) else 0
