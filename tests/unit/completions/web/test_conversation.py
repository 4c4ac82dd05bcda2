"""The id of a call, from wherever a platform puts it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request

from completions.web.conversation import custom_session, named_in_body, named_in_request


def _request(query: str = "", **headers: str) -> Request:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, "query_string": query.encode()})


@pytest.mark.parametrize(
    ("headers", "query", "found"),
    [
        ({}, "", ""),
        ({"x-conversation-id": " c-1 "}, "", "c-1"),
        ({"x-call-id": "c-1"}, "", "c-1"),
        ({"x-platform-conversation-id": "c-1"}, "", "c-1"),
        ({"conversation_id": "c-1"}, "", "c-1"),
        ({"x-session-id": "s-1", "x-conversation-id": "c-1"}, "", "c-1"),
        ({"x-call-id": " "}, "custom_session_id=s-1", "s-1"),
        ({"x-call-id": "c-1"}, "custom_session_id=s-1", "c-1"),
        ({}, "a=b&call_id=c%201", "c 1"),
        ({"x-request-id": "r", "x-amzn-trace-id": "t", "idempotency-key": "i"}, "id=3", ""),
        ({"x-conversation-id": "conv\x1b_1"}, "", "conv\ufffd_1"),
        ({"x-conversation-id": "c" * 65}, "", "c" * 64 + "…"),
    ],
)
def test_headers_and_query_name_the_call(headers: dict[str, str], query: str, found: str) -> None:
    """The best name comes first, then any with its ending; the id is bounded and printable."""
    assert named_in_request(_request(query, **headers)) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, ""),
        ({"call": {"id": "c-1", "type": "web"}}, "c-1"),
        ({"extra_metadata": {"telnyx_conversation_id": "c-1"}}, "c-1"),
        ({"elevenlabs_extra_body": {"system__conversation_id": "c-1"}}, "c-1"),
        ({"elevenlabs_extra_body": {"conversation_id": "c-1"}}, "c-1"),
        ({"MetaInfo": {"call_id": 17}}, "17"),
        ({"metadata": {"call_id": "c-1"}}, "c-1"),
        ({"session_id": "s-1"}, "s-1"),
        ({"call": {"id": " "}, "call_id": "c-2"}, "c-2"),
        ({"call": "c-1", "metadata": ["call_id"], "extra_metadata": None}, ""),
        ({"call": {"id": {"a": 1}}, "call_id": True, "conversation_id": []}, ""),
        ({"messages": [{"call_id": "c-1"}], "user_id": "u-1"}, ""),
    ],
)
def test_the_body_names_the_call(body: dict[str, Any], found: str) -> None:
    """The id is in an object of its own, in the platform's extra fields, or at the top."""
    assert named_in_body(body) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [("", ""), ("session_id=s", ""), ("custom_session_id=" + "s" * 99, "s" * 99)],
)
def test_a_session_id_is_returned_unchanged(query: str, found: str) -> None:
    """Its platform compares it, so it is never cut."""
    assert custom_session(_request(query)) == found
