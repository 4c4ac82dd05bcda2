"""Replaces AWS's `/var/runtime/bootstrap.py`: the ordinary, buffered runtime.

`layout` copies this file into the run folder as `runtime/bootstrap.py`; a wrapper gets it as its
second argument. Does what AWS's file does with AWS's own client, or uses its own loop where that
client is not installed: the built package rightly leaves it to AWS. Uses only the standard library
and nothing of `local`: it runs in the function's process.
"""

import http.client
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PREFIX = "/2018-06-01/runtime"


def main() -> None:
    """Set `sys.path` as the managed runtime does and serve until killed."""
    opt = Path(__file__).resolve().parents[1] / "opt"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    layers = [str(opt / "python" / "lib" / version / "site-packages"), str(opt / "python")]
    sys.path[0:1] = [os.environ["LAMBDA_TASK_ROOT"], *layers]
    try:
        from awslambdaric.__main__ import main as run
    except ImportError:
        _run(os.environ["_HANDLER"])
    else:
        run(["bootstrap.py", os.environ["_HANDLER"]])


class Context:
    """The part of a handler's context that is known here."""

    def __init__(self, headers: http.client.HTTPMessage) -> None:
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the process is killed."""
        return max(0, self._deadline_ms - int(time.time() * 1000))


def _run(name: str) -> None:
    # Printed text leaves at once, as with AWS's client: a process here ends by being killed.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # a TextIOWrapper
    try:
        module, _, attribute = name.rpartition(".")
        handler = getattr(importlib.import_module(module.replace("/", ".")), attribute)
    except BaseException as error:
        _post_error("/init/error", error)
        raise
    if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start":
        _pass_through_snapshot()
    while True:
        _serve_one(handler)


def _pass_through_snapshot() -> None:
    """Run the hooks before and after the snapshot, with AWS's errors and exit codes."""
    try:
        _run_hooks("get_before_snapshot", backwards=True)
        _request("GET", "/restore/next")
    except BaseException as error:
        _post_error("/init/error", error)
        sys.exit(64)
    try:
        _run_hooks("get_after_restore")
    except BaseException as error:
        _post_error("/restore/error", error)
        sys.exit(65)


def _run_hooks(registry: str, *, backwards: bool = False) -> None:
    try:
        hooks = list(getattr(importlib.import_module("snapshot_restore_py"), registry)())
    except ImportError:
        return
    for function, args, kwargs in reversed(hooks) if backwards else hooks:
        function(*args, **kwargs)


def _serve_one(handler: Callable[[Any, Context], Any]) -> None:
    headers, event = _request("GET", "/invocation/next")
    context = Context(headers)
    path = f"/invocation/{context.aws_request_id}"
    try:
        answer = json.dumps(handler(json.loads(event), context))
    except Exception as error:
        _post_error(f"{path}/error", error)
    else:
        _request("POST", f"{path}/response", answer, {"Content-Type": "application/json"})


def _post_error(path: str, error: BaseException) -> None:
    kind = type(error).__name__
    body = json.dumps({"errorType": kind, "errorMessage": str(error), "stackTrace": []})
    _request("POST", path, body, {"Lambda-Runtime-Function-Error-Type": kind})


def _request(
    method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, PREFIX + path, body, headers or {})
    response = connection.getresponse()
    return response.headers, response.read()


if __name__ == "__main__":
    main()
