"""What a model's API says when it refuses: read within bounds, told to our caller.

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
from completions.upstream.redaction import forwarded_headers, redacted_message, shown_name

LIMIT_BYTES = 256 * 1024
"""Of a refusal's body, which is read whole."""


async def read_refusal(pieces: AsyncIterator[bytes]) -> bytes:
    """The body of a refusal; nothing where it breaks off or does not end: its status counts."""
    import aiohttp

    content = bytearray()
    try:
        async for piece in pieces:
            content += piece
            if len(content) > LIMIT_BYTES:
                return b""
    except aiohttp.ClientError:
        return b""
    return bytes(content)


def refusal(status: int, headers: Mapping[str, str], body: bytes, key: str) -> CompletionsError:
    """The upstream's own error, with its status, and without our `key` in any of its words.

    The refusal of that key is ours to answer for, and what is no answer at all is a 502. Logs it.
    """
    details = _details(headers, body)
    code, param = shown_name(details.get("code"), key), shown_name(details.get("param"), key)
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
        error_type=shown_name(details.get("type"), key),
        code=code,
        param=param,
        headers=forwarded_headers(headers, key),
    )


def _details(headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    """The error object, however it is wrapped; a bare text only where JSON was announced."""
    try:
        value = from_json(body)
    except ValueError:
        value = body.decode(errors="replace")
    if isinstance(value, dict):
        value = value.get("error", value)
    if isinstance(value, str) and "json" in headers.get("content-type", ""):
        return {"message": value}
    return value if isinstance(value, dict) else {}
