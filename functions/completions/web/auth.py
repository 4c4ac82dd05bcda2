"""Who may call: the key in `Authorization: Bearer …`, `x-api-key` or `api-key`.

Voice platforms do not sign their requests, so this key is all there is to check.
Knows headers, not where keys are kept.
"""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import Request

from completions.errors import Unauthorized
from completions.observability import count, log

EXPECTED_HEADERS = "Authorization: Bearer <caller key>, or x-api-key: <caller key>"
KEY_HEADERS = ("x-api-key", "api-key")
"""Accepted beside `Authorization`: D-ID's header, and that of Azure OpenAI's clients."""


class CallerKeys(Protocol):
    """What is needed of `keys.keys.Keys`, or of `readiness.Readiness` where a turn begins."""

    async def caller_key_version(self, presented: str) -> str:
        """Return which version of the caller key this is, or nothing. Raises KeyUnavailable."""
        ...


async def authorise(request: Request, keys: CallerKeys) -> str:
    """Return the version of the caller key sent: `current`, or `previous` during a rotation.

    Raises:
        Unauthorized: No key was sent, or a wrong one.
        KeyUnavailable: The caller key cannot be read, so no key can be checked.
    """
    presented = presented_key(request)
    if not presented:
        _log_refusal("no key", expected=EXPECTED_HEADERS, authorization=_shape_of_header(request))
        raise Unauthorized(
            "No API key. Send `Authorization: Bearer <caller key>` or `x-api-key: <caller key>`."
        )
    version = await keys.caller_key_version(presented)
    if not version:
        # The length distinguishes a truncated or doubled key from a wrong one, and reveals nothing.
        _log_refusal(
            "wrong key",
            key_length=len(presented),
            expected="the value in the secret of the output CallerKeySecretArn; "
            "for `make run` that of CALLER_KEY",
        )
        raise Unauthorized(
            "Incorrect API key. Send the value in the deployment's caller key secret "
            "(output CallerKeySecretArn; for `make run` that of CALLER_KEY)."
        )
    return version


def _log_refusal(reason: str, **facts: Any) -> None:
    count("AuthFailures")
    log.warning("auth.refused", reason=reason, **facts)


def _shape_of_header(request: Request) -> str:
    """Describe `Authorization` without quoting it: it may be the key itself, sent bare."""
    header = request.headers.get("authorization", "").strip()
    if not header:
        return "absent"
    return "Bearer and nothing" if header.lower() == "bearer" else "not Bearer and a key"


def presented_key(request: Request) -> str:
    """Return the key that the request presents, in any of the headers; empty if it has none."""
    scheme, _, key = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    shown = (request.headers.get(name, "").strip() for name in KEY_HEADERS)
    return next(filter(None, shown), "")
