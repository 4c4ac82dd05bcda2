"""Every error a caller can be shown, and the one place that renders them.

Knows OpenAI's error object (`{"error": {"message", "type", "param", "code"}}`,
platform.openai.com/docs/guides/error-codes) and nothing of transports: `web` sends the JSON before
the first byte, a dialect sends the same object as an event after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from completions.causes import Cause, cause_of


class CompletionsError(Exception):
    """An error that may be shown to the caller; the message says what to do.

    `headers` go out with the response if it has not started (`retry-after`, `allow`).
    `transient` says that asking the same model again may help.
    """

    status: int = 500
    type: str = "server_error"
    code: str = "internal_error"
    transient: bool = False
    ours: bool = True
    """False if a model or its API failed: a caller on the phone then hears words instead."""
    cause: Cause | None = None
    """What an upstream's refusal is about, if not about the request."""
    model: str = ""
    """The model that was asked, if a refusal may be about it."""
    quotes: bool = False
    """True if the message is an upstream's own, and may quote what people said."""

    def __init__(
        self, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: dict[str, str] = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return OpenAI's error object, as every OpenAI client parses it."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def retry_after_s(self) -> float | None:
        """The wait that a `Retry-After` asks for; None without one that can be read.

        RFC 9110, section 10.2.3; OpenAI adds `retry-after-ms`. Dates are not worth their
        parser.
        """
        for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            try:
                seconds = float(self.headers[name]) * unit_s
            except (KeyError, ValueError):
                continue
            if seconds >= 0:
                return seconds
        return None


class InvalidRequest(CompletionsError):
    """The request cannot be understood; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class Unauthorized(CompletionsError):
    """The caller sent no key, or a wrong one."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"www-authenticate": "Bearer"})


class NotFound(CompletionsError):
    """The path does not exist."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(CompletionsError):
    """This deployment does not offer the model; status and code are OpenAI's for it."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class MethodNotAllowed(CompletionsError):
    """The path exists, the method does not."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class TooLarge(CompletionsError):
    """The body is larger than Lambda takes."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class ChainNotFound(CompletionsError):
    """The history that a request continues is missing; clients then send all of it.

    Status and code are OpenAI's for a `previous_response_id` that it does not know.
    """

    status = 400
    type = "invalid_request_error"
    code = "previous_response_not_found"

    def __init__(
        self,
        message: str = "This request continues a stored response, conversation or item, which "
        "nobody here has. Send the whole history in `input`; a client that names items by their "
        "ids does so with `store` false.",
    ) -> None:
        super().__init__(message, param="previous_response_id")


class KeyUnavailable(CompletionsError):
    """A secret cannot be read, so no caller can be let in or no model can be asked."""

    status = 503
    code = "key_unavailable"


class UpstreamAuth(CompletionsError):
    """The upstream refuses *our* key: not the caller's fault, so never a 401."""

    status = 502
    code = "upstream_auth"
    ours = False
    cause = Cause.KEY


class UpstreamForbids(UpstreamAuth):
    """The upstream knows our key, and the key may not do this."""

    cause = Cause.RIGHTS


class UpstreamUnavailable(CompletionsError):
    """The upstream cannot be reached, or what it sends is not an answer."""

    status = 502
    code = "upstream_unavailable"
    transient = True
    ours = False


class NotAsked(UpstreamUnavailable):
    """No request was made: the turn had used up its requests."""


class AgentRequestsExhausted(CompletionsError):
    """An agent has made all the requests to models that its turn allows."""

    status = 502
    code = "agent_requests_exhausted"
    ours = False

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The agent has made the {limit} requests to models that a turn may make in all "
            "(AgentRequestLimit)."
        )


class NoTurn(CompletionsError):
    """An agent's client is used where no turn runs."""

    status = 400
    type = "invalid_request_error"
    code = "no_turn"

    def __init__(self) -> None:
        super().__init__(
            "This client asks on behalf of a turn, and none is running here: use it inside your "
            "agent, while the agent runs, in its own tasks."
        )


class UpstreamTimeout(CompletionsError):
    """The upstream did not answer in time."""

    status = 504
    code = "upstream_timeout"
    transient = True
    ours = False


class InvalidToolCall(CompletionsError):
    """The model called a tool with arguments that its schema forbids, twice."""

    status = 502
    code = "invalid_tool_call"
    transient = True
    ours = False


class ContentFiltered(CompletionsError):
    """The model's content filter withheld the answer; status and code are Azure's for it."""

    status = 400
    type = "invalid_request_error"
    code = "content_filter"
    ours = False
    cause = Cause.FILTER


BADLY_WRITTEN = frozenset({"tool_use_failed", "output_parse_failed"})
"""Codes of a 400 that blames the model: what it wrote could not be read as a call (Groq)."""


class UpstreamRefused(CompletionsError):
    """The upstream answered with an error of its own, which is passed on with its status.

    `fields` are the places in the request that it blames outside its message: paths like
    `messages[0].name`, best first.
    """

    ours = False
    quotes = True

    def __init__(
        self,
        message: str,
        *,
        status: int,
        error_type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        fields: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, param=param, headers=headers)
        self.fields = tuple(fields) or ((param,) if param else ())
        self.status = status
        self.type = error_type or ("invalid_request_error" if status < 500 else "server_error")
        self.code = code or f"upstream_{status}"
        self.cause = cause_of(status, code=code, kind=error_type, param=param, message=message)
        # A timeout (408), a conflict (409) and a rate limit (429) pass; so may every 5xx.
        passes = status in {408, 409, 429} or status >= 500 or code in BADLY_WRITTEN
        self.transient = passes and self.cause is None
