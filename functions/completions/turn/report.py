"""Report a turn: its record as one log line and one line of metrics.

Every value is a name, a count, a time or a member of a closed set; what people say is included only
if the deployment allows it (`LogContent`). Written after the last byte has left, so that nobody
waits for it. Field names with dots are OpenTelemetry's (opentelemetry.io/docs/specs/semconv,
registry of `gen_ai`, `server`, `error` and `http`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypedDict
from urllib.parse import urlsplit

from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.errors import CompletionsError
from completions.observability import identifier, loggable_content, printable, turn_finished
from completions.turn.plan import Arrival, Plan
from completions.turn.record import Outcome
from completions.turn.response import ResponseSender
from completions.turn.timeline import RequestLife, timeline

NAMES_LIMIT = 16
"""Of the last roles, and of the first tools."""
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

Fields = TypedDict(
    "Fields",
    {
        "outcome": str,
        "error.type": str | None,
        "http.response.status_code": int,
        "api": str,
        "stream": bool,
        "gen_ai.operation.name": str,
        "gen_ai.request.model": str | None,
        "gen_ai.response.model": str | None,
        "gen_ai.response.finish_reasons": list[str],
        "gen_ai.usage.input_tokens": int | None,
        "gen_ai.usage.output_tokens": int | None,
        "gen_ai.usage.cache_read.input_tokens": int | None,
        "candidate": str | None,
        "server.address": str | None,
        "messages": int,
        "roles": list[str],
        "tools_offered": list[str],
        "tools_called": list[str],
        "tool_repairs": int,
        "upstream_requests": int,
        "hedges": int,
        "retries": int,
        "fallback": bool,
        "candidates": list[RequestLife],
        "frames": int,
        "buffer_words": int,
        "overhead_ms": float | None,
        "upstream_headers_ms": float | None,
        "first_spoken_ms": float | None,
        "first_token_ms": float | None,
        "duration_ms": float,
        "cold_start": bool,
        "gen_ai.input.messages": list[Any] | None,
        "gen_ai.output.messages": list[Any] | None,
    },
    total=False,
)
"""The fields of `turn.finished`; None leaves a field out."""


def finished(
    dialect: Dialect, request: ParsedRequest, plan: Plan, response: ResponseSender
) -> None:
    """Report a turn that has ended, however it ended."""
    record, requests, arrival = plan.record, plan.requests, plan.arrival
    answered = requests.answered(record.winner, record.source)
    outcome = record.outcome or Outcome.CRASHED
    if not response.closed and outcome is not Outcome.HUNG_UP:
        # The turn was stopped before its end.
        outcome = Outcome.CRASHED
    ended_at = response.closed_at or asyncio.get_running_loop().time()
    duration_ms = _ms(plan.arrived, ended_at)
    # An agent's time before its first question is not our overhead.
    seen_at = None if arrival.seen_at is None else arrival.seen_at + requests.agent_s
    overhead_ms = _ms(seen_at, requests.first_sent_at)
    headers_ms = _ms(answered.sent_at, answered.headers_at) if answered else None
    first_spoken_ms = _ms(plan.arrived, record.first_spoken_at)
    first_token_ms = _ms(plan.arrived, record.first_model_output_at)
    input_tokens = requests.tokens("prompt_tokens", "input_tokens")
    output_tokens = requests.tokens("completion_tokens", "output_tokens")
    fallback = bool(record.winner and answered and answered.candidate.key == "fallback")
    fields: Fields = {
        "outcome": outcome,
        "error.type": record.error_type or None,
        "http.response.status_code": response.status,
        "api": dialect.path.strip("/"),
        "stream": request.stream,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": printable(request.model) or None,
        "gen_ai.response.model": printable(answered.model) or None if answered else None,
        "gen_ai.response.finish_reasons": [identifier(record.finish) or ""][: bool(record.finish)],
        "gen_ai.usage.input_tokens": input_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
        "gen_ai.usage.cache_read.input_tokens": requests.cached_tokens,
        "candidate": record.winner.key if record.winner else None,
        "server.address": urlsplit(answered.candidate.base_url).hostname if answered else None,
        "messages": len(request.roles),
        "roles": [role if role in ROLES else "other" for role in request.roles[-NAMES_LIMIT:]],
        "tools_offered": _names(request.tools),
        "tools_called": _names(record.called),
        "tool_repairs": record.tool_repairs,
        "upstream_requests": len(requests.exchanges),
        "hedges": requests.hedges,
        "retries": requests.retries,
        "fallback": fallback,
        "candidates": timeline(plan),
        "frames": record.chunks,
        "buffer_words": record.buffer_words_count,
        "overhead_ms": overhead_ms,
        "upstream_headers_ms": headers_ms,
        "first_spoken_ms": first_spoken_ms,
        "first_token_ms": first_token_ms,
        "duration_ms": duration_ms or 0.0,
        "cold_start": arrival.cold,
        "gen_ai.input.messages": _message("user", request.user_text),
        "gen_ai.output.messages": _message("assistant", record.text),
    }
    metrics = {
        "TurnMs": duration_ms,
        "FirstTokenMs": first_token_ms,
        "FirstSpokenMs": first_spoken_ms,
        "OverheadMs": overhead_ms,
        "UpstreamHeadersMs": headers_ms,
        "BufferWords": record.buffer_words_count,
        "Hedges": requests.hedges,
        "Retries": requests.retries,
        "Fallbacks": int(fallback),
        "ToolRepairs": record.tool_repairs,
        "InputTokens": input_tokens,
        "OutputTokens": output_tokens,
    }
    _report(fields, metrics, outcome, arrival)


def not_started(dialect: Dialect, error: Exception, arrival: Arrival) -> None:
    """Report a request that was refused or failed before a model could be asked."""
    reported = error if isinstance(error, CompletionsError) else CompletionsError("")
    outcome = Outcome.REFUSED if reported.status < 500 else Outcome.ERROR
    if reported is not error:
        outcome = Outcome.CRASHED
    fields: Fields = {
        "outcome": outcome,
        "error.type": identifier(reported.code),
        "http.response.status_code": reported.status,
        "api": dialect.path.strip("/"),
        "cold_start": arrival.cold,
    }
    _report(fields, {}, outcome, arrival)


def _report(
    fields: Fields, metrics: dict[str, float | None], outcome: Outcome, arrival: Arrival
) -> None:
    counted = {name: value for name, value in metrics.items() if value is not None}
    counted |= {"Turns": 1, "FailedTurns": outcome.failed, "ColdStarts": arrival.cold}
    turn_finished(fields, counted, outcome)


def _ms(since: float | None, until: float | None) -> float | None:
    if since is None or until is None:
        return None
    return round(max(0.0, until - since) * 1000, 1)


def _names(names: Iterable[str]) -> list[str]:
    return [printable(name) for name, _ in zip(names, range(NAMES_LIMIT), strict=False)]


def _message(role: str, text: str) -> list[Any] | None:
    """Return a message in OpenTelemetry's shape; None without text, or if it may not be logged."""
    content = loggable_content(text) if text else None
    return [{"role": role, "parts": [{"type": "text", "content": content}]}] if content else None
