"""Logs and metrics: events as JSON lines, metrics as EMF (CloudWatch's embedded metric format).

The only module that knows Powertools and CloudWatch. What is bound here belongs to the running
task (context variables), so concurrent turns of one process do not mix; the metrics of a turn are
one line of their own. Message text comes into the log only where it was allowed, keys never.
"""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import EphemeralMetrics
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
    "AuthFailures": "Count",
    "KeyFailures": "Count",
}
"""Every metric and its unit; docs/operations.md says what each one is."""
BY_OUTCOME = "Turns"
"""Counted by outcome as well. Only this one: CloudWatch bills every pair of name and dimensions."""
TEXT_LIMIT_CHARS = 4000
"""Of a text in a log line, where text is allowed at all."""
NAME_LIMIT_CHARS = 64
"""Of whatever a caller or an upstream calls something."""
PATH_LIMIT_CHARS = 200

_content: ContextVar[bool] = ContextVar("_content", default=False)
_NAME = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,64}")
_KEY = re.compile(r"[\w-]{24,}")


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools' lines, whose traces tell where and of which class, but not what with.

    An exception's message may hold what it stumbled over: a caller's words.
    """

    def formatException(  # noqa: N802 - logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """The trace, with messages only where text is allowed."""
        if _content.get() or ei[1] is None:
            return super().formatException(ei)
        return _trace(ei[1])

    def serialize(self, log: dict[str, Any]) -> str:  # type: ignore[override] # theirs is wrong
        """The line."""
        line = log
        if not _content.get():
            line.pop("exception_notes", None)
        try:
            return to_json(line, fallback=str, inf_nan_mode="null").decode()
        except ValueError:
            # Half a character, in somebody's exception: what UTF-8 has no bytes for.
            return json.dumps(line, default=str)


log = Logger(logger_formatter=_Formatter(utc=True, serialize_stacktrace=False))
"""Structured JSON; the message is a dotted event name, its facts are keyword arguments."""


def bind(**fields: str | None) -> None:
    """Adds these fields to every log event of the current task and the tasks it starts."""
    log.thread_safe_append_keys(**{name: value for name, value in fields.items() if value})


def unbind() -> None:
    """Takes away what was bound: a server may run a request in what another one left behind.

    NOTE: uvicorn does on a kept connection, whose reader it adds anew in the task of a request that
    was larger than its buffer. The next request's task then begins with what was bound there.
    """
    log.thread_safe_clear_keys()


def allow_content(*, allowed: bool) -> None:
    """Whether the current task, and those it starts, may log what people say."""
    _content.set(allowed)


def content(text: str) -> str | None:
    """A text to be logged: bounded where it is allowed, else None, which makes no field."""
    return shown(text, TEXT_LIMIT_CHARS) if _content.get() else None


def shown(text: str, limit_chars: int = NAME_LIMIT_CHARS) -> str:
    """A text from outside, bounded and without characters that would disturb whoever reads it."""
    kept = text[:limit_chars]
    if not kept.isprintable():
        kept = "".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in kept)
    return kept if len(text) <= limit_chars else kept + "…"


def redacted_path(path: str) -> str:
    """A path as received, but for what may be a key that somebody pasted into it."""
    # In this order: a key cut in two would no longer look like one.
    return shown(_KEY.sub("…", path), PATH_LIMIT_CHARS)


def identifier(value: object) -> str | None:
    """An identifier from outside (an error code, a field); `other` for what looks like none."""
    if value is None or value == "":
        return None
    text = str(value)
    return text if _NAME.fullmatch(text) else "other"


class Told(Protocol):
    """What is needed of `errors.CompletionsError`."""

    message: str
    quotes: bool


def reason(error: Told) -> str | None:
    """The error's message; one that may quote the request only where text is allowed."""
    return content(error.message) if error.quotes else shown(error.message, TEXT_LIMIT_CHARS)


def turn_finished(fields: Mapping[str, Any], metrics: Mapping[str, float], outcome: str) -> None:
    """Logs the turn and writes its metrics."""
    log.info("turn.finished", **fields)
    publish(metrics, outcome)


def count(metric: str) -> None:
    """Counts something that is no turn."""
    publish({metric: 1})


def publish(metrics: Mapping[str, float], outcome: str = "") -> None:
    """Writes one EMF line; `BY_OUTCOME` is counted by `outcome` too, if there is one."""
    if not os.environ.get("POWERTOOLS_METRICS_NAMESPACE"):
        return  # Powertools would raise, and a turn must not fail for its metrics.
    # Ephemeral: the ordinary Metrics object is one per process.
    emf = EphemeralMetrics()
    for name, value in metrics.items():
        emf.add_metric(name=name, unit=METRICS[name], value=value)
    for name, value in log.thread_safe_get_current_keys().items():
        if name in _TELLING:
            emf.add_metadata(name, value)
    line: dict[str, Any] = {**emf.serialize_metric_set()}
    if outcome:
        # NOTE: a second directive, which Powertools has no word for. Its `add_dimensions` would
        # count every metric by outcome, and each of those would be billed.
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        by_outcome = {
            "Namespace": directive["Namespace"],
            "Dimensions": [["service", "outcome"]],
            "Metrics": [{"Name": BY_OUTCOME, "Unit": METRICS[BY_OUTCOME]}],
        }
        line["_aws"]["CloudWatchMetrics"].append(by_outcome)
        line["outcome"] = outcome
    print(to_json(line).decode())  # noqa: T201 - EMF is a line on stdout


_TELLING = ("function_request_id",)
"""What leads from a line of metrics to the lines of its turn."""


def _trace(error: BaseException | None) -> str:
    told, seen = "", set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        told = f"{''.join(traceback.format_tb(error.__traceback__))}{kind}\n{told}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told
