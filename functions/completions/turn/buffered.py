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
    Delta,
    Finish,
    Reasoning,
    Refusal,
    Said,
    Text,
    Usage,
)
from completions.dialects.dialect import Dialect
from completions.dialects.request import Asked
from completions.errors import CompletionsError, UpstreamTimeout
from completions.observability import log, name_of, reason
from completions.race.race import Patience, Race, Silent
from completions.tools.held_calls import HeldCalls, added
from completions.turn.plan import Plan
from completions.turn.record import Outcome
from completions.turn.response import Outlet
from completions.turn.streamed import note_on


class Buffered:
    """One buffered turn. `run` once; the plan's account tells afterwards what happened."""

    def __init__(self, dialect: Dialect, asked: Asked, plan: Plan, outlet: Outlet) -> None:
        self._dialect = dialect
        self._asked = asked
        self._plan = plan
        self._outlet = outlet
        self._heard = plan.account
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
            await self._outlet.json(body)

    async def _refuse(self, error: CompletionsError) -> None:
        log.warning("turn.failed", code=name_of(error.code), reason=reason(error))
        self._heard.outcome = Outcome.ERROR
        self._heard.error_type = name_of(error.code) or ""
        await self._outlet.refuse(error)

    async def _answer(self) -> bytes:
        plan, heard = self._plan, self._heard
        question, candidates, started_at = plan.question, plan.candidates(), plan.arrived
        kept: list[Call] = []
        while True:
            race = Race(
                question,
                candidates,
                plan.standing,
                Patience(),
                started_at=started_at,
                words_only=False,
            )
            answer: list[Said] = []
            try:
                async with aclosing(race.answer()) as batches:
                    async for batch in batches:
                        heard.hear(race.winner, batch[0].source if batch else 0, len(batch))
                        answer += batch
            except Silent as silence:
                others = [one for one in candidates if one != silence.candidate]
                limited = silence.reason in {"length", "content_filter"}
                candidates = others if limited else [*others, silence.candidate]
                if not heard.repeated and candidates and question.can_ask:
                    heard.repeated = True
                    continue
                heard.outcome = Outcome.EMPTY
                return self._written(silence.held, HeldCalls(), kept)
            held = HeldCalls()
            for said in answer:
                if any(isinstance(delta, CallPart) for delta in said.deltas):
                    held.add(said)
            judgement = held.judge(self._asked.tools, _text(answer, Text))
            single = self._asked.single
            if single and judgement.problems and question.can_ask and not heard.reasked:
                heard.reasked = True
                heard.repairs += judgement.repaired + len(judgement.problems)
                kept = judgement.calls
                question = question.again(_text(answer, Text), note_on(judgement))
                continue
            return self._written(answer, held, kept)

    def _written(self, answer: list[Said], held: HeldCalls, kept: list[Call]) -> bytes:
        """The upstream's own bytes if nothing in them has to change.

        `kept` are the valid calls of an earlier answer, whose other calls were asked for again.
        """
        deltas: list[Delta] = [delta for said in answer for delta in said.deltas]
        for delta in deltas:
            if isinstance(delta, Finish):
                self._heard.finish = delta.reason
            elif isinstance(delta, Usage):
                self._usage = delta.usage
        judgement = held.judge(self._asked.tools, _text(answer, Text))
        self._heard.words.append(_text(answer, Text, Refusal))
        # One frame without `raw` is whole JSON; an upstream that streams unasked sends many.
        whole = [said.frame for said in answer if said.frame and not said.frame.raw]
        frame = whole[0] if len(whole) == 1 and whole[0].data else None
        untouched = not judgement.changed and not kept and all(said.plain for said in answer)
        calls = held.unchecked() if judgement.problems else judgement.calls
        calls = added(kept, calls)
        self._heard.called += [call.name for call in calls]
        if frame and (untouched or not self._asked.single):
            return frame.data
        self._heard.repairs += judgement.repaired
        finish = "tool_calls" if held or kept else self._heard.finish or "stop"
        return self._dialect.whole(
            self._asked,
            frame,
            # A refusal has no place but the upstream's own answer; else it is text like any other.
            text=_text(answer, Text) if frame else _text(answer, Text, Refusal),
            reasoning=_text(answer, Reasoning),
            calls=calls,
            finish=finish,
            usage=self._usage,
        )


def _text(answer: list[Said], *kinds: type[Text | Refusal | Reasoning]) -> str:
    return "".join(
        delta.text for said in answer for delta in said.deltas if isinstance(delta, kinds)
    )
