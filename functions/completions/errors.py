"""Every error a caller can be shown, and the one place that renders them.

Knows OpenAI's error object (`{"error": {"message", "type", "param", "code"}}`,
platform.openai.com/docs/guides/error-codes) and nothing of transports: `app` sends the
JSON before the first byte, a dialect sends the same object in a frame after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CompletionsError(Exception):
    """An error that may be shown to the caller; the message says what to do.

    `headers` go out with the response when it has not started (`retry-after`, `allow`).
    `transient` says that asking again, or asking somebody else, may help.
    """

    status: int = 500
    type: str = "server_error"
    code: str = "internal_error"
    transient: bool = False
    quotes: bool = False
    """The message is somebody else's, and may hold what people said: not for every log."""

    def __init__(
        self, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: dict[str, str] = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """OpenAI's error object, as every OpenAI client parses it."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class InvalidRequest(CompletionsError):
    """The request cannot be understood; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class Unauthorized(CompletionsError):
    """No key, or a wrong one."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"www-authenticate": "Bearer"})


class NotFound(CompletionsError):
    """No such path."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(CompletionsError):
    """A model that this deployment does not ask; status and code are OpenAI's for it."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class MethodNotAllowed(CompletionsError):
    """The path exists, the method does not."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class TooLarge(CompletionsError):
    """The body exceeds what Lambda takes."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class KeyUnavailable(CompletionsError):
    """A secret cannot be read, so nobody can be let in or no model can be asked."""

    status = 503
    code = "key_unavailable"


class UpstreamAuth(CompletionsError):
    """The upstream refuses *our* key: not the caller's fault, so never a 401."""

    status = 502
    code = "upstream_auth"


class UpstreamUnavailable(CompletionsError):
    """The upstream cannot be reached, or what it sends is no answer."""

    status = 502
    code = "upstream_unavailable"
    transient = True


class UpstreamTimeout(CompletionsError):
    """The upstream said nothing in time."""

    status = 504
    code = "upstream_timeout"
    transient = True


class InvalidToolCall(CompletionsError):
    """The model called a tool with arguments that its schema does not allow, and did so again."""

    status = 502
    code = "invalid_tool_call"
    transient = True


class UpstreamRefused(CompletionsError):
    """The upstream answered with an error of its own, which is passed on with its status."""

    quotes = True

    def __init__(
        self,
        message: str,
        *,
        status: int,
        error_type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, param=param, headers=headers)
        self.status = status
        self.type = error_type or ("invalid_request_error" if status < 500 else "server_error")
        self.code = code or f"upstream_{status}"
        # 408, 409 and 429 pass; every 5xx may.
        self.transient = status in {408, 409, 429} or status >= 500
