"""One request for one model: prepared, its quirks applied, its answer read.

Stands between the race, which decides whom to ask, and the upstream client, which carries bytes.
Translates if the caller's dialect is not the upstream's. Knows no time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from completions.dialects import chat
from completions.dialects.deltas import Chunk, Finish, Usage
from completions.dialects.dialect import Dialect, Prepared
from completions.dialects.request import ParsedRequest
from completions.errors import ChainNotFound, CompletionsError, NotAsked, UpstreamRefused
from completions.quirks.lessons import Keep, Lesson, bare, lesson_of
from completions.quirks.quirks import Quirks
from completions.quirks.shapes import mended
from completions.quirks.stored_responses import names_stored
from completions.race.attempts import is_done
from completions.race.chunk_batches import beginning, failure, model_in, speaks
from completions.race.requests import Requests
from completions.settings import Candidate
from completions.speech.spoken_answer import SpokenAnswer
from completions.sse import ServerSentEvent
from completions.upstream.exchange import Exchange

MODEL_LIMIT_CHARS = 256
"""Of a caller's name for a model, where something is remembered under that name."""


class ModelClient(Protocol):
    """What a question needs of `upstream.client.Upstream`."""

    def events(
        self, candidate: Candidate, path: str, body: dict[str, Any], exchange: Exchange
    ) -> AsyncGenerator[list[ServerSentEvent], None]:
        """Yield the answer's events, noting times in `exchange`. Raises CompletionsError."""
        ...


