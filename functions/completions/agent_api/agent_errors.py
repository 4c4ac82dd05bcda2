"""What an error that leaves an agent means: the model's own failure, or a bug of the agent's.

Frameworks wrap what the SDK raises, and the SDK wraps what its client was told. Knows the SDK's
errors by their names: they are looked for only where the SDK has been imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from completions.errors import (
    CompletionsError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)

BASE_URL = "http://turn.invalid/v1"
"""Of an agent's clients; never connected to. They put their paths behind it."""
_DEPTH_LIMIT = 16


def of_model(error: BaseException, told: Sequence[CompletionsError]) -> CompletionsError | None:
    """Return the failure of a model that an agent did not catch; None if it is the agent's own.

    `told` are the failures that its questions came to.
    """
    sdk = sys.modules.get("openai")
    for one in _reasons(error):
        if isinstance(one, CompletionsError):
            return None if _is_mistake(one) else one
        if sdk is None or not isinstance(one, sdk.APIError):
            continue
        same = [failure for failure in told if (failure.code, failure.message) == _said(one)]
        if same or _asked_turn(one):
            return same[-1] if same and not _is_mistake(same[-1]) else None
        # Of a client of the agent's own.
        if isinstance(one, sdk.APITimeoutError):
            return UpstreamTimeout("The agent's model did not answer in time.")
        if not isinstance(one, sdk.APIStatusError):
            return UpstreamUnavailable("The agent's model cannot be reached, or broke off.")
        return UpstreamRefused(
            one.message,
            status=one.status_code,
            error_type=one.type,
            code=one.code,
            param=one.param,
        )
    return None


def _is_mistake(error: CompletionsError) -> bool:
    """Return True for what no model has refused: the agent asked wrongly."""
    return error.ours and error.status < 500


def _asked_turn(error: object) -> bool:
    """Return True if it was a client of ours that asked."""
    url = getattr(getattr(error, "request", None), "url", "")
    return str(url).startswith(BASE_URL)


def _said(error: object) -> tuple[object, object]:
    """Return code and message as the model API's error object had them."""
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else getattr(error, "message", None)
    return getattr(error, "code", None), message


def _reasons(error: BaseException, depth: int = 0) -> Iterator[BaseException]:
    """Yield an error and what led to it, the nearest first.

    What was being handled when a builtin error was raised is not its reason: that is a bug.
    """
    yield error
    if depth > _DEPTH_LIMIT:
        return
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _reasons(one, depth + 1)
    reason = error.__cause__
    if reason is None and type(error).__module__ != "builtins" and not error.__suppress_context__:
        reason = error.__context__
    if reason is not None:
        yield from _reasons(reason, depth + 1)
