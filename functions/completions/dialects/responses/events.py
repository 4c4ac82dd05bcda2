"""The names of a Responses stream's events, and which item each belongs to.

Names: platform.openai.com/docs/api-reference/responses-streaming. Does not know bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from completions.dialects.responses.output import (
    OUTPUT_TEXT,
    REASONING_TEXT,
    REFUSAL,
    SUMMARY_TEXT,
    TEXT_KINDS,
    OutputItem,
    TextKind,
)

BEGIN_EVENTS = frozenset({"response.created", "response.queued", "response.in_progress"})
END_EVENTS = frozenset({"response.completed", "response.incomplete"})
FAILURE_EVENTS = frozenset({"response.failed", "response.cancelled", "error"})
TEXT_DELTAS = {f"response.{kind.text_event}.delta": kind for kind in TEXT_KINDS}
TEXT_DONE = {f"response.{kind.text_event}.done": kind for kind in TEXT_KINDS}
PART_ADDED = frozenset(f"response.{kind.part_event}.added" for kind in TEXT_KINDS)
PART_DONE = frozenset(f"response.{kind.part_event}.done" for kind in TEXT_KINDS)
KINDS_BY_TYPE = {kind.type: kind for kind in TEXT_KINDS}
ARGUMENTS = "response.function_call_arguments"
ARGUMENTS_DELTA, ARGUMENTS_DONE = f"{ARGUMENTS}.delta", f"{ARGUMENTS}.done"


def can_hold(item: OutputItem, kind: str) -> bool:
    """Return whether the deltas of this event belong to this type of item."""
    text_kind = TEXT_DELTAS.get(kind)
    if text_kind is None:
        return item.type == "function_call"
    return item.type == ("message" if text_kind in {OUTPUT_TEXT, REFUSAL} else "reasoning")


def reasoning_kind(event: Mapping[str, Any]) -> TextKind:
    """Return which of the two kinds of reasoning the event carries."""
    item = event.get("item")
    if isinstance(item, dict):
        return REASONING_TEXT if item.get("content") else SUMMARY_TEXT
    return SUMMARY_TEXT if "summary" in str(event.get("type")) else REASONING_TEXT