@dataclass(frozen=True)
class Question:
    """A request, ready for any candidate.

    `chain_holder` is the one candidate that may be sent a chained request: only the upstream that
    made the earlier response knows it. `clean` takes our own words out of assistant texts.
    """

    dialect: Dialect
    request: ParsedRequest
    upstream: ModelClient
    quirks: Quirks
    requests: Requests
    clean: Callable[[str], str]
    chain_holder: Candidate
    candidates: Sequence[Candidate] = ()
    """Every candidate that the turn may ask."""
    answer: str = ""
    feedback: str = ""
    silent_before: bool = False

    def with_feedback(self, answer: str, feedback: str) -> Question:
        """Return the question continued: the model said `answer`, and is told what was wrong."""
        return replace(self, answer=answer, feedback=feedback)

    def after_silence(self) -> Question:
        """Return the question with a user message at its end, if an assistant message is the last.

        llama.cpp and vLLM continue such an assistant message instead of answering it, and often
        find that it was complete.
        """
        return replace(self, silent_before=True)

    @property
    def can_ask(self) -> bool:
        """True while the turn may make another request."""
        return self.requests.left > 0

    @property
    def requests_left(self) -> int:
        """How many requests the turn may still make."""
        return self.requests.left

    @property
    def can_change_task(self) -> bool:
        """True: nothing in a request to a model belongs to the task that began it."""
        return True

    def given_up(self) -> None:
        """Do nothing: a request to a model ends with the task that reads it."""

    async def ask(
        self, candidate: Candidate, source: int, /, *, hedge: bool = False
    ) -> AsyncGenerator[list[Chunk], None]:
        """Yield the candidate's answer as it comes.

        After a refusal that teaches something the candidate is asked once more, as long as the
        turn has requests left. A named field is remembered at once, a guess when the model answers.

        Raises:
            ChainNotFound: the candidate does not have the response that the request continues.
            CompletionsError: before the first batch or after any.
        """
        lesson, guess, by_id = Lesson(), Lesson(), self.request.by_id
        model = self._model(candidate)
        while True:
            wire, prepared = self._prepare(candidate, model, by_id=by_id)
            prepared = lesson.applied(prepared)
            exchange = self.requests.reserve(candidate, source, hedge=hedge)
            if exchange is None:
                raise NotAsked("This turn's three upstream requests are used up.")
            hedge = False  # Any request after a refusal is a retry.
            answered = heard = spoken = False
            learnt: Lesson | None = None
            try:
                events = self.upstream.events(candidate, wire.path, prepared.body, exchange)
                async with aclosing(self._listen(wire, exchange, events, model)) as arriving:
                    async for batch in arriving:
                        if not spoken:
                            heard, refusal = (True, None) if heard else beginning(batch)
                            if refusal:
                                learnt = self._lesson(wire, candidate, refusal, prepared, lesson)
                                if learnt is not None:
                                    break
                            elif not answered:
                                self._confirm(candidate, model, wire, prepared, guess)
                                answered = True
                            if spoken := heard and speaks(batch, words_only=self.request.speakable):
                                exchange.speaks()
                        yield batch
            except UpstreamRefused as error:
                if by_id and not heard and names_stored(error, prepared.body):
                    if self.request.chained:
                        raise ChainNotFound from error
                    if self.can_ask:
                        by_id = False
                        continue
                learnt = None if heard else self._lesson(wire, candidate, error, prepared, lesson)
                if learnt is None:
                    error.model = model.model
                    raise
            if learnt is None:
                return
            if learnt.keep is Keep.IF_ANSWERED:
                guess += learnt
            if self.requests.left == 1 and learnt:
                # A model that refuses one thing after another might go on: answer this caller.
                lesson += bare(prepared, candidate.extra_body)
            lesson += learnt

    def _confirm(
        self,
        candidate: Candidate,
        model: Candidate,
        wire: Dialect,
        prepared: Prepared,
        guess: Lesson,
    ) -> None:
        """Remember the lessons that an answer has confirmed."""
        self.quirks.remember(model, guess)
        self.quirks.doubt(model, prepared.body.keys())
        if wire.optional:
            self.quirks.learn_has_responses(candidate)

    def _prepare(
        self, candidate: Candidate, model: Candidate, *, by_id: bool
    ) -> tuple[Dialect, Prepared]:
        """Return the dialect to ask this candidate in, and the request.

        Raises:
            ChainNotFound: the request continues a history that this candidate does not have.
        """
        wire, request = self.dialect, self.request
        # Every upstream has chat completions. A fallback is not probed for the other API when the
        # first candidate lacked it: a probe would cost the turn a request.
        lacks = self.quirks.lacks_responses
        if (lacks(candidate) or lacks(self.chain_holder)) and (body := wire.as_chat(request.body)):
            wire, request = chat, replace(request, body=body)
        if request.chained and (wire is not self.dialect or candidate != self.chain_holder):
            raise ChainNotFound
        if request.by_id and (candidate != self.chain_holder or not by_id):
            request = replace(request, by_id=False)
        prepared = wire.prepare(
            request,
            model=candidate.model,
            extra_body=candidate.extra_body,
            clean=self.clean,
            max_tokens=candidate.max_tokens,
        )
        if self.feedback:
            body = wire.with_feedback(prepared.body, self.answer, self.feedback)
            prepared = Prepared(body, prepared.added)
        if self.silent_before:
            prepared = Prepared(mended(prepared.body, {"turns"}), prepared.added)
        return wire, self.quirks.applied(model, prepared)

    def _model(self, candidate: Candidate) -> Candidate:
        """Return the candidate with the model of this request: each model has its own quirks."""
        if candidate.model:
            return candidate
        return replace(candidate, model=self.request.model[:MODEL_LIMIT_CHARS])

    def _lesson(
        self,
        wire: Dialect,
        candidate: Candidate,
        error: UpstreamRefused,
        sent: Prepared,
        lesson: Lesson,
    ) -> Lesson | None:
        """Learn from a refusal; return None if the turn is not to ask this candidate again."""
        if wire.optional and self.quirks.learn_lacks_responses(candidate, error):
            learnt: Lesson | None = Lesson()  # The next request goes to chat completions.
        else:
            model = self._model(candidate)
            learnt = lesson_of(error, sent, self.quirks.lesson(model) + lesson)
            if learnt and learnt.keep is Keep.KNOWN:
                # The API named it: the next turn knows, however this one ends.
                self.quirks.remember(model, learnt)
            if learnt and learnt.keep is Keep.IF_ANSWERED and self._is_owed(candidate):
                return None
        return learnt if self.can_ask else None

    def _is_owed(self, candidate: Candidate) -> bool:
        """Return True if the last request should go to a candidate that was not asked yet.

        A named field can be mended; another model is worth more than a guess.
        """
        asked = {one.candidate for one in self.requests.exchanges}
        others = (one for one in self.candidates if one != candidate and one not in asked)
        return self.requests.left == 1 and not self.request.chained and any(others)

    async def _listen(
        self,
        wire: Dialect,
        exchange: Exchange,
        events: AsyncGenerator[list[ServerSentEvent], None],
        model: Candidate,
    ) -> AsyncGenerator[list[Chunk], None]:
        read, source = wire.reader(self.request), exchange.source
        native, single, named = wire is self.dialect, self.request.single, False
        finish: str | None = None
        spoken = SpokenAnswer(self.request, guess_chars=self.quirks.guess_chars(model))
        learnt = led = False
        heard: list[Chunk] = []

        stopped: BaseException | None = None
        try:
            async for batch in events:
                heard = []
                for sse in batch:
                    deltas, unchanged = read(sse), True
                    if not named and sse.data:
                        named = True
                        exchange.model = model_in(sse) or model.model
                    for delta in deltas:
                        if type(delta) is Usage:
                            exchange.usage = delta.usage
                        elif type(delta) is Finish:
                            finish = finish or delta.reason
                            exchange.finishes()
                    if single:
                        deltas, unchanged = spoken.hear(deltas)
                    shown = sse if native else None
                    heard.append(Chunk(shown, deltas, unchanged, source))
                    if not led and len(batch) > len(heard) and speaks(heard[-1:]):
                        # The first words wait for nothing that came along with them.
                        led = True
                        yield heard
                        heard = []
                if finish is not None and single and not learnt:
                    learnt = True
                    self._learn_of_thoughts(model, spoken, finish)
                yield heard
            # NOTE: no flush: a cut answer may end in half a tag, which must not be spoken.
        except BaseException as raised:
            stopped = raised
            raise
        finally:
            try:
                await events.aclose()
            finally:
                if spoken.guessing:
                    # The answer was given up before a tag confirmed the guess.
                    self.quirks.doubt_thinks_first(model)
                exchange.ends(
                    stopped if isinstance(stopped, CompletionsError) else failure(heard),
                    whole=is_done(heard),
                    by_itself=stopped is None,
                )

    def _learn_of_thoughts(self, model: Candidate, spoken: SpokenAnswer, finish: str) -> None:
        """Note whether an answer that has finished began inside a thought."""
        # An answer that ends at its limit, or with a call, may have been all thought.
        if spoken.began_inside or finish == "stop":
            self.quirks.learn_thinks_first(model, began_inside=spoken.began_inside)
