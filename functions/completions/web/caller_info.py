"""What an agent may know about its caller: the id of the call, and headers without secrets.

Knows which headers may be shown, not what an agent does with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import Request

from completions.dialects.request import ParsedRequest
from completions.web import conversation

SHOWN = frozenset({"accept-language", "traceparent", "tracestate", "user-agent"})
SHOWN_BEGINNINGS = ("x-agent-", "x-completions-")
"""The first is for a deployment's own headers."""
SHOWN_ENDS = ("-id",)
"""Platforms identify calls, agents and customers by ids."""
_SECRETS = ("auth", "cookie", "credential", "key", "password", "secret", "signature", "token")
"""A header whose name contains one of these words is never shown."""


def with_caller_info(
    parsed: ParsedRequest, request: Request, body: Mapping[str, Any]
) -> ParsedRequest:
    """Return the request with what an agent may know about its caller."""
    return replace(
        parsed,
        call_id=conversation.named_in_request(request) or conversation.named_in_body(body),
        headers={name: value for name, value in request.headers.items() if _is_shown(name)},
    )


def _is_shown(name: str) -> bool:
    return not any(word in name for word in _SECRETS) and (
        name in SHOWN or name.startswith(SHOWN_BEGINNINGS) or name.endswith(SHOWN_ENDS)
    )
