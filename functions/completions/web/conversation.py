"""Finds the id of the call that a request belongs to, wherever its platform puts it.

Uses tables of names, without code for any platform: docs/platforms.md says which platform uses
which. The caller chooses the id: it identifies a call in the log and authorises nobody. Knows
requests and bodies as they came, not dialects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Request

from completions.observability import printable

CUSTOM_SESSION = "custom_session_id"
"""The query parameter by which Hume's EVI names its session."""

HEADERS = ("conversation-id", "call-id", "call-sid", "session-id")
"""Suffixes of the headers that hold it, such as `x-conversation-id`: prefixes differ."""
QUERY = (CUSTOM_SESSION, "conversation_id", "call_id", "session_id")
FIELDS = (
    "conversation_id",
    "system__conversation_id",
    "telnyx_conversation_id",
    "call_id",
    "session_id",
)
"""Fields of the body itself, or of one of its `OBJECTS`."""
OBJECTS = ("elevenlabs_extra_body", "extra_metadata", "metadata", "MetaInfo", "meta_info")
NESTED = (("call", "id"), ("conversation", "id"), ("session", "id"))
"""Objects of the body whose own `id` it is, such as Vapi's `call`."""


def named_in_request(request: Request) -> str:
    """Return the id from the headers or the query, or an empty string."""
    # Each request has a dozen headers, and hardly ever one of these, so decode only those.
    shown = [
        (name.decode("latin-1").replace("_", "-"), value.decode("latin-1"))
        for name, value in request.scope["headers"]
        if name.endswith(b"id")
    ]
    found = [value for end in HEADERS for name, value in shown if name.endswith(end)]
    if request.scope.get("query_string"):
        found += [request.query_params.get(name, "") for name in QUERY]
    return _first(found)


def named_in_body(body: Mapping[str, Any]) -> str:
    """Return the id from the body, or an empty string."""
    objects = [body, *(one for name in OBJECTS if isinstance(one := body.get(name), dict))]
    nested = [one.get(name) for place, name in NESTED if isinstance(one := body.get(place), dict)]
    return _first(nested + [one.get(name) for one in objects for name in FIELDS])


def custom_session(request: Request) -> str:
    """Return the id of a session whose platform wants it back in each chunk (Hume), or ""."""
    if not request.scope.get("query_string"):
        return ""
    return request.query_params.get(CUSTOM_SESSION, "").strip()


def _first(values: Iterable[Any]) -> str:
    """Return the first value that is an id: a text that is not blank, or a number."""
    for value in values:
        if isinstance(value, str | int) and not isinstance(value, bool):
            text = str(value).strip()
            if text:
                return printable(text)
    return ""
