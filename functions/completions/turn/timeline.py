"""The timeline of a turn's requests: for the log, and for the stream if asked for.

Milliseconds count from the arrival of the caller's request. Everything is a name, a time or a code.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from pydantic_core import to_json

from completions.observability import identifier
from completions.turn.plan import Plan
from completions.turn.record import Outcome
from completions.upstream.exchange import Exchange


class RequestLife(TypedDict, total=False):
    """One request to a model, without the fields for what did not happen."""

    candidate: str
    asked: Literal["first", "hedge", "retry"]
    """`first` of its question; `hedge`: beside a slow one; `retry`: after one that failed."""
    sent_ms: float
    headers_ms: float
    first_word_ms: float
    ended_ms: float
    why: str
    """Why it ended: `answered`, `empty`, `lost` (another one was faster), `hung_up`, `given_up`
    (its time was over), or the code of its error."""


def timeline(plan: Plan) -> list[RequestLife]:
    """Return the requests in the order in which they were made."""
    return [_life(plan, one) for one in plan.requests.exchanges]


def comment(plan: Plan) -> bytes:
    """Return them as a comment of an event stream (WHATWG HTML, section 9.2.6).

    It is a line of the next event, because some clients take a lone comment for an event without
    data.
    """
    return b": candidates " + to_json(timeline(plan)) + b"\n"


def _life(plan: Plan, exchange: Exchange) -> RequestLife:
    life: RequestLife = {
        "candidate": exchange.candidate.key,
        "asked": "hedge" if exchange.hedge else "first" if exchange.first else "retry",
    }
    if exchange.sent_at is not None:
        life["sent_ms"] = _ms(plan, exchange.sent_at)
    if exchange.headers_at is not None:
        life["headers_ms"] = _ms(plan, exchange.headers_at)
    if exchange.first_word_at is not None:
        life["first_word_ms"] = _ms(plan, exchange.first_word_at)
    if exchange.ended_at is not None:
        life["ended_ms"] = _ms(plan, exchange.ended_at)
        life["why"] = _why(plan, exchange)
    return life


def _why(plan: Plan, exchange: Exchange) -> str:
    if exchange.error_code:
        return identifier(exchange.error_code) or "other"
    if exchange.finished:
        return "empty" if exchange.first_word_at is None else "answered"
    answered = plan.requests.answered(plan.record.winner, plan.record.source)
    if plan.record.winner and exchange is not answered:
        return "lost"
    return "hung_up" if plan.record.outcome is Outcome.HUNG_UP else "given_up"


def _ms(plan: Plan, moment: float) -> float:
    return round(max(0.0, moment - plan.arrived) * 1000, 1)
