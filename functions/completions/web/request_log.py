"""What every log line says about a request: its ids, its path, the call it belongs to.

Knows requests, not errors or turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from completions.observability import (
    bind,
    bind_trace,
    bound_fields,
    identifier,
    redacted_path,
    unbind,
)
from completions.web import conversation

CONVERSATION_FIELD = "gen_ai.conversation.id"
BOUND_FIELDS = ("function_request_id", "xray_trace_id", "path", CONVERSATION_FIELD, "auth")
"""The fields in every line of a request, if known."""


def bind_request(request: Request) -> None:
    """Put this request's fields into all its further log lines, and no other request's."""
    unbind()
    context = request.scope.get("aws.context")
    bind_trace(getattr(context, "trace_id", None))
    bind(
        function_request_id=getattr(context, "aws_request_id", None)
        # A Lambda Web Function has no context; Lambda lets no caller set this header.
        or identifier(request.headers.get("lambda-web-request-id")),
        path=redacted_path(path_of(request)),
        **{CONVERSATION_FIELD: conversation.named_in_request(request)},
    )


def bind_body(body: Mapping[str, Any]) -> None:
    """Log the call's id from the body, unless the request's headers or query have it."""
    if CONVERSATION_FIELD not in bound_fields():
        bind(**{CONVERSATION_FIELD: conversation.named_in_body(body)})


def path_of(request: Request) -> str:
    """Return the path as received."""
    # NOTE: not `request.url.path`: it reads the caller's Host, which may be anything, and
    # `Host: [` raises ValueError.
    path: str = request.scope["path"]
    return path
