"""The one end of a streamed turn: the model's own, a call in place of silence, or a failure.

Writes the last words, the held calls and the finish. Knows what a caller is owed, but no time, and
not who might still be asked.
"""

from __future__ import annotations

import asyncio

from completions.causes import Cause
from completions.dialects.dialect import Writer
from completions.dialects.finish_reasons import honest_finish
from completions.dialects.request import ParsedRequest
from completions.errors import (
    CompletionsError,
    ContentFiltered,
    InvalidToolCall,
    UpstreamUnavailable,
)
from completions.observability import identifier, log, loggable_message
from completions.race.attempts import EmptyAnswer
from completions.speech.sentences import ends_sentence, spoken_after
from completions.sse import DONE
from completions.tools import validation
from completions.tools.held_calls import Judgement, merge_calls
from completions.tools.system_tools import skip_turn_call
from completions.turn.answer import Answer
from completions.turn.plan import Plan
from completions.turn.record import Outcome
from completions.turn.recovery import Recovery
from completions.turn.response import ResponseSender


class Ending:
    """Ends one streamed turn, exactly once; each method takes the answer that was heard last."""

    def __init__(
        self,
        request: ParsedRequest,
        plan: Plan,
        recovery: Recovery,
        writer: Writer,
        response: ResponseSender,
    ) -> None:
        self._request = request
        self._plan = plan
        self._record = plan.record
        self._recovery = recovery
        self._writer = writer
        self._response = response
        self._loop = asyncio.get_running_loop()

    async def complete(self, answer: Answer, judgement: Judgement) -> None:
        """End as the model did, its calls delivered."""
        record, kept = self._record, self._recovery.kept
        bridged = Outcome.BRIDGED if self._recovery.bridged else Outcome.OK
        record.outcome = record.outcome or bridged
        if not self._request.single:
            await self._response.close(DONE)
            return
        calls = merge_calls(kept, judgement.calls)
        relayable = not judgement.changed and answer.calls.relayable and not kept
        if judgement.problems:
            relayable = False
            log.warning("call.invalid", problems=len(judgement.problems))
            if not self._request.speakable:
                # A caller who wants JSON checks it himself: pass on everything.
                calls = merge_calls(kept, answer.calls.unchecked())
            elif not calls:
                await self.failed(
                    answer, InvalidToolCall("The model called a tool wrongly, twice.")
                )
                return
        if relayable:
            out = b"".join(self._writer.relay(chunk) for chunk in answer.calls.chunks)
        else:
            out = b"".join(self._writer.call(call) for call in calls)
        if calls:
            record.called += [call.name for call in calls]
            record.tool_repairs += judgement.coerced
            answer.note_output()
        finish = honest_finish(answer.finish, calls=bool(calls))
        if (
            finish == "content_filter"
            and self._plan.fails_in_words
            and not ends_sentence(record.text)
        ):
            # The filter has cut the answer: do not leave the caller with half a sentence.
            declined = spoken_after(record.text, self._plan.phrases.declined)
            out += self._writer.text(declined)
        await self._close(answer, finish, out)

    async def empty(self, answer: Answer, empty: EmptyAnswer) -> None:
        """End a turn that would have neither speech nor a call."""
        record = self._record
        record.outcome = Outcome.EMPTY
        withheld = (answer.finish or empty.reason) == "content_filter"
        if not self._request.single:
            await self._response.close(b"".join(map(answer.pass_on, empty.held)) + DONE)
        elif not self._request.speakable:
            out = b"".join(map(answer.pass_on, empty.held))
            finish = honest_finish(answer.finish or empty.reason, calls=False)
            await self._close(answer, finish, out)
        elif withheld and (self._request.user_spoke or record.buffer_words_count or record.text):
            await self.failed(
                answer, ContentFiltered("The model's content filter withheld the answer.")
            )
        elif self._recovery.gave_feedback:
            await self.failed(answer, InvalidToolCall("The model's tool call could not be mended."))
        elif record.buffer_words_count or record.text:
            await self.failed(answer, UpstreamUnavailable("The model's answer was empty."))
        elif (skip := skip_turn_call(self._request)) and (
            call := validation.check(skip, self._request.tools).call
        ):
            record.called.append(call.name)
            await self._close(answer, "tool_calls", self._writer.call(call))
        elif not self._request.user_was_silent:
            # A pause cannot be heard: after silence the caller is owed words.
            await self.failed(answer, UpstreamUnavailable("The model's answer was empty."))
        else:
            await self._close(answer, "stop", self._writer.text("... "))

    def keep_whole_calls(self, answer: Answer) -> Judgement | None:
        """Drop a cut answer's unfinished calls; return the others if they can be delivered."""
        answer.drop_unfinished_calls()
        judgement = answer.judge_calls()
        deliverable = (judgement.calls or self._recovery.kept) and not judgement.problems
        return judgement if deliverable else None

    async def failed(self, answer: Answer, error: CompletionsError) -> None:
        """End after a failure: say so in words or in the status, exactly once."""
        record, plan, writer = self._record, self._plan, self._writer
        log.warning("turn.failed", code=identifier(error.code), reason=loggable_message(error))
        if self._response.closed:
            return
        record.error_type = identifier(error.code) or ""
        heard = bool(record.words or answer.audible)
        record.outcome = Outcome.CUT if heard else Outcome.ERROR
        unfinished_calls = self._recovery.gave_feedback and not answer.audible
        if not self._response.started and not (plan.fails_in_words and not error.ours):
            await self._response.refuse(error)
        elif not plan.fails_in_words:
            await self._response.close(writer.failure(error))
        elif judgement := self.keep_whole_calls(answer):
            record.outcome = Outcome.CUT
            await self.complete(answer, judgement)
        elif isinstance(error, InvalidToolCall) or unfinished_calls:
            # The answer was whole but for its call: "I'm transferring you" needs a word after it.
            await self._apologise(answer, spoken_after(record.text, plan.phrases.failure))
        elif record.words:
            closing = spoken_after(record.text, plan.phrases.closing)
            await self._close(answer, "length", writer.text(closing))
        elif error.cause is Cause.FILTER:
            await self._apologise(answer, plan.phrases.declined)
        else:
            await self._apologise(answer, plan.phrases.failure)

    async def _apologise(self, answer: Answer, sentence: str) -> None:
        self._record.outcome = Outcome.APOLOGY
        self._record.spoke(self._loop.time())
        await self._close(answer, "stop", self._writer.text(sentence))

    async def _close(self, answer: Answer, finish: str, out: bytes = b"") -> None:
        self._record.finish = finish
        await self._response.close(out + self._writer.end(finish, answer.usage))
