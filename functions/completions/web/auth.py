"""Who may call: the key in `Authorization: Bearer …` or `x-api-key`.

Voice platforms sign nothing; this key is all there is. Knows headers, not where keys lie.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request

from completions.errors import Unauthorized
from completions.keys.keys import Keys
from completions.observability import count, log

EXPECTED = "Authorization: Bearer <caller key>, or x-api-key: <caller key>"


async def authorise(request: Request, keys: Keys) -> str:
    """Which version of the caller key came: `current`, or `previous` in a rotation.

    Raises Unauthorized or KeyUnavailable.
    """
    presented = _presented(request)
    if not presented:
        _refuse("no key", expected=EXPECTED, authorization=_shape(request))
        raise Unauthorized(
            "No API key. Send `Authorization: Bearer <caller key>` or `x-api-key: <caller key>`."
        )
    version = await keys.accepts(presented)
    if not version:
        # The length tells a truncated or doubled key from a wrong one, and gives nothing away.
        _refuse(
            "wrong key",
            key_length=len(presented),
            expected="the value in the secret of the output CallerKeySecretArn",
        )
        raise Unauthorized(
            "Incorrect API key. Send the value in the deployment's caller key secret "
            "(output CallerKeySecretArn)."
        )
    return version


def _refuse(reason: str, **facts: Any) -> None:
    count("AuthFailures")
    log.warning("auth.refused", reason=reason, **facts)


def _shape(request: Request) -> str:
    """How the header looks, never what is in it: it may be the key itself, without `Bearer`."""
    header = request.headers.get("authorization", "").strip()
    if not header:
        return "absent"
    return "Bearer and nothing" if header.lower() == "bearer" else "not Bearer and a key"


def _presented(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return request.headers.get("x-api-key", "").strip()
