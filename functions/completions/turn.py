"""One turn of a conversation, from the request to the last byte.

An ASGI response of its own: it sends the status when it knows it, so an upstream's 429 is a 429
(`StreamingResponse` sends 200 first), and it watches for the caller's hang-up from the beginning
(a hang-up does not cancel an awaiting endpoint). What is said is `streamed`'s and `buffered`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fastapi import Response
from starlette.types import Receive, Scope, Send

from completions.buffered import Buffered
from completions.dialect import Asked, Dialect
from completions.observability import log, turn_finished
from completions.outlet import Outlet
from completions.plan import Arrival, Environment, Plan
from completions.streamed import Streamed


class Turn(Response):
    """The answer to one request."""

    def __init__(
        self,
        environment: Environment,
        dialect: Dialect,
        asked: Asked,
        arrival: Arrival,
        *,
        on_failure: str,
        settled: Callable[[], Awaitable[None]],
    ) -> None:
        """`settled` is awaited last: nothing may outlive the invocation."""
        super().__init__()
        self._environment = environment
        self._dialect = dialect
        # A responder gives one answer, however many a caller wants.
        self._asked = replace(asked, single=True) if environment.responder else asked
        self._arrival = arrival
        self._on_failure = on_failure
        self._settled = settled

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Runs the turn. A hang-up cancels it, and with it every request to a model."""
        plan = Plan(
            self._environment,
            self._dialect,
            self._asked,
            self._arrival,
            on_failure=self._on_failure,
        )
        outlet = Outlet(send)
        kind = Streamed if self._asked.stream else Buffered
        conduct = kind(self._dialect, self._asked, plan, outlet)
        answer = asyncio.create_task(conduct.run())
        hang_up = asyncio.create_task(_hang_up(receive))
        try:
            await asyncio.wait({answer, hang_up}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                conduct.heard.outcome = "hung_up"
        finally:
            answer.cancel()
            hang_up.cancel()
            await asyncio.wait({answer, hang_up})
            if not hang_up.cancelled() and (error := hang_up.exception()):
                log.warning("turn.unheard", reason=repr(error))
            await self._settled()
            self._report(plan, outlet, conduct)
        if not answer.cancelled():
            # A bug of ours, or the peer is gone: Starlette and the layer know what to do.
            answer.result()

    def _report(self, plan: Plan, outlet: Outlet, conduct: Streamed | Buffered) -> None:
        """The turn as facts and times, never words. GenAI names are OpenTelemetry's."""
        heard, asked = conduct.heard, self._asked
        ended = asyncio.get_running_loop().time()
        facts: dict[str, object] = {
            "outcome": heard.outcome,
            "http.response.status_code": outlet.status,
            "gen_ai.request.model": asked.model,
            "gen_ai.response.finish_reasons": [heard.finish] if heard.finish else [],
            "dialect": self._dialect.path,
            "stream": asked.stream,
            "roles": list(asked.roles[-8:]),
            "tools": len(asked.tools),
            "calls": heard.calls,
            "buffer_words": heard.fillers,
            "upstream_requests": plan.requests.made,
            "bridged": heard.bridged,
            "duration_ms": round((ended - plan.arrived) * 1000, 1),
        }
        metrics: dict[str, float] = {
            "TurnMs": (ended - plan.arrived) * 1000,
            "UpstreamRequests": plan.requests.made,
            "BufferWords": heard.fillers,
            "FailedTurns": heard.outcome not in {"ok", "hung_up"},
        }
        if heard.first_model_output_at is not None:
            first_ms = (heard.first_model_output_at - plan.arrived) * 1000
            facts["first_token_ms"] = round(first_ms, 1)
            metrics["FirstTokenMs"] = first_ms
        for name, ours in _USAGE.items():
            if heard.usage and isinstance(tokens := heard.usage.get(name), int):
                facts[ours] = tokens
        turn_finished(facts, metrics)


_USAGE = {
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "input_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
}


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
