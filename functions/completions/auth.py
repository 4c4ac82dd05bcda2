"""Who may call: the key in `Authorization: Bearer …` or `x-api-key`.

Voice platforms sign nothing; this key is all there is. Knows headers, not where keys lie.
"""

from __future__ import annotations

from fastapi import Request

from completions.credentials import Keys
from completions.errors import Unauthorized
from completions.observability import log


async def authorise(request: Request, keys: Keys) -> None:
    """Returns when the caller's key is good. Raises Unauthorized or KeyUnavailable."""
    presented = _presented(request)
    if not presented:
        log.warning("auth.refused", reason="no key", path=request.scope["path"])
        raise Unauthorized(
            "No API key. Send `Authorization: Bearer <caller key>` or `x-api-key: <caller key>`."
        )
    if not await keys.accepts(presented):
        # The length tells a truncated or doubled key from a wrong one, and gives nothing away.
        log.warning(
            "auth.refused",
            reason="wrong key",
            key_length=len(presented),
            path=request.scope["path"],
        )
        raise Unauthorized(
            "Incorrect API key. Send the value in the deployment's caller key secret "
            "(output CallerKeySecretArn)."
        )


def _presented(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return request.headers.get("x-api-key", "").strip()
