"""What the root logger writes, and where: as under AWS's own runtime, with the request's id.

The layouts (`AWS_LAMBDA_LOG_FORMAT`, `AWS_LAMBDA_LOG_LEVEL`) are those of "Log and monitor Python
Lambda functions" in the AWS Lambda developer guide. Request, tenant and trace come from the
context variable of `context`, never from the process's environment.

NOTE: Lambda may pass a file descriptor for framed logs, in which one record of many lines stays
one log event. That contract is undocumented; it was read in the sources of awslambdaric 4.2.2.
"""

import json
import logging
import os
import sys
import time
import traceback
from typing import Any, BinaryIO

from lambda_streaming.context import current

_FRAMED_LOG_FD = "_LAMBDA_TELEMETRY_LOG_FD"
_FRAME_MAGIC, _FRAME_TEXT, _FRAME_JSON = 0xA55A0000, 3, 2
_LINE = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
# Attributes of every record; any others came in by `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "aws_request_id",
    "tenant_id",
    "trace_id",
}


def install() -> None:
    """Give the root logger its handler; call this once, before the function's code is imported."""
    # Standard output is a pipe here: without this, print() shows only once its buffer is full.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    json_lines = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    # Child processes must not write into the frames, so the variable is removed.
    descriptor = os.environ.pop(_FRAMED_LOG_FD, None)
    handler: logging.Handler
    if descriptor:
        stream = os.fdopen(int(descriptor), "wb", buffering=0)
        handler = _FramedHandler(stream, _FRAME_JSON if json_lines else _FRAME_TEXT)
    else:
        handler = logging.StreamHandler(sys.stdout)
    formatter = _JsonFormatter() if json_lines else logging.Formatter(_LINE)
    formatter.datefmt = "%Y-%m-%dT%H:%M:%SZ" if json_lines else "%Y-%m-%dT%H:%M:%S"
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(_add_invocation)
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = {"TRACE": "DEBUG"}.get(level, level)
    if level in logging.getLevelNamesMapping():
        root.setLevel(level)


def _add_invocation(record: logging.LogRecord) -> bool:
    context = current.get()
    record.aws_request_id = context.aws_request_id if context else ""
    record.tenant_id = context.tenant_id if context else None
    record.trace_id = context.trace_id if context else None
    return True


class _JsonFormatter(logging.Formatter):
    """One JSON object per record; a value that cannot be JSON becomes a string."""

    def format(self, record: logging.LogRecord) -> str:
        """One line per record; keys without a value are left out."""
        known: dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            # A message that is a dict becomes part of the object, not a string in it.
            "message": record.msg if isinstance(record.msg, dict) else record.getMessage(),
            "logger": record.name,
            "requestId": getattr(record, "aws_request_id", None) or None,
            "traceId": getattr(record, "trace_id", None),
            "tenantId": getattr(record, "tenant_id", None),
        }
        if record.exc_info and record.exc_info[0]:
            known |= {
                "errorType": record.exc_info[0].__name__,
                "errorMessage": str(record.exc_info[1]),
                "stackTrace": traceback.format_tb(record.exc_info[2]),
                "location": f"{record.pathname}:{record.funcName}:{record.lineno}",
            }
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD and k not in known}
        line = {k: v for k, v in (known | extra).items() if v is not None}
        return json.dumps(line, ensure_ascii=False, default=str)


class _FramedHandler(logging.Handler):
    """Writes frames: type, length (4 bytes each), microseconds since the epoch (8), text."""

    def __init__(self, stream: BinaryIO, layout: int) -> None:
        super().__init__()
        self._stream = stream
        self._layout = layout

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record).encode(errors="replace")
            rank = min(record.levelno, logging.CRITICAL) // 10
            kind = _FRAME_MAGIC | (rank + 1 if rank else 0) << 2 | self._layout
            microseconds = time.time_ns() // 1000
            head = kind.to_bytes(4, "big") + len(text).to_bytes(4, "big")
            self._stream.write(head + microseconds.to_bytes(8, "big") + text)
        except Exception:
            self.handleError(record)
