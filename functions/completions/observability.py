"""Logs and metrics: one `turn.finished` event and one EMF metric set a turn.

The only module that knows Powertools and CloudWatch. What is bound here belongs to the running
task (context variables), so concurrent turns of one process do not mix. Message text and keys
never come here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

log = Logger(utc=True, serialize_stacktrace=False)
"""Structured JSON; the message is a dotted event name, its facts are keyword arguments."""

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


def bind(**fields: str | None) -> None:
    """Adds these fields to every log event of the current task and the tasks it starts."""
    log.thread_safe_append_keys(**{name: value for name, value in fields.items() if value})


def turn_finished(fields: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Logs the turn and writes its metrics: names ending in `Ms` in milliseconds, else counts."""
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    log.info("turn.finished", **fields)
    if not os.environ.get("POWERTOOLS_METRICS_NAMESPACE"):
        return  # Powertools would raise, and a turn must not fail for its metrics.
    # Ephemeral: the ordinary Metrics object is one per process.
    emf = EphemeralMetrics()
    for name, value in metrics.items():
        unit = MetricUnit.Milliseconds if name.endswith("Ms") else MetricUnit.Count
        emf.add_metric(name=name, unit=unit, value=value)
    emf.flush_metrics()
