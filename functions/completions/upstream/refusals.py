"""What a model API says when it refuses: read within bounds, turned into an error for our caller.

Shape: platform.openai.com/docs/guides/error-codes, an object `error` with message, type, code and
param; and what other servers make of it. Knows nothing of connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic_core import from_json

from completions.errors import (
    CompletionsError,
    UpstreamAuth,
    UpstreamRefused,
    UpstreamUnavailable,
)
from completions.observability import identifier, log
from completions.upstream.redaction import forwarded_headers, redacted_message, redacted_name

REFUSAL_LIMIT_BYTES = 256 * 1024
"""Longest body of a refusal that is read; a refusal is read whole."""


async def read_refusal(chunks: AsyncIterator[bytes]) -> bytes:
    """Return the body of a refusal; empty if it breaks off or never ends, its status is enough."""
    import aiohttp

    body = bytearray()
    try:
        async for chunk in chunks:
            body += chunk
            if len(body) > REFUSAL_LIMIT_BYTES:
                return b""
    except aiohttp.ClientError:
        return b""
    return bytes(body)


def to_error(status: int, headers: Mapping[str, str], body: bytes, key: str) -> CompletionsError:
    """Return the error that a refusal is to our caller, and log the refusal.

    That is the upstream's own error, with its status and without our `key` in any of its words. If
    the upstream refuses our key, the fault is ours; a status that is no answer becomes a 502.
    """
    details = _error_object(headers, body)
    code, param = redacted_name(details.get("code"), key), redacted_name(details.get("param"), key)
    log.warning("upstream.refused", status=status, code=identifier(code), param=identifier(param))
    if status in {401, 403}:
        return UpstreamAuth(
            f"The upstream refuses this deployment's key ({status}). "
            "The operator sets a valid one with `make upstream-key`."
        )
    if not 400 <= status < 600:
        moved = 300 <= status < 400 and status != 304
        hint = " Redirections are not followed: set its new address." if moved else ""
        return UpstreamUnavailable(f"The upstream answered {status}, which is no answer.{hint}")
    message = redacted_message(details.get("message") or details.get("detail"), key)
    return UpstreamRefused(
        message or f"The upstream answered {status}.",
        status=status,
        error_type=redacted_name(details.get("type"), key),
        code=code,
        param=param,
        headers=forwarded_headers(headers, key),
    )


def _error_object(headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    """Return the error object, however it is wrapped.

    A bare text counts as its message only where JSON was announced: it is no web page then.
    """
    try:
        value = from_json(body)
    except ValueError:
        value = body.decode(errors="replace")
    if isinstance(value, dict):
        value = value.get("error", value)
    if isinstance(value, str) and "json" in headers.get("content-type", ""):
        return {"message": value}
    return value if isinstance(value, dict) else {}
