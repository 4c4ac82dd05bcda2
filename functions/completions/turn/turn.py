"""One turn of a call, from the request to the last byte.

An ASGI response of its own, because it sends the status only when it is settled, so that a
program gets an upstream's 429 as a 429 (`StreamingResponse` sends 200 first), and because it
watches for the caller's hang-up from the start (a hang-up does not cancel an endpoint that is
awaiting).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fastapi import Response
from starlette.types import Receive, Scope, Send

from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.observability import log
from completions.turn import report
from completions.turn.buffered import Buffered
from completions.turn.plan import AppState, Arrival, Plan
from completions.turn.record import Outcome
from completions.turn.response import UNREAD_LIMIT_S, ResponseSender
from completions.turn.streamed import Streamed
from completions.turn.timeline import comment


class Turn(Response):
    """The response to one request."""

    def __init__(
        self,
        state: AppState,
        dialect: Dialect,
        request: ParsedRequest,
        arrival: Arrival,
        *,
        on_failure: str,
        comments: bool = False,
    ) -> None:
        super().__init__()
        self._state = state
        self._dialect = dialect
        # An agent gives one answer, even if a caller asks for several.
        self._request = replace(request, answers=1) if state.agent else request
        self._arrival = arrival
        self._on_failure = on_failure
        self._comments = comments

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Run the turn; a hang-up cancels it, and with it every request to a model.

        A caller who takes nothing has hung up as well: that response gets no end.
        """
        response = ResponseSender(send)
        kind = Streamed if self._request.stream else Buffered
        try:
            plan = Plan(
                self._state,
                self._dialect,
                self._request,
                self._arrival,
                on_failure=self._on_failure,
            )
            if self._comments:
                response.last_comment = lambda: comment(plan)
            conduct = kind(self._dialect, self._request, plan, response)
        except Exception as bug:
            report.not_started(self._dialect, bug, self._arrival)
            raise
        answer = asyncio.create_task(conduct.run())
        hang_up = asyncio.create_task(_hang_up(receive))
        try:
            stopped_reading = response.stopped_reading
            await asyncio.wait(
                {answer, hang_up, stopped_reading}, return_when=asyncio.FIRST_COMPLETED
            )
            if response.closed and not stopped_reading.done():
                # Not a hang-up: servers send this when a response is complete. The model's
                # connection is left: it is read to its end so that it can be used again.
                await asyncio.wait({answer, stopped_reading}, return_when=asyncio.FIRST_COMPLETED)
            if stopped_reading.done():
                log.warning("turn.untaken", after_s=UNREAD_LIMIT_S)
                plan.record.outcome = Outcome.HUNG_UP
            elif not response.closed and not answer.done():
                plan.record.outcome = Outcome.HUNG_UP
        finally:
            response.release()
            answer.cancel()
            hang_up.cancel()
            await asyncio.wait({answer, hang_up})
            if not hang_up.cancelled() and (error := hang_up.exception()):
                log.warning("turn.unheard", reason=type(error).__name__)
            if not answer.cancelled() and isinstance(answer.exception(), OSError):
                # The connection broke before the disconnect message came.
                plan.record.outcome = Outcome.HUNG_UP
            report.finished(self._dialect, self._request, plan, response)
        if not answer.cancelled():
            # The peer is gone: Starlette and the layer handle this.
            answer.result()


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
