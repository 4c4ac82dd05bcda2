"""A buffered turn: one JSON answer, complete or not at all.

The same race, checks of tool calls and recovery as in a streamed turn, but none of our words and no
timers for first words, which a buffered answer does not have. A failure is an error status.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from typing import Any

from completions.dialects.deltas import (
    CallPart,
    Chunk,
    Delta,
    Finish,
    Reasoning,
    Refusal,
    Rewrite,
    Text,
    Usage,
    text_in,
)
from completions.dialects.dialect import Dialect
from completions.dialects.finish_reasons import honest_finish
from completions.dialects.request import ParsedRequest
from completions.errors import CompletionsError, InvalidToolCall, UpstreamTimeout
from completions.observability import identifier, log, loggable_message
from completions.race.attempts import EmptyAnswer
from completions.race.race import Race
from completions.race.timeouts import Timeouts
from completions.tools.held_calls import HeldCalls, Judgement, merge_calls
from completions.turn.plan import Plan
from completions.turn.record import Outcome
from completions.turn.recovery import Recovery, after_feedback
from completions.turn.response import ResponseSender


class Buffered:
    """One buffered turn. `run` it once; afterwards the plan's record says what happened."""

    def __init__(
        self, dialect: Dialect, request: ParsedRequest, plan: Plan, response: ResponseSender
    ) -> None:
        self._dialect = dialect
        self._request = request
        self._plan = plan
        self._response = response
        self._record = plan.record
        self._recovery = Recovery(plan.record)

    async def run(self) -> None:
        """Send the answer or the error.

        Raises:
            OSError: the caller is gone; nothing else is raised.
        """
        try:
            async with asyncio.timeout_at(self._plan.deadline):
                body = await self._answer()
        except TimeoutError:
            await self._refuse(
                UpstreamTimeout("The answer took longer than this function may run.")
            )
        except CompletionsError as error:
            await self._refuse(error)
        except Exception:
            # Neither the caller nor the server around us should see its details.
            log.exception("turn.crashed")
            await self._refuse(CompletionsError("Internal error; it has been logged."))
            self._record.outcome = Outcome.CRASHED
        else:
            self._record.outcome = self._record.outcome or Outcome.OK
            await self._response.json(body)

    async def _refuse(self, error: CompletionsError) -> None:
        log.warning("turn.failed", code=identifier(error.code), reason=loggable_message(error))
        self._record.outcome = Outcome.ERROR
        self._record.error_type = identifier(error.code) or ""
        await self._response.refuse(error)

    async def _answer(self) -> bytes:
        plan, recovery = self._plan, self._recovery
        question, candidates = plan.question, plan.candidates()
        while True:
            race = Race(
                question,
                candidates,
                plan.health,
                Timeouts(),
                started_at=plan.arrived,
                words_only=False,
                waits=plan.waits,
                ask_until=plan.ask_until(None),
                wait_limit_s=plan.wait_limit_s,
            )
            answer: list[Chunk] = []
            try:
                async with aclosing(race.answer()) as batches:
                    async for batch in batches:
                        source = batch[0].source if batch else 0
                        self._record.heard(race.winner, source, len(batch))
                        answer += batch
            except EmptyAnswer as empty:
                if candidates := recovery.after_empty(empty, question, candidates):
                    question = question.after_silence()
                    continue
                self._record.outcome = Outcome.EMPTY
                return self._written(empty.held, HeldCalls({}), Judgement())
            held = HeldCalls(self._request.tools)
            for chunk in answer:
                if any(isinstance(delta, CallPart) for delta in chunk.deltas):
                    held.add(chunk)
            spoken = text_in(answer, Text)
            judgement = held.judge(spoken)
            may_continue = self._request.single and recovery.can_give_feedback(question, math.inf)
            if judgement.problems and not (may_continue or held.unchecked() or spoken.strip()):
                raise InvalidToolCall("The model wrote its call as text, twice.")
            if not judgement.problems or not may_continue:
                return self._written(answer, held, judgement)
            question = recovery.give_feedback(question, judgement, spoken)
            candidates = after_feedback(candidates, race.winner)

    def _written(self, answer: list[Chunk], held: HeldCalls, judgement: Judgement) -> bytes:
        """Return the body to send: the upstream's own bytes if nothing in them must change."""
        record, kept = self._record, self._recovery.kept
        deltas: list[Delta] = [delta for chunk in answer for delta in chunk.deltas]
        usage: dict[str, Any] | None = None
        finish = ""
        for delta in deltas:
            if isinstance(delta, Finish):
                finish = delta.reason
            elif isinstance(delta, Usage):
                usage = delta.usage
        record.words.append(text_in(answer, Text, Refusal))
        # One event without `raw` is a whole JSON body; an upstream that streams unasked sends many.
        bodies = [chunk.sse for chunk in answer if chunk.sse and not chunk.sse.raw]
        body = bodies[0] if len(bodies) == 1 and bodies[0].data else None
        calls = held.unchecked() if judgement.problems else judgement.calls
        calls = merge_calls(kept, calls)
        record.called += [call.name for call in calls]
        record.finish = honest_finish(finish, calls=bool(calls))
        untouched = (
            not (judgement.changed or kept or Rewrite() in deltas)
            and record.finish == finish
            and all(chunk.unchanged for chunk in answer)
        )
        if body and (untouched or not self._request.single):
            return body.data
        record.tool_repairs += judgement.coerced
        return self._dialect.buffered(
            self._request,
            body,
            # Only the upstream's own answer has a place for a refusal; otherwise it is plain text.
            text=text_in(answer, Text) if body else text_in(answer, Text, Refusal),
            reasoning=text_in(answer, Reasoning),
            calls=calls,
            finish=record.finish,
            usage=usage,
        )
