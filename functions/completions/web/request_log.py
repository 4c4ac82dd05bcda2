"""What every log line says of a request: its ids, its path, the call it belongs to.

Knows requests; nothing of errors or turns.
"""

from __future__ import annotations

from fastapi import Request

from completions.observability import bind, printable, redacted_path, unbind

CONVERSATION_HEADER = "x-conversation-id"
CONVERSATION_FIELD = "gen_ai.conversation.id"
BOUND_FIELDS = ("function_request_id", "xray_trace_id", "path", CONVERSATION_FIELD, "auth")
"""The fields in every line of a request, as far as they are known."""


def bind_request(request: Request) -> None:
    """Put this request's fields into all its further log lines, and no other request's."""
    unbind()
    context = request.scope.get("aws.context")
    bind(
        function_request_id=getattr(context, "aws_request_id", None),
        xray_trace_id=getattr(context, "trace_id", None),
        path=redacted_path(path_of(request)),
        **{CONVERSATION_FIELD: conversation_id(request)},
    )


def conversation_id(request: Request) -> str:
    """Return the platform's id of the call from the header, or an empty string."""
    return printable(request.headers.get(CONVERSATION_HEADER, "").strip())


def path_of(request: Request) -> str:
    """Return the path as received."""
    # NOTE: not `request.url.path`, whose URL includes the caller's Host. That may be anything:
    # `Host: [` raises ValueError.
    path: str = request.scope["path"]
    return path
