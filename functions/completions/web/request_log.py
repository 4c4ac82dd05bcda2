"""What every log line says of a request: its ids, its path, the call it belongs to.

Knows requests; nothing of errors and of turns.
"""

from __future__ import annotations

from fastapi import Request

from completions.observability import bind, redacted_path, shown, unbind

BOUND = ("function_request_id", "xray_trace_id", "path", "gen_ai.conversation.id", "auth")
"""What stands in every line of a request, as far as it is known."""
CONVERSATION_HEADER = "x-conversation-id"
CONVERSATION = "gen_ai.conversation.id"


def note(request: Request) -> None:
    """Has every further line of this request tell which one it is, and of no other."""
    unbind()
    context = request.scope.get("aws.context")
    bind(
        function_request_id=getattr(context, "aws_request_id", None),
        xray_trace_id=getattr(context, "trace_id", None),
        path=redacted_path(path_of(request)),
        **{CONVERSATION: conversation(request)},
    )


def conversation(request: Request) -> str:
    """The platform's name for the call, from the header; empty where it tells none."""
    return shown(request.headers.get(CONVERSATION_HEADER, "").strip())


def path_of(request: Request) -> str:
    """The path as it was received."""
    # NOTE: not `request.url.path`. Its URL has the caller's Host in it, which may be anything:
    # `Host: [` raises ValueError.
    path: str = request.scope["path"]
    return path
