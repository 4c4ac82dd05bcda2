"""The layer's settings: the environment variables that it reads, and what each may say.

`LAMBDA_STREAMING_*` are an owner's (docs/streaming.md), others Lambda's. Two more are read before
Python begins, by `bootstrap`. Facts that only one module hands on stay there: `context` (names of
the function), `logs` (format and level), `__main__` (folders).
"""

import os

from lambda_streaming.failures import PlatformError


def runtime_api() -> str:
    """Return host and port of the Lambda Runtime API."""
    return os.environ["AWS_LAMBDA_RUNTIME_API"]


def handler_name() -> str:
    """Return the function's handler as the template names it, such as `app.handler`."""
    return os.environ.get("_HANDLER", "")


def concurrency() -> int:
    """Return how many invocations the environment may get at a time."""
    return int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY") or 1)


def takes_snapshot() -> bool:
    """Return whether a snapshot is taken after the init (SnapStart)."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def streams_rest_apis() -> bool:
    """Return whether a REST API's integration has `ResponseTransferMode: STREAM`."""
    return os.environ.get("LAMBDA_STREAMING_REST_API") == "STREAM"


def keeps_accept_encoding() -> bool:
    """Return whether the application of a streamed request sees `accept-encoding`."""
    return os.environ.get("LAMBDA_STREAMING_ACCEPT_ENCODING") == "KEEP"


def prelude_gap_s() -> float:
    """Return how many seconds a prelude stays alone on the wire.

    2 ms by default, counted from its write: a reader that the prelude wakes then reads it alone in
    all but a few of thousands of answers. It costs nothing if the application takes longer.

    Raises:
        PlatformError: The setting is not a number of milliseconds.
    """
    text = os.environ.get("LAMBDA_STREAMING_PRELUDE_GAP_MS") or "2"
    try:
        gap_ms = float(text)
    except ValueError:
        gap_ms = -1.0
    if not 0 <= gap_ms <= 1000:
        raise PlatformError(
            "Runtime.BadSetting",
            f"LAMBDA_STREAMING_PRELUDE_GAP_MS is {text!r}; expected milliseconds from 0 to 1000",
        )
    return gap_ms / 1000
