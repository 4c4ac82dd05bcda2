"""A model API's refusal: read within bounds, turned into an error for our caller.

What it says stands in `dialects.error_objects`. Knows nothing of connections.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

from pydantic_core import from_json

from completions.causes import Cause
from completions.dialects.error_objects import ErrorObject, read_error
from completions.errors import (
    CompletionsError,
    UpstreamAuth,
    UpstreamForbids,
    UpstreamRefused,
    UpstreamUnavailable,
)
from completions.observability import identifier, log
from completions.upstream.redaction import forwarded_headers, redacted_message, redacted_name

REFUSAL_LIMIT_BYTES = 256 * 1024
"""Longest body of a refusal that is read; a refusal is read whole."""
_AWS_ACTION = re.compile(r"not authorized to perform: ([a-z-]{1,40}:[A-Za-z]{1,60})")
"""What the role lacks; the rest of such a sentence names an account and a resource."""


async def read_refusal(chunks: AsyncIterator[bytes]) -> bytes:
    """Return the body of a refusal; empty if it breaks off or never ends: the status is enough."""
    import aiohttp

    body = bytearray()
    try:
        async for chunk in chunks:
            body += chunk
            if len(body) > REFUSAL_LIMIT_BYTES:
                return b""
    except (aiohttp.ClientError, ValueError):  # ValueError: not compressed as it says.
        return b""
    return bytes(body)


def to_error(status: int, headers: Mapping[str, str], body: bytes, key: str) -> CompletionsError:
    """Return the error that our caller gets for a refusal, and log the refusal.

    It is the upstream's own error, with its status, but without our `key`. If the upstream refuses
    our key, the fault is ours; a status that is not an answer becomes a 502.
    """
    error = _error_object(headers, body)
    code, param = redacted_name(error.code, key), redacted_name(error.param, key)
    log.warning("upstream.refused", status=status, code=identifier(code), param=identifier(param))
    message = redacted_message(error.message, key)
    refusal = UpstreamRefused(
        message or f"The upstream answered {status}.",
        status=status,
        error_type=redacted_name(error.type, key),
        code=code,
        param=param,
        fields=[path for path in error.fields if redacted_name(path, key)],
        headers=forwarded_headers(headers, key),
    )
    if refusal.cause is Cause.RIGHTS:
        action = _AWS_ACTION.search(message or "")
        return UpstreamForbids(
            f"This deployment's key is valid but may not use this model ({status}"
            f"{f', {action[1]}' if action else ''}). The operator grants it access; on Bedrock: "
            "BedrockModelArns, and model access in the console."
        )
    if refusal.cause is Cause.KEY or (status in {401, 403} and refusal.cause is not Cause.FILTER):
        return UpstreamAuth(
            f"The upstream refuses this deployment's key ({status}). "
            "The operator sets a valid one: `make upstream-key`, for `make run` UPSTREAM_KEY."
        )
    if not 400 <= status < 600:
        moved = 300 <= status < 400 and status != 304
        hint = " Redirections are not followed: set its new address." if moved else ""
        return UpstreamUnavailable(f"The upstream answered {status}, which is no answer.{hint}")
    return refusal


def _error_object(headers: Mapping[str, str], body: bytes) -> ErrorObject:
    """Return what a refusal says; nothing if it is a web page."""
    try:
        value = from_json(body)
    except ValueError:
        value = body.decode(errors="replace").strip()
        kind = headers.get("content-type", "")
        if value.startswith("<") or not ("json" in kind or "text/plain" in kind):
            value = None
    return read_error(value)
