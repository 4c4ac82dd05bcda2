"""What every log line says about its request, and nothing of the request before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request

from completions.observability import bind, log
from completions.web.request_log import BOUND_FIELDS, bind_body, bind_request, path_of
from tests.support.logs import Logged


def _request(path: str = "/v1/x", conversation: str = "", **scope: Any) -> Request:
    headers = [(b"x-conversation-id", conversation.encode("latin-1"))] if conversation else []
    return Request({"type": "http", "method": "POST", "path": path, "headers": headers} | scope)


async def test_each_line_names_its_request(logs: Logged) -> None:
    """It has Lambda's request id, the trace, the path and the platform's id of the call."""
    context = SimpleNamespace(aws_request_id="request-1", trace_id="Root=1-a;Parent=b;Sampled=1")
    bind_request(_request("/v1/v1/x", "conv_1", **{"aws.context": context}))
    log.info("something.happened")
    event = logs.event("something.happened")
    assert {name: event[name] for name in BOUND_FIELDS if name in event} == {
        "function_request_id": "request-1",
        "xray_trace_id": "1-a",
        "path": "/v1/v1/x",
        "gen_ai.conversation.id": "conv_1",
    }


async def test_without_a_context_a_header_names_the_request(logs: Logged) -> None:
    """It is a Lambda Web Function's header; a value that does not look like an id is not logged."""
    for value in (b"request-1", b"a b; c"):
        bind_request(_request(headers=[(b"lambda-web-request-id", value)]))
        log.info("something.happened")
    told = [event["function_request_id"] for event in logs.events("something.happened")]
    assert told == ["request-1", "other"]


async def test_nothing_of_the_previous_request_is_logged(logs: Logged) -> None:
    """Its fields are gone, and missing values make no field."""
    bind_request(_request(conversation="conv_1"))
    bind(auth="previous")
    bind_request(_request())
    log.info("something.happened")
    assert logs.event("something.happened").keys() & set(BOUND_FIELDS) == {"path"}


async def test_a_key_in_the_path_is_not_logged(logs: Logged) -> None:
    """If it was pasted into the server URL, the log shows the rest of the path."""
    bind_request(_request("/sk-abcdefghijklmnopqrstuvwxyz/v1/x"))
    log.info("something.happened")
    assert logs.event("something.happened")["path"] == "/…/v1/x"


async def test_a_body_names_the_call_if_nothing_else_does(logs: Logged) -> None:
    """An id from headers or query is known before the body, and wins."""
    for conversation in ("", "conv_1"):
        request = _request(conversation=conversation)
        bind_request(request)
        bind_body({"call": {"id": "c-1"}})
        log.info(f"named{conversation}")
    assert logs.event("named")["gen_ai.conversation.id"] == "c-1"
    assert logs.event("namedconv_1")["gen_ai.conversation.id"] == "conv_1"


def test_the_path_is_known_whatever_the_host() -> None:
    """A request whose `Host` makes no valid URL is still logged."""
    request = _request("/v1/x", server=("[", 443), scheme="https", query_string=b"")
    with pytest.raises(ValueError, match="Invalid IPv6"):
        request.url.path  # noqa: B018 - it raises
    assert path_of(request) == "/v1/x"
