"""Adds every field that strict clients require to the response of an older server.

These are the fields that the SDK's types require. For a field that the server never had, a client
that validates (LiveKit, the usage) fails a turn whose words have all been heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REQUIRED_FIELDS = (
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
"""The fields that the official SDK requires in a `Response`."""
_OF_ITEMS = {
    "message": ("id", "role", "status", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "reasoning": ("id", "summary"),
}


def is_whole(response: Mapping[str, Any]) -> bool:
    """Return whether a buffered response is complete and can be passed on as it is."""
    usage = response.get("usage")
    return (
        not any(response.get(name) is None for name in REQUIRED_FIELDS)
        and (usage is None or whole_usage(usage) == usage)
        and all(_item_is_whole(item) for item in response["output"])
    )


def _item_is_whole(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    if any(item.get(name) is None for name in _OF_ITEMS.get(str(kind), ())):
        return False
    parts = item["content"] if kind == "message" else ()
    return all(
        isinstance(part, dict) and (part.get("type") != "output_text" or "annotations" in part)
        for part in parts
    )


def whole_usage(usage: Any) -> dict[str, Any] | None:
    """Return the counts in the Responses shape, missing ones as 0; None where there are none."""
    if not isinstance(usage, dict) or not usage:
        return None
    native = "input_tokens" in usage or "output_tokens" in usage
    head, tail = ("input", "output") if native else ("prompt", "completion")
    sent, generated = _number(usage, f"{head}_tokens"), _number(usage, f"{tail}_tokens")
    sent_details, generated_details = (
        _object(usage, f"{name}_tokens_details") for name in (head, tail)
    )
    return {
        **(usage if native else {}),
        "input_tokens": sent,
        "input_tokens_details": {
            **(sent_details if native else {}),
            "cached_tokens": _number(sent_details, "cached_tokens"),
            "cache_write_tokens": _number(sent_details, "cache_write_tokens"),
        },
        "output_tokens": generated,
        "output_tokens_details": {
            **(generated_details if native else {}),
            "reasoning_tokens": _number(generated_details, "reasoning_tokens"),
        },
        "total_tokens": _number(usage, "total_tokens") or sent + generated,
    }


def _object(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}


def _number(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) else 0
