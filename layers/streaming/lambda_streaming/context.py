"""The context object: what an application may know about its invocation.

It has the attributes of the context that AWS's own runtime passes to handlers ("Using the Lambda
context object in Python", AWS Lambda developer guide), and `trace_id`, which others keep in the
process's environment. `current` holds the invocation that the running code belongs to: a context
variable, because one process may serve many at once.
"""

import json
import os
import time
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

from lambda_streaming.failures import PlatformError
from lambda_streaming.runtime_api import Invocation

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")
_CLIENT_FIELDS = (
    "installation_id",
    "app_title",
    "app_version_name",
    "app_version_code",
    "app_package_name",
)


class LambdaContext:
    """One invocation, as the handler and `scope["aws.context"]` see it.

    Raises:
        PlatformError: The client's context or identity is not JSON.
    """

    def __init__(self, invocation: Invocation) -> None:
        env = os.environ.get
        self.function_name = env("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = env("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = env("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = env("AWS_LAMBDA_LOG_STREAM_NAME")
        self.aws_request_id = invocation.request_id
        self.invoked_function_arn = invocation.function_arn
        self.tenant_id = invocation.tenant_id
        self.trace_id = invocation.trace_id
        client_context = _decode(invocation.client_context)
        w3c = client_context.pop("w3c", None) if client_context else None
        self._w3c = w3c if isinstance(w3c, dict) else {}
        self.client_context = _client_context(client_context)
        identity = _decode(invocation.cognito_identity) or {}
        self.identity = SimpleNamespace(
            cognito_identity_id=identity.get("cognitoIdentityId"),
            cognito_identity_pool_id=identity.get("cognitoIdentityPoolId"),
        )
        self._deadline_ms = invocation.deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the deadline, never negative.

        By the wall clock: a monotonic one may have stood still while the process was frozen.
        """
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def w3c(self) -> dict[str, str]:
        """Return the W3C trace context that came with the client context, as AWS's runtime does."""
        fields = ((name, self._w3c.get(name)) for name in _W3C_FIELDS)
        return {name: value for name, value in fields if isinstance(value, str)}

    def log(self, message: object) -> None:
        """Write to the function's log."""
        print(message, flush=True)  # noqa: T201 - standard output is the log

    def __repr__(self) -> str:
        facts = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"LambdaContext({facts})"


current: ContextVar[LambdaContext | None] = ContextVar("lambda_streaming.current", default=None)


def _decode(header: str | None) -> dict[str, Any] | None:
    try:
        # Header bytes were read as Latin-1; the JSON in them is UTF-8.
        value = json.loads(header.encode("latin-1")) if header else None
    except ValueError as error:
        raise PlatformError(
            "Runtime.LambdaContextUnmarshalError", f"Unable to parse {header!r}: {error}"
        ) from error
    return value if isinstance(value, dict) else None


def _client_context(value: dict[str, Any] | None) -> SimpleNamespace | None:
    if value is None:
        return None
    client = value.get("client")
    return SimpleNamespace(
        client=client and SimpleNamespace(**{name: client.get(name) for name in _CLIENT_FIELDS}),
        custom=value.get("custom"),
        env=value.get("env"),
    )
