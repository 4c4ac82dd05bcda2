"""Logs and metrics: events as JSON lines, metrics as EMF (CloudWatch's embedded metric format).

The only module that knows Powertools and CloudWatch. Bound fields belong to the running task
(context variables), so concurrent turns of one process do not mix. The metrics of a turn are a line
of their own. What people say is logged only where the deployment allows it, keys never.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
import traceback
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Protocol

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from pydantic_core import to_json

METRICS = {
    "TurnMs": "Milliseconds",
    "FirstTokenMs": "Milliseconds",
    "FirstSpokenMs": "Milliseconds",
    "OverheadMs": "Milliseconds",
    "UpstreamHeadersMs": "Milliseconds",
    "Turns": "Count",
    "FailedTurns": "Count",
    "BufferWords": "Count",
    "Hedges": "Count",
    "Retries": "Count",
    "Fallbacks": "Count",
    "ToolRepairs": "Count",
    "InputTokens": "Count",
    "OutputTokens": "Count",
    "ColdStarts": "Count",
    "Warmups": "Count",
    "AuthFailures": "Count",
    "KeyFailures": "Count",
    "SetupFailures": "Count",
}
"""Every metric and its unit; docs/logs.md says what each one is."""
BY_OUTCOME = "Turns"
"""The one metric that is also counted by outcome: CloudWatch bills each name per dimension set."""
TEXT_LIMIT_CHARS = 4000
"""Longest text in a log line, where text is allowed at all."""
NAME_LIMIT_CHARS = 64
"""Longest name that a caller or an upstream gives to something."""
PATH_LIMIT_CHARS = 200

_content_allowed: ContextVar[bool] = ContextVar("_content_allowed", default=False)
_bound: ContextVar[Mapping[str, str]] = ContextVar("_bound", default=MappingProxyType({}))
_trace_id: ContextVar[str | None] = ContextVar("_trace_id", default=None)
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,64}")
_KEY = re.compile(r"[\w-]{24,}")
_EMF_METADATA = ("function_request_id",)
"""Bound fields that a line of metrics carries too: they lead to the log lines of its turn."""


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools' lines, with exception messages only where text is allowed.

    An exception's message may quote its cause: a caller's words. The trace always names the classes
    and the places.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the logger's name if it is not ours."""
        if record.name != log.name:
            record.logger = record.name
        return super().format(record)

    def formatException(  # noqa: N802 - logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """Return the trace, with messages only where text is allowed."""
        if _content_allowed.get() or ei[1] is None:
            return super().formatException(ei)
        return _trace_without_messages(ei[1])

    def serialize(self, log: dict[str, Any]) -> str:  # type: ignore[override] # theirs is wrong
        """Return the line."""
        line = {**_bound.get(), **log}
        if trace_id := _trace_id.get():
            # Powertools knows only the process's one trace, and overwrites a bound field with it.
            line["xray_trace_id"] = trace_id.split(";")[0].removeprefix("Root=")
        if not _content_allowed.get():
            line.pop("exception_notes", None)
        try:
            return to_json(line, fallback=str, inf_nan_mode="null").decode()
        except ValueError:
            # A lone surrogate in an exception's message: UTF-8 cannot encode it, JSON escapes can.
            return json.dumps(line, default=str)


log = Logger(logger_formatter=_Formatter(utc=True, serialize_stacktrace=False))
"""Structured JSON; the message is a dotted event name, its facts are keyword arguments."""


def adopt(name: str) -> None:
    """Log what this logger, and those below it, say as lines with the bound fields."""
    logger = logging.getLogger(name)
    logger.handlers = [*log.handlers]  # Drop handlers that others added to this logger.
    logger.setLevel(log.log_level)
    logger.propagate = False  # Lambda's own handler would write each line once more.


def bind(**fields: str | None) -> None:
    """Add these fields to every log event of the current task and the tasks it starts."""
    _bound.set({**_bound.get(), **{name: value for name, value in fields.items() if value}})


def bound_fields() -> Mapping[str, str]:
    """Return the fields that `bind` has added to the current task's log events."""
    return _bound.get()


def bind_trace(trace_id: str | None) -> None:
    """Name the request's X-Ray trace in every log event of the current task and its tasks."""
    _trace_id.set(trace_id)


def unbind() -> None:
    """Remove every bound field: a server may run a request in the context of an earlier one.

    NOTE: uvicorn does so on a kept connection. When a request was larger than its buffer, it adds
    the connection's reader again in that request's task, and the next request inherits its context.
    """
    _bound.set({})


def allow_content(*, allowed: bool) -> None:
    """Set whether the current task, and the tasks it starts, may log what people say."""
    _content_allowed.set(allowed)


def loggable_content(text: str) -> str | None:
    """Return what somebody said, bounded; None, and so no field, if it may not be logged."""
    return printable(text, TEXT_LIMIT_CHARS) if _content_allowed.get() else None


def printable(text: str, limit_chars: int = NAME_LIMIT_CHARS) -> str:
    """Return a text from outside, bounded and without control characters; line ends stay."""
    kept = text[:limit_chars]
    if not kept.isprintable():
        kept = "".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in kept)
    return kept if len(text) <= limit_chars else kept + "…"


