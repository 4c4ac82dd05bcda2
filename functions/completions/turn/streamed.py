"""A streamed turn: what the caller hears, from the first filler to the last frame.

Reads one or more races and writes one well-formed, non-empty, honest stream. Knows what is heard;
who answers is `race`'s, how it is written is the dialect's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from completions.dialects.deltas import (
    Call,
    CallPart,
    Chunk,
    Delta,
    Done,
    Finish,
    Other,
    Reasoning,
    Refusal,
    Text,
    Usage,
)
from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.errors import (
    CompletionsError,
    InvalidToolCall,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from completions.observability import identifier, log, reason
from completions.race.attempts import Askable, is_done
from completions.race.race import EmptyAnswer, Race
from completions.race.winner import TICK_S
from completions.settings import Candidate
from completions.speech.buffer_words import BUFFER_WORDS_LIMIT, CopyFilter
from completions.speech.sentences import Sentence, joined
from completions.sse import DONE
from completions.tools import validation
from completions.tools.held_calls import HeldCalls, Judgement, merge_calls
from completions.turn.plan import Plan
from completions.turn.record import Outcome
from completions.turn.response import ResponseSender

SECOND_BUFFER_WORDS_S = 5.0
"""After the first filler; there is never a third."""
BRIDGE_NEEDS_S = 3.0
"""Less than this before the end, and another whole answer is not begun."""


class Streamed:
    """One streamed turn. `run` once; the plan's account tells afterwards what happened."""

    def __init__(
        self, dialect: Dialect, request: ParsedRequest, plan: Plan, response: ResponseSender
    ) -> None:
        self._request = request
        self._plan = plan
        self._response = response
        self._writer = dialect.writer(request)
        self._loop = asyncio.get_running_loop()
        self._heard = plan.record
        self._ended = AsyncExitStack()
        """Answers that have ended; they are closed behind the turn's own end."""
        self._buffer_words_left = True
        self._budget_ends = plan.budget_ends
        self._kept: list[Call] = []
        """Valid calls of an answer whose other calls had to be asked for again."""
        # Of the answer that is being heard:
        self._audible = False
        self._speaking = False
        self._held = HeldCalls()
        self._copy: CopyFilter | None = None
        self._finish = ""
        self._usage: dict[str, Any] | None = None

    async def run(self) -> None:
        """Writes the whole stream. Raises nothing but what the outlet raises."""
        async with self._ended:
            try:
                async with asyncio.timeout_at(self._plan.deadline):
                    await self._converse()
            except TimeoutError:
                await self._give_up(
                    UpstreamTimeout("The answer took longer than this function may run.")
                )
            except OSError:
                raise  # The outlet's: nobody is there to hear more.
            except Exception:
                # A bug of ours must not cut a caller off.
                log.exception("turn.crashed")
                whole = self._response.closed
                await self._give_up(
                    UpstreamUnavailable(
                        "The answer could not be written; the reason is in the log."
                    )
                )
                if not whole:
                    self._heard.outcome = Outcome.CRASHED

    async def _converse(self) -> None:
        plan = self._plan
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
            )
            try:
                await self._hear(race)
                judgement = self._held.judge(self._request.tools, self._heard.text)
                if not judgement.problems or not self._can_retry_with_feedback(question):
                    await self._end_well(judgement)
                    return
                # Hopeless arguments: the model is told what is wrong, once.
                self._heard.retried_with_feedback = True
                self._heard.repairs += judgement.repaired + len(judgement.problems)
                log.info("call.reasked", problems=len(judgement.problems))
                question = question.with_feedback(self._heard.text, feedback_on(judgement))
                self._kept += judgement.calls
                # It knows what it meant; nobody else does.
                candidates = sorted(candidates, key=lambda one: one != race.winner)
            except EmptyAnswer as silence:
                candidates = self._after_silence(silence, candidates)
                if not candidates or not question.can_ask:
                    await self._never_empty(silence)
                    return
            except CompletionsError as error:
                if not race.winner or not question.can_ask or not await self._moves_on(error):
                    await self._give_up(error)
                    return
                # Not to one that has just refused, and to the one that was cut last of all.
                willing = [one for one in candidates if one not in race.barred] or candidates
                candidates = sorted(willing, key=lambda one: one == race.winner)
            if self._heard.words:
                # The caller has heard something: the wait for the next word is a new one.
                self._budget_ends = self._plan.new_budget()
            source, started_at = race.next_source, self._loop.time()
            self._audible = self._speaking = False
            self._held, self._finish, self._usage = HeldCalls(), "", None
            heard = self._heard
            said_first = heard.last_buffer_words if not heard.words else None
            self._copy = CopyFilter(said_first) if said_first else None

    # Hearing one answer.

    async def _hear(self, race: Race) -> None:
        """Passes one winner's answer on, to its end."""
        async with AsyncExitStack() as opened:
            answer = await opened.enter_async_context(aclosing(race.answer()))
            while True:
                # Heard by now, an answer has no timers of the turn's: no task, no call for it.
                batch = await (anext(answer, None) if self._audible else self._next(answer))
                if batch is None:
                    break
                self._heard.hear(race.winner, batch[0].source if batch else 0, len(batch))
                out = b""
                for chunk in batch:
                    out += self._pass_on(chunk)
                await self._response.write(out)
                if batch and is_done(batch[-1:]):
                    break
            await self._response.write(self._flush_copy())
            # It is read on for a moment, so that its connection can be used again.
            self._ended.push_async_exit(opened.pop_all())
        if self._request.single and not self._audible and not self._held and race.winner:
            # Nothing but a copy of our own filler.
            raise EmptyAnswer(race.winner, self._finish, [])

    async def _next(self, answer: AsyncGenerator[list[Chunk], None]) -> list[Chunk] | None:
        """The answer's next batch; while nothing of it is audible, the turn's timers run."""
        coming = asyncio.ensure_future(anext(answer, None))
        try:
            while True:
                moment = self._next_moment()
                wait_s = None if moment is None else max(0.0, moment - self._loop.time())
                await asyncio.wait({coming}, timeout=wait_s)
                for _ in range(8):
                    # Words that are here already beat a timer of the same moment.
                    if coming.done():
                        return coming.result()
                    await asyncio.sleep(0)
                await self._on_time()
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.wait({coming})

    def _pass_on(self, chunk: Chunk) -> bytes:
        """Writes a frame, or holds it: calls until they are whole, the end until it is decided."""
        if not self._request.single:
            return self._pass_on_raw(chunk)
        if not self._audible and self._heard.words:
            chunk = self._apart(chunk)
        deltas = chunk.deltas
        if len(deltas) == 1 and type(word := deltas[0]) is Text and self._copy is None:
            # The common frame, apart for its speed.
            if word.text:
                self._note_spoken(word.text)
            return self._writer.relay(chunk) if chunk.sse else self._written(word)
        if any(isinstance(delta, CallPart) for delta in deltas):
            self._held.add(chunk)
            rest = tuple(delta for delta in deltas if not isinstance(delta, CallPart))
            if not rest:
                return b""
            chunk = Chunk(chunk.sse, rest, plain=False, source=chunk.source)
        if self._copy is not None:
            chunk = self._without_copy(chunk, self._copy)
        for delta in chunk.deltas:
            if (isinstance(delta, Text) and delta.text) or isinstance(delta, Refusal):
                self._note_spoken(delta.text)
            elif isinstance(delta, Finish):
                self._finish = delta.reason
            elif isinstance(delta, Usage):
                self._usage = delta.usage
            elif isinstance(delta, Other):
                self._note_output()
        if chunk.sse is not None:
            return self._writer.relay(chunk)
        return b"".join(self._written(delta) for delta in chunk.deltas)

    def _pass_on_raw(self, chunk: Chunk) -> bytes:
        """Several answers at once (`n` > 1) are the caller's own business."""
        if chunk.sse and chunk.sse.data and not chunk.sse.raw:
            raise UpstreamUnavailable("The upstream does not stream several answers.")
        self._audible = True
        only_usage = chunk.deltas and all(isinstance(delta, Usage) for delta in chunk.deltas)
        if chunk.sse is None or Done() in chunk.deltas:
            return b""
        return b"" if only_usage and not self._request.wants_usage else chunk.sse.raw

    def _written(self, delta: Delta) -> bytes:
        if isinstance(delta, Text | Refusal):
            return self._writer.text(delta.text) if delta.text else b""
        if isinstance(delta, Reasoning):
            return self._writer.reasoning(delta.text)
        return b""

    def _note_spoken(self, text: str) -> None:
        self._heard.words.append(text)
        if self._heard.first_spoken_at is None:
            self._heard.spoke(self._loop.time())
        if not self._audible:
            self._note_output()

    def _note_output(self) -> None:
        if not self._audible:
            self._audible = True
            self._heard.output(self._loop.time())

    def _apart(self, chunk: Chunk) -> Chunk:
        """The first words of another answer, not glued to what was heard before."""
        for position, delta in enumerate(chunk.deltas):
            if isinstance(delta, Text) and delta.text.strip():
                text = joined(self._heard.text, delta.text)
                deltas = (*chunk.deltas[:position], Text(text), *chunk.deltas[position + 1 :])
                plain = chunk.plain and text == delta.text
                return Chunk(chunk.sse, deltas, plain, chunk.source)
        return chunk

    def _without_copy(self, chunk: Chunk, copy: CopyFilter) -> Chunk:
        deltas: list[Delta] = []
        for delta in chunk.deltas:
            if isinstance(delta, Text):
                self._speaking = True
                if text := copy.feed(delta.text):
                    deltas.append(Text(text))
            elif isinstance(delta, Finish | Done):
                deltas += [Text(rest)] if (rest := copy.flush()) else []
                deltas.append(delta)
            else:
                deltas.append(delta)
        plain = chunk.plain and tuple(deltas) == chunk.deltas
        return Chunk(chunk.sse, tuple(deltas), plain, chunk.source)

    def _flush_copy(self) -> bytes:
        rest = self._copy.flush() if self._copy else ""
        self._copy = None
        if not rest:
            return b""
        self._note_spoken(rest)
        return self._writer.text(rest)

    # Time.

    def _next_moment(self) -> float | None:
        moments = (self._buffer_words_at(), self._budget_ends)
        return min((moment for moment in moments if moment is not None), default=None)

    def _buffer_words_at(self) -> float | None:
        first = self._plan.buffer_words_at
        if first is None or not self._buffer_words_left or self._speaking or self._heard.words:
            return None
        return first + SECOND_BUFFER_WORDS_S * self._heard.buffer_words

    async def _on_time(self) -> None:
        now = self._loop.time() + TICK_S
        if self._budget_ends is not None and self._budget_ends <= now:
            raise UpstreamTimeout("No model answered in time.")
        at = self._buffer_words_at()
        if at is None or at > now:
            return
        heard = self._heard
        phrase = self._plan.next_buffer_words(heard.buffer_words, heard.last_buffer_words)
        if phrase is None:
            # Nothing to say: the timer must not fire again.
            self._buffer_words_left = False
            return
        heard.buffer_words += 1
        self._buffer_words_left = heard.buffer_words < BUFFER_WORDS_LIMIT
        heard.last_buffer_words = phrase
        self._copy = CopyFilter(phrase)
        heard.spoke(self._loop.time())
        await self._response.write(self._writer.buffer_words(phrase))

    # Ends.

    async def _end_well(self, judgement: Judgement) -> None:
        """The model's own end, calls delivered."""
        heard = self._heard
        heard.outcome = heard.outcome or (Outcome.BRIDGED if heard.bridged else Outcome.OK)
        if not self._request.single:
            await self._response.close(DONE)
            return
        calls = merge_calls(self._kept, judgement.calls)
        raw = not judgement.changed and self._held.pure and not self._kept
        if judgement.problems:
            raw = False
            log.warning("call.invalid", problems=len(judgement.problems))
            if not self._request.speakable:
                # Whoever wants JSON checks for himself: nothing is kept from him.
                calls = merge_calls(self._kept, self._held.unchecked())
            elif not calls:
                await self._give_up(InvalidToolCall("The model called a tool wrongly, twice."))
                return
        out = b""
        if raw:
            out = b"".join(self._writer.relay(chunk) for chunk in self._held.chunks)
        else:
            out = b"".join(self._writer.call(call) for call in calls)
        finish = self._finish or "stop"
        if calls:
            finish = "tool_calls"
            heard.called += [call.name for call in calls]
            heard.repairs += judgement.repaired
            self._note_output()
        elif finish == "tool_calls":
            finish = "stop"
        await self._close(finish, out)

    def _can_retry_with_feedback(self, question: Askable) -> bool:
        """Whether the model may be told what is wrong with its calls."""
        heard = self._heard
        if heard.retried_with_feedback or not question.can_ask or self._left_s() < BRIDGE_NEEDS_S:
            return False
        # Two answers, one behind the other, are not the JSON that was asked for.
        return self._request.speakable or not heard.words

    def _left_s(self) -> float:
        """Seconds until everything must be said."""
        ends = (self._plan.deadline, None if self._heard.words else self._budget_ends)
        left = (moment - self._loop.time() for moment in ends if moment is not None)
        return min(left, default=math.inf)

    def _after_silence(self, silence: EmptyAnswer, candidates: list[Candidate]) -> list[Candidate]:
        """Whom to ask once more; nobody the second time."""
        if self._heard.repeated:
            return []
        self._heard.repeated = True
        log.info(
            "answer.silent", candidate=silence.candidate.key, reason=identifier(silence.reason)
        )
        others = [one for one in candidates if one != silence.candidate]
        if silence.reason in {"length", "content_filter"}:
            return others
        return [*others, silence.candidate]

    async def _never_empty(self, silence: EmptyAnswer) -> None:
        """The turn would end without speech and without a call."""
        heard = self._heard
        heard.outcome = Outcome.EMPTY
        if not self._request.single:
            await self._response.close(b"".join(map(self._pass_on, silence.held)) + DONE)
        elif not self._request.speakable:
            out = b"".join(self._pass_on(chunk) for chunk in silence.held)
            await self._close(self._finish or silence.reason or "stop", out)
        elif heard.retried_with_feedback:
            await self._give_up(InvalidToolCall("The model's tool call could not be mended."))
        elif heard.buffer_words or heard.text:
            await self._give_up(UpstreamUnavailable("The model's answer was empty."))
        elif call := validation.skip_turn_call(self._request):
            heard.called.append(call.name)
            await self._close("tool_calls", self._writer.call(call))
        else:
            await self._close("stop", self._writer.text("... "))

    async def _moves_on(self, error: CompletionsError) -> bool:
        """After a cut, whether another answer is to come.

        Nobody notices as long as nothing was heard; in the first sentence it takes a short bridge.
        """
        heard, plan = self._heard, self._plan
        if self._left_s() < BRIDGE_NEEDS_S or (plan.speaks and self._whole_calls()):
            return False
        if not heard.words and not self._audible:
            log.warning("turn.moved_on", code=identifier(error.code), reason=reason(error))
            return True
        # Not fed with each word: few answers are cut.
        sentence = Sentence()
        sentence.feed(heard.text)
        if not plan.speaks or sentence.ended or heard.bridged:
            return False
        heard.bridged = True
        log.warning("turn.bridged", code=identifier(error.code), reason=reason(error))
        bridge = joined(heard.text, plan.phrases.bridge)
        await self._response.write(self._writer.text(bridge + " "))
        heard.words.append(bridge + " ")
        return True

    def _whole_calls(self) -> Judgement | None:
        """The calls that are whole and valid although the answer was cut."""
        self._held = self._held.whole()
        judgement = self._held.judge(self._request.tools, self._heard.text)
        whole = (judgement.calls or self._kept) and not judgement.problems
        return judgement if whole else None

    async def _give_up(self, error: CompletionsError) -> None:
        """The end after a failure: honest in words or honest in status, and always one end."""
        heard, plan, writer = self._heard, self._plan, self._writer
        log.warning("turn.failed", code=identifier(error.code), reason=reason(error))
        if self._response.closed:
            return
        heard.error_type = identifier(error.code) or ""
        heard.outcome = Outcome.CUT if heard.words or self._audible else Outcome.ERROR
        if not self._response.started and not (plan.speaks and error.transient):
            await self._response.refuse(error)
        elif not plan.speaks:
            await self._response.close(writer.failure(error))
        elif judgement := self._whole_calls():
            heard.outcome = Outcome.CUT
            await self._end_well(judgement)
        elif isinstance(error, InvalidToolCall) or (
            heard.retried_with_feedback and not self._audible
        ):
            # The answer was whole but for its call: "I'm transferring you" needs a word after it.
            await self._apologise(joined(heard.text, plan.phrases.failure))
        elif heard.words:
            closing = joined(heard.text, plan.phrases.closing)
            await self._close("length", writer.text(closing))
        else:
            await self._apologise(plan.phrases.failure)

    async def _apologise(self, sentence: str) -> None:
        self._heard.outcome = Outcome.APOLOGY
        self._heard.spoke(self._loop.time())
        await self._close("stop", self._writer.text(sentence))

    async def _close(self, finish: str, out: bytes = b"") -> None:
        self._heard.finish = finish
        await self._response.close(out + self._writer.end(finish, self._usage))


def feedback_on(judgement: Judgement) -> str:
    """What the model is told about its invalid calls."""
    problems = " ".join(judgement.problems)
    stand = "".join(
        f" Your call {call.name}({call.arguments}) stands: do not repeat it."
        for call in judgement.calls
    )
    return (
        f"(Automatic check, not from the user.) A tool call of yours was not carried out. "
        f"{problems}{stand} Make that call again with valid arguments, or answer in words."
    )
