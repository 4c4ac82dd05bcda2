"""A streamed turn: races heard one after the other, and its one end.

Reads one or more races and writes one well-formed, non-empty, honest stream. `answer` handles the
chunks, `recovery` decides whom to ask next, `race` who answers; the dialect writes.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.errors import (
    CompletionsError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from completions.observability import identifier, log, loggable_message
from completions.race.attempts import EmptyAnswer
from completions.race.race import Race
from completions.speech.sentences import spoken_after
from completions.turn.answer import Answer
from completions.turn.ending import Ending
from completions.turn.first_words import FirstWords
from completions.turn.pauses import PauseCover
from completions.turn.plan import ANSWER_NEEDS_S, Plan
from completions.turn.record import Outcome
from completions.turn.recovery import Recovery, after_cut, after_feedback
from completions.turn.response import ResponseSender


class Streamed:
    """One streamed turn. `run` it once; afterwards the plan's record says what happened."""

    def __init__(
        self, dialect: Dialect, request: ParsedRequest, plan: Plan, response: ResponseSender
    ) -> None:
        self._request = request
        self._plan = plan
        self._response = response
        self._writer = dialect.writer(request)
        self._loop = asyncio.get_running_loop()
        self._record = plan.record
        self._recovery = Recovery(plan.record)
        self._ending = Ending(request, plan, self._recovery, self._writer, response)
        self._pauses = PauseCover(plan, self._writer, response)
        self._answer = self._new_answer()
        self._ended = AsyncExitStack()
        """Answers that have ended; they are closed after the turn's own end."""
        self._first_words = FirstWords(plan, self._writer, response)

    async def run(self) -> None:
        """Write the whole stream.

        Raises:
            OSError: the caller is gone; nothing else is raised.
        """
        async with self._ended:
            try:
                async with asyncio.timeout_at(self._plan.deadline):
                    await self._converse()
            except TimeoutError:
                await self._ending.failed(
                    self._answer,
                    UpstreamTimeout("The answer took longer than this function may run."),
                )
            except OSError:
                raise  # From the response: nobody is left to hear more.
            except Exception:
                # A bug of ours must not cut a caller off.
                log.exception("turn.crashed")
                ended = self._response.closed
                await self._ending.failed(
                    self._answer,
                    UpstreamUnavailable(
                        "The answer could not be written; the reason is in the log."
                    ),
                )
                if not ended:
                    self._record.outcome = Outcome.CRASHED
            finally:
                self._pauses.stop()

    async def _converse(self) -> None:
        plan, recovery = self._plan, self._recovery
        question, candidates, started_at = plan.question, plan.candidates(), plan.arrived
        source = 0
        while True:
            race = Race(
                question,
                candidates,
                plan.health,
                plan.timeouts,
                started_at=started_at,
                first_source=source,
                words_only=self._request.speakable,
                answers=self._request.answers,
                waits=plan.waits,
                others_heard_at=lambda: self._record.buffer_words_said_at,
                ask_until=plan.ask_until(self._first_words.budget_ends),
                wait_limit_s=plan.wait_limit_s,
            )
            try:
                await self._hear(race)
                judgement = self._answer.judge_calls()
                # Two answers, one after the other, are not the JSON that was asked for.
                may_continue = self._request.speakable or not self._record.words
                if (
                    not judgement.problems
                    or not may_continue
                    or not recovery.can_give_feedback(question, self._left_s())
                ):
                    await self._ending.complete(self._answer, judgement)
                    return
                question = recovery.give_feedback(question, judgement, self._record.text)
                candidates = after_feedback(candidates, race.winner)
            except EmptyAnswer as empty:
                candidates = recovery.after_empty(empty, question, candidates)
                if not candidates:
                    await self._ending.empty(self._answer, empty)
                    return
                question = question.after_silence()
            except CompletionsError as error:
                if not race.winner or not question.can_ask or not await self._moves_on(error):
                    await self._ending.failed(self._answer, error)
                    return
                candidates = after_cut(candidates, race.winner, race.barred)
            if self._record.words:
                # The caller has heard something, so the wait for the next word starts anew.
                self._first_words.budget_ends = plan.new_budget()
                self._pauses.start(between_answers=True)
            source, started_at = race.next_source, self._loop.time()
            self._answer = self._new_answer()

    def _new_answer(self) -> Answer:
        answer = Answer(self._request, self._writer, self._record)
        if self._record.last_buffer_words and not self._record.words:
            answer.follows_buffer_words(self._record.last_buffer_words)
        return answer

    # Hearing one answer.

    async def _hear(self, race: Race) -> None:
        """Pass on one winner's answer to its end.

        Raises:
            EmptyAnswer: it had no audible word and no call.
            CompletionsError: nobody answered, or the answer was cut off.
        """
        answer, pauses, watched = self._answer, self._pauses, False
        batches = race.answer()
        try:
            while True:
                # The turn's timers end once the answer is heard.
                batch = await (
                    anext(batches, None)
                    if answer.audible
                    else self._first_words.next(answer, batches)
                )
                if batch is None:
                    break
                self._record.heard(race.winner, batch[0].source if batch else 0, len(batch))
                out = b""
                for chunk in batch:
                    out += answer.pass_on(chunk)
                await self._response.write(out)
                if not watched and answer.audible:
                    watched = True
                    pauses.start()
                elif watched and answer.finish:
                    pauses.stop()
                if answer.done:
                    break
            await self._response.write(answer.flush())
        except BaseException:
            await batches.aclose()
            raise
        # Read on for a moment at the turn's end, so that its connection can be used again.
        self._ended.push_async_callback(batches.aclose)
        if answer.is_nothing and race.winner:
            raise EmptyAnswer(race.winner, answer.finish, [])

    def _left_s(self) -> float:
        """Return the seconds until everything must be said."""
        ends = (self._plan.deadline, None if self._record.words else self._first_words.budget_ends)
        return min(moment for moment in ends if moment is not None) - self._loop.time()

    # After a cut.

    async def _moves_on(self, error: CompletionsError) -> bool:
        """Return True if another answer should follow one that was cut.

        Before anything was heard nobody notices; in the first sentence a short bridge is needed.
        """
        record, plan = self._record, self._plan
        if self._left_s() < ANSWER_NEEDS_S or (
            plan.fails_in_words and self._ending.keep_whole_calls(self._answer)
        ):
            return False
        if not record.words and not self._answer.audible:
            log.warning(
                "turn.moved_on", code=identifier(error.code), reason=loggable_message(error)
            )
            return True
        if not plan.fails_in_words or not self._recovery.take_bridge(record.text):
            return False
        log.warning("turn.bridged", code=identifier(error.code), reason=loggable_message(error))
        bridge = spoken_after(record.text, plan.phrases.bridge) + " "
        await self._response.write(self._writer.text(bridge))
        record.words.append(bridge)
        return True
