"""Failures, as the platform and the caller may see them.

A failure is reported twice: in full to the log, by the code that catches it, and in the shapes of
this module to the outside. What a caller gets over HTTP reveals nothing about the code.
"""

import importlib
import os
import traceback
from typing import Any, NamedTuple

_OWN_CODE = __file__.rpartition("/")[0]
_IMPORT_MACHINERY = (importlib.__file__, "<frozen importlib")


class Failure(NamedTuple):
    """An error as it is reported to the Runtime API.

    `type` is "<category>.<reason>", as in `Runtime.ImportModuleError`; `body` has the keys
    `errorType`, `errorMessage` and `stackTrace`. `xray_cause` is what X-Ray shows ("AWS X-Ray
    segment documents", section errors and exceptions), or None.
    """

    type: str
    body: dict[str, Any]
    xray_cause: dict[str, Any] | None = None


class IncompleteResponseError(Exception):
    """The application returned without completing its response."""


class DeadlineError(Exception):
    """The application was still at work when the invocation's time was nearly over."""


class PlatformError(Exception):
    """A failure that Lambda has a name for: `type` is "<category>.<reason>"."""

    def __init__(self, type_: str, message: str) -> None:
        super().__init__(message)
        self.type = type_


def of_handler(error: BaseException, request_id: str = "") -> Failure:
    """Return what AWS's own runtime reports: message and stack, for anybody who may invoke."""
    if isinstance(error, PlatformError):
        name = kind = error.type
    else:
        name = type(error).__name__
        kind = f"Function.{name}"
    frames = _foreign_frames(error.__cause__ or error)
    body = {
        "errorType": name,
        "errorMessage": str(error),
        "requestId": request_id,
        "stackTrace": traceback.format_list(frames),
    }
    return Failure(kind, body, _xray_cause(name, str(error), frames))


def of_stream(error: BaseException, request_id: str) -> Failure:
    """Return what follows a half-sent answer: only the error's class and where to read more."""
    name = type(error).__name__
    body = {
        "errorType": name,
        "errorMessage": f"The response broke off. The log of request {request_id} says why.",
        "stackTrace": [],
    }
    return Failure(f"Function.{name}", body)


def _xray_cause(name: str, message: str, frames: traceback.StackSummary) -> dict[str, Any]:
    stack = [
        {"label": frame.name, "path": frame.filename, "line": frame.lineno} for frame in frames
    ]
    return {
        "working_directory": os.getcwd(),  # noqa: PTH109 - pathlib costs start-up
        "exceptions": [{"message": message, "type": name, "stack": stack}],
        "paths": sorted({frame.filename for frame in frames}),
    }


def _foreign_frames(error: BaseException) -> traceback.StackSummary:
    """Return the function's frames, below our own."""
    frames = traceback.StackSummary()
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(_OWN_CODE):
            frames.clear()
        elif not frame.filename.startswith(_IMPORT_MACHINERY):
            frames.append(frame)
    return frames