def redacted_path(path: str) -> str:
    """Return a path as received, without anything that may be a key pasted into it."""
    # In this order: a key cut in two would no longer look like one.
    return printable(_KEY.sub("…", path), PATH_LIMIT_CHARS)


def identifier(value: object) -> str | None:
    """Return an identifier from outside (an error code, a field); `other` if it is not like one."""
    if value is None or value == "":
        return None
    text = str(value)
    return text if _IDENTIFIER.fullmatch(text) else "other"


class LoggableError(Protocol):
    """The part of `errors.CompletionsError` that the log needs."""

    message: str
    quotes: bool


def loggable_message(error: LoggableError) -> str | None:
    """Return the error's message; None if it may quote the request and text is not allowed."""
    if error.quotes:
        return loggable_content(error.message)
    return printable(error.message, TEXT_LIMIT_CHARS)


def turn_finished(fields: Mapping[str, Any], metrics: Mapping[str, float], outcome: str) -> None:
    """Log the turn and write its metrics."""
    log.info("turn.finished", **fields)
    publish(metrics, outcome)


def count(metric: str) -> None:
    """Count something that is not a turn."""
    publish({metric: 1})


def publish(metrics: Mapping[str, float], outcome: str = "") -> None:
    """Write one line of metrics; with an outcome, `BY_OUTCOME` is counted by it, too.

    Without a namespace nothing is written. Format: docs.aws.amazon.com, "Specification: Embedded
    metric format". Powertools' `Metrics` counts every metric by every dimension set, and each pair
    is billed, so the line is written here.
    """
    namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE")
    if not namespace:
        return
    directives = [_directive(namespace, ["service"], metrics)]
    dimensions = {"service": log.service}
    if outcome:
        directives.append(_directive(namespace, ["service", "outcome"], [BY_OUTCOME]))
        dimensions["outcome"] = outcome
    bound = _bound.get()
    line = {
        "_aws": {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": directives},
        **dimensions,
        **{name: bound[name] for name in _EMF_METADATA if name in bound},
        **{name: [float(value)] for name, value in metrics.items()},
    }
    print(to_json(line).decode())  # noqa: T201 - EMF is a line on stdout


def _directive(namespace: str, dimensions: list[str], names: Iterable[str]) -> dict[str, Any]:
    return {
        "Namespace": namespace,
        "Dimensions": [dimensions],
        "Metrics": [{"Name": name, "Unit": METRICS[name]} for name in names],
    }


def place(error: BaseException) -> str:
    """Return where it was raised, as `agents/shop.py:17`: in an agent, if it passed through one."""
    found = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in found if not frame.filename.startswith("<")]
    agents = [frame for frame in frames if Path(frame.filename).parent.name == "agents"]
    for frame in (agents or frames)[-1:]:
        path = Path(frame.filename)
        return f"{path.parent.name}/{path.name}:{frame.lineno}"
    return ""


def _trace_without_messages(error: BaseException | None) -> str:
    """Return the traces of the error and its causes, the first cause first."""
    trace, seen = "", set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        trace = f"{''.join(traceback.format_tb(error.__traceback__))}{kind}\n{trace}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return trace
