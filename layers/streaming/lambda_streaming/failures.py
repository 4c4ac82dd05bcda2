"""Failures, as the platform and the caller may see them.

A failure is told twice: in full to the log, by whoever catches it, and in the shapes of this
module to the outside. What goes to a caller over HTTP says nothing of the code within.
"""

import traceback
from typing import Any

from lambda_streaming.runtime_api import Failure

# Frames that say nothing about the function: ours, and the import machinery's.
_OWN_CODE = (__file__.rpartition("/")[0], "<frozen importlib")


class IncompleteResponseError(Exception):
    """The application returned without having completed its response."""


class DeadlineError(Exception):
    """The application was still at work when the invocation's time was nearly over."""


class PlatformError(Exception):
    """A failure that Lambda has a name for: `type` is "<category>.<reason>"."""

    def __init__(self, type_: str, message: str) -> None:
        super().__init__(message)
        self.type = type_


def of_handler(error: BaseException, request_id: str = "") -> Failure:
    """What AWS's own runtime reports: message and stack, for the eyes of whoever may invoke."""
    if isinstance(error, PlatformError):
        name = kind = error.type
    else:
        name = type(error).__name__
        kind = f"Function.{name}"
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    foreign = [frame for frame in frames if not frame.filename.startswith(_OWN_CODE)]
    return Failure(kind, _body(name, str(error), traceback.format_list(foreign), request_id))


def of_stream(error: BaseException, request_id: str) -> Failure:
    """What follows a half-sent answer: the class of the error and where to read on, no more."""
    name = type(error).__name__
    message = f"The response broke off. The function's log tells why, at request {request_id}."
    return Failure(f"Function.{name}", _body(name, message, [], request_id))


def _body(name: str, message: str, stack: list[str], request_id: str) -> dict[str, Any]:
    return {
        "errorType": name,
        "errorMessage": message,
        "requestId": request_id,
        "stackTrace": stack,
    }
