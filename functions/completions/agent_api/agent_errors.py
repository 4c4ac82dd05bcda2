"""Tell whether an error that leaves an agent is a model's failure or the agent's bug.

Frameworks wrap what the SDK raises, and the SDK wraps what its client got. Knows the SDK's errors
by name, and looks for them only if the SDK has been imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from completions.agent_api.client import BASE_URL
from completions.errors import (
    CompletionsError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)

_DEPTH_LIMIT = 16


def of_model(error: BaseException, failures: Sequence[CompletionsError]) -> CompletionsError | None:
    """Return the failure of a model that an agent did not catch; None if it is the agent's own.

    `failures` are those of its questions.
    """
    sdk = sys.modules.get("openai")
    for one in _reasons(error):
        if isinstance(one, CompletionsError):
            return None if _is_mistake(one) else one
        if sdk is None or not isinstance(one, sdk.APIError):
            continue
        same = [
            failure
            for failure in failures
            if (failure.code, failure.message) == _code_and_message(one)
        ]
        if same or _asked_turn(one):
            return same[-1] if same and not _is_mistake(same[-1]) else None
        # From the agent's own client.
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
    """Return True if the agent asked wrongly, so that no model was asked."""
    return error.ours and error.status < 500


def _asked_turn(error: object) -> bool:
    """Return True if one of our clients asked."""
    url = getattr(getattr(error, "request", None), "url", "")
    return str(url).startswith(BASE_URL)


def _code_and_message(error: object) -> tuple[object, object]:
    """Return code and message as the model API's error object had them."""
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else getattr(error, "message", None)
    return getattr(error, "code", None), message


def _reasons(error: BaseException, depth: int = 0) -> Iterator[BaseException]:
    """Yield an error and what led to it, the nearest first.

    A builtin error is a bug, so what was being handled when it was raised is not its reason.
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
