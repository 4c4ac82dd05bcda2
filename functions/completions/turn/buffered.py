"""A buffered turn: one JSON answer, whole or not at all.

The same race, the same checks of tool calls, the same never-empty rule; but no words of ours and
no timers for first words, since a buffered answer has none. What fails, fails by its status.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from completions.dialects.deltas import (
    Call,
    CallPart,
    Chunk,
    Delta,
    Finish,
    Reasoning,
    Refusal,
    Text,
    Usage,
)
from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.errors import CompletionsError, UpstreamTimeout
from completions.observability import identifier, log, reason
from completions.race.race import EmptyAnswer, Race, Timeouts
from completions.tools.held_calls import HeldCalls, merge_calls
from completions.turn.plan import Plan
from completions.turn.record import Outcome
from completions.turn.response import ResponseSender
from completions.turn.streamed import feedback_on


class Buffered:
    """One buffered turn. `run` once; the plan's account tells afterwards what happened."""

    def __init__(
        self, dialect: Dialect, request: ParsedRequest, plan: Plan, response: ResponseSender
    ) -> None:
        self._dialect = dialect
        self._request = request
        self._plan = plan
        self._response = response
        self._heard = plan.record
        self._usage: dict[str, Any] | None = None

    async def run(self) -> None:
        """Sends the answer or the error. Raises nothing but what the outlet raises."""
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
            # Whoever called us, and whatever is around us, need not see its insides.
            log.exception("turn.crashed")
            await self._refuse(CompletionsError("Internal error; it has been logged."))
            self._heard.outcome = Outcome.CRASHED
        else:
            self._heard.outcome = self._heard.outcome or Outcome.OK
            await self._response.json(body)

    async def _refuse(self, error: CompletionsError) -> None:
        log.warning("turn.failed", code=identifier(error.code), reason=reason(error))
        self._heard.outcome = Outcome.ERROR
        self._heard.error_type = identifier(error.code) or ""
        await self._response.refuse(error)

    async def _answer(self) -> bytes:
        plan, heard = self._plan, self._heard
        question, candidates, started_at = plan.question, plan.candidates(), plan.arrived
        kept: list[Call] = []
        while True:
            race = Race(
                question,
                candidates,
                plan.health,
                Timeouts(),
                started_at=started_at,
                words_only=False,
            )
            answer: list[Chunk] = []
            try:
                async with aclosing(race.answer()) as batches:
                    async for batch in batches:
                        heard.hear(race.winner, batch[0].source if batch else 0, len(batch))
                        answer += batch
            except EmptyAnswer as silence:
                others = [one for one in candidates if one != silence.candidate]
                limited = silence.reason in {"length", "content_filter"}
                candidates = others if limited else [*others, silence.candidate]
                if not heard.repeated and candidates and question.can_ask:
                    heard.repeated = True
                    continue
                heard.outcome = Outcome.EMPTY
                return self._written(silence.held, HeldCalls(), kept)
            held = HeldCalls()
            for chunk in answer:
                if any(isinstance(delta, CallPart) for delta in chunk.deltas):
                    held.add(chunk)
            judgement = held.judge(self._request.tools, _text(answer, Text))
            single = self._request.single
            if (
                single
                and judgement.problems
                and question.can_ask
                and not heard.retried_with_feedback
            ):
                heard.retried_with_feedback = True
                heard.repairs += judgement.repaired + len(judgement.problems)
                kept = judgement.calls
                question = question.with_feedback(_text(answer, Text), feedback_on(judgement))
                continue
            return self._written(answer, held, kept)

    def _written(self, answer: list[Chunk], held: HeldCalls, kept: list[Call]) -> bytes:
        """The upstream's own bytes if nothing in them has to change.

        `kept` are the valid calls of an earlier answer, whose other calls were asked for again.
        """
        deltas: list[Delta] = [delta for chunk in answer for delta in chunk.deltas]
        for delta in deltas:
            if isinstance(delta, Finish):
                self._heard.finish = delta.reason
            elif isinstance(delta, Usage):
                self._usage = delta.usage
        judgement = held.judge(self._request.tools, _text(answer, Text))
        self._heard.words.append(_text(answer, Text, Refusal))
        # One frame without `raw` is whole JSON; an upstream that streams unasked sends many.
        whole = [chunk.sse for chunk in answer if chunk.sse and not chunk.sse.raw]
        sse = whole[0] if len(whole) == 1 and whole[0].data else None
        untouched = not judgement.changed and not kept and all(chunk.plain for chunk in answer)
        calls = held.unchecked() if judgement.problems else judgement.calls
        calls = merge_calls(kept, calls)
        self._heard.called += [call.name for call in calls]
        if sse and (untouched or not self._request.single):
            return sse.data
        self._heard.repairs += judgement.repaired
        finish = "tool_calls" if held or kept else self._heard.finish or "stop"
        return self._dialect.buffered(
            self._request,
            sse,
            # A refusal has no place but the upstream's own answer; else it is text like any other.
            text=_text(answer, Text) if sse else _text(answer, Text, Refusal),
            reasoning=_text(answer, Reasoning),
            calls=calls,
            finish=finish,
            usage=self._usage,
        )


def _text(answer: list[Chunk], *kinds: type[Text | Refusal | Reasoning]) -> str:
    return "".join(
        delta.text for chunk in answer for delta in chunk.deltas if isinstance(delta, kinds)
    )
