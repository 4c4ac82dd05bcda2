"""The input items of a Responses request as every server takes them.

Known keys only; no nulls, no ids that only another server knows, no empty answers; each call
followed by its output.

Shapes: platform.openai.com/docs/api-reference/responses/create, `input`. Items other than messages,
function calls and their outputs are left for the upstream to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from completions.dialects.call_pairs import (
    INTERRUPTED,
    RETOLD,
    SOME_TOOL,
    History,
    content_lines,
    paired,
)
from completions.dialects.deltas import arguments_text
from completions.dialects.responses.ids import is_ours

_MESSAGE_KEYS = frozenset({"type", "role", "content", "id", "status", "phase"})
"""Strict servers refuse other keys that platforms add (times, scores, ids of turns)."""
_OUTPUTS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}
"""The types of calls that the client carries out, with JSON arguments, and of their outputs."""

_WHOLE = frozenset({"message", "function_call", "function_call_output", "reasoning"})
"""Types of items that are complete without their id."""


def clean_items(
    items: Iterable[dict[str, Any]], clean: Callable[[str], str], *, by_id: bool
) -> Iterable[dict[str, Any]]:
    """Yield the items as strict servers take them.

    Drop ids, which only the server that made them knows, and reasoning without
    `encrypted_content`. With `by_id`, keep all ids but ours: encrypted reasoning belongs to other
    items by their ids. OpenAI's API answers 404 to ids that it does not keep ("Items are not
    persisted when `store` is set to false").
    """
    for item in items:
        kept = _known_keys(item)
        kind = kept.get("type")
        if kind in _WHOLE and (not by_id or is_ours(kept.get("id"))):
            kept.pop("id", None)
        if kind == "reasoning" and not kept.get("id") and not kept.get("encrypted_content"):
            continue
        if kind == "function_call":
            kept["arguments"] = arguments_text(kept.get("arguments"), "{}")
        elif kind == "function_call_output" and not isinstance(kept.get("output"), list):
            kept["output"] = arguments_text(kept.get("output", ""), "{}")
        elif kind == "message":
            kept["content"] = _clean_content(kept, clean)
            if not kept["content"] and kept["role"] == "assistant":
                continue  # The caller interrupted before a word was said.
        yield kept


def _clean_content(message: Mapping[str, Any], clean: Callable[[str], str]) -> Any:
    by_assistant = message["role"] == "assistant"
    content = message.get("content") or ""
    if isinstance(content, str):
        cleaned = clean(content) if by_assistant else content
        return cleaned if cleaned.strip() or not by_assistant else ""
    parts = []
    for part in content:
        kept = part
        if part.get("text", "") is None:
            continue
        if isinstance(part.get("text"), str):
            cleaned = clean(part["text"]) if by_assistant else part["text"]
            if by_assistant and not cleaned.strip():
                continue
            kept = {
                **part,
                "type": "output_text" if by_assistant else "input_text",
                "text": cleaned,
            }
        parts.append(kept)
    return parts


def _known_keys(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item without nulls, and a message without keys that the API does not have."""
    known = _MESSAGE_KEYS if item.get("type") == "message" else item.keys()
    return {name: value for name, value in item.items() if value is not None and name in known}


def paired_items(items: History) -> History:
    """Return the items with an output after each call; the same list if they are in order."""
    return paired(items, _FORM)


class _ItemsForm:
    """Items: calls and outputs stand alone; those between two messages are one step."""

    def calls(self, entry: dict[str, Any]) -> Sequence[str]:
        return (str(entry.get("call_id") or ""),) if entry.get("type") in _OUTPUTS else ()

    def result(self, entry: dict[str, Any]) -> str | None:
        return str(entry.get("call_id")) if entry.get("type") in _OUTPUTS.values() else None

    def ends_step(self, entry: dict[str, Any]) -> bool:
        return entry.get("type") == "message"

    def with_ids(self, entry: dict[str, Any], ids: Sequence[str]) -> dict[str, Any]:
        return {**entry, "call_id": ids[0]}

    def answer(self, results: Sequence[dict[str, Any]], call_id: str) -> dict[str, Any]:
        first = results[0]
        if len(results) == 1 and first["call_id"] == call_id:
            return first
        outputs = {to_json(one): one for one in (result.get("output", "") for result in results)}
        different = list(outputs.values())
        output = different[0] if len(different) == 1 else "\n".join(map(content_lines, different))
        return {**first, "call_id": call_id, "output": output}

    def interrupted(self, entry: dict[str, Any], call_id: str) -> dict[str, Any]:
        return {"type": _OUTPUTS[entry["type"]], "call_id": call_id, "output": INTERRUPTED}

    def retold(self, result: dict[str, Any]) -> dict[str, Any] | None:
        text, label = content_lines(result.get("output")), RETOLD.format(tool=SOME_TOOL)
        return {"type": "message", "role": "user", "content": label + text} if text else None


_FORM = _ItemsForm()
