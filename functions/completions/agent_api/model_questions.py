"""An agent's questions to the configured models: each is a separate race.

`Conversation.ask` and the client both ask here. Knows races, not how an agent asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from completions.dialects import chat
from completions.dialects.deltas import CallPart, Chunk, Text
from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.errors import AgentRequestsExhausted, CompletionsError, UpstreamTimeout
from completions.race.attempts import EmptyAnswer, is_done
from completions.race.health import Health
from completions.race.question import Question
from completions.race.race import Race
from completions.race.requests import Requests
from completions.race.timeouts import Timeouts
from completions.race.waits import Waits
from completions.settings import Candidate
from completions.tools.held_calls import Judgement
from completions.upstream.exchange import Exchange

WAIT_LIMIT_S = 3.0
"""How long a question waits for a model that asks for patience."""
EMBEDDING_LIMIT_S = 10.0
"""How long an answer without a model's words may take."""


class ModelQuestions:
    """One turn's questions. Each is the turn's `question` with another request."""

    def __init__(
        self,
        question: Question,
        health: Health,
        timeouts: Timeouts,
        waits: Waits,
        candidates: Callable[[], list[Candidate]],
    ) -> None:
        request = question.request
        body = question.dialect.as_chat(request.body) or request.body
        self._question = replace(question, dialect=chat, request=replace(request, body=body))
        self._health = health
        self._timeouts = timeouts
        self._waits = waits
        self._candidates = candidates
        self._asked_last: set[Candidate] = set()
        self.failures: list[CompletionsError] = []
        """Why questions failed, in order."""
        self.exhausted: list[CompletionsError] = []
        """Those that nobody was left to answer: running the agent again would not help."""

    @property
    def callers_request(self) -> ParsedRequest:
        """The turn's request in Chat Completions' terms, whichever API the caller used."""
        return self._question.request

    def new_requests(self) -> Requests:
        """Return the requests of a further question."""
        return self._question.requests.of_one_question()

    def note_agent_began(self) -> None:
        """Note that the agent begins to work, for the first time or again."""
        self._question.requests.note_agent_began(asyncio.get_running_loop().time())

    def as_callers(self, request: ParsedRequest) -> ParsedRequest:
        """Return the agent's request with the caller's fields about the call."""
        caller = self.callers_request
        user = caller.body.get("user_id")
        body = request.body if user is None else {"user_id": user, **request.body}
        return replace(request, body=body, extra=caller.extra)

    async def embed(self, path: str, body: dict[str, Any]) -> bytes:
        """Return the first candidate's embeddings.

        It counts among the turn's requests. There is no fallback: vectors of two models do not
        compare.

        Raises:
            CompletionsError: it does not answer, or not in time.
        """
        candidate = self._question.candidates[0]
        exchange = self.new_requests().reserve(candidate, 0, hedge=False)
        if exchange is None:
            raise AgentRequestsExhausted(self._question.requests.limit)
        answer = b""
        try:
            async with asyncio.timeout(EMBEDDING_LIMIT_S):
                events = self._question.upstream.events(candidate, path, body, exchange)
                async with aclosing(events) as batches:
                    async for batch in batches:
                        answer += b"".join(event.data for event in batch)
        except TimeoutError as error:
            late = UpstreamTimeout("The upstream did not answer in time.")
            self._embedding_failed(exchange, late)
            raise late from error
        except CompletionsError as error:
            self._embedding_failed(exchange, error)
            raise
        exchange.usage, exchange.model = _usage_and_model(answer)
        exchange.speaks()
        exchange.finishes()
        return answer

    def _embedding_failed(self, exchange: Exchange, error: CompletionsError) -> None:
        exchange.ends(error, whole=False, by_itself=False)
        self.failures.append(error)

    async def answer(
        self, dialect: Dialect, request: ParsedRequest, requests: Requests | None = None
    ) -> AsyncGenerator[list[Chunk], None]:
        """Yield the answer of the first model to answer, in batches as they arrive.

        A call written as text that cannot be trusted is asked for again, and that answer follows.
        The next question, in this run or another, asks last whoever has failed. `requests` are
        those that the same question has already made.

        Raises:
            EmptyAnswer: an answer ended properly, without a word or a call.
            CompletionsError: nobody answered, or the answer broke off.
        """
        race: Race | None = None
        self._question.requests.note_agent_asked(asyncio.get_running_loop().time())
        requests = requests or self.new_requests()
        question = replace(self._question, dialect=dialect, request=request, requests=requests)
        try:
            if not requests.left:
                raise AgentRequestsExhausted(self._question.requests.limit)
            while True:
                race = self._race(question, source=race.next_source if race else 0)
                words: list[str] = []
                unreadable = Judgement()
                end: list[Chunk] = []
                async with aclosing(race.answer()) as answer:
                    async for batch in answer:
                        for chunk in batch:
                            for delta in chunk.deltas:
                                if isinstance(delta, Text):
                                    words.append(delta.text)
                                elif isinstance(delta, CallPart) and delta.problem:
                                    unreadable.problems.append(delta.problem)
                        if unreadable.problems and is_done(batch[-1:]):
                            # Decided below: another question may take the last request meanwhile.
                            batch, end = batch[:-1], batch[-1:]  # noqa: PLW2901
                        yield batch
                if not (unreadable.problems and requests.left):
                    if end:
                        yield end
                    return
                question = question.with_feedback("".join(words), unreadable.feedback)
        except EmptyAnswer as empty:
            if not question.feedback:
                raise
            yield empty.held  # The first answer's chunks have been passed on, but not its end.
        except CompletionsError as error:
            self.failures.append(error)
            if race is None or race.winner is None or not requests.left:
                self.exhausted.append(error)
            if race is not None and race.winner is not None:
                self._asked_last.add(race.winner)
            raise
        finally:
            if race is not None:
                self._asked_last |= race.failed

    def _race(self, question: Question, *, source: int) -> Race:
        return Race(
            question,
            sorted(self._candidates(), key=self._asked_last.__contains__),
            self._health,
            self._timeouts,
            started_at=asyncio.get_running_loop().time(),
            first_source=source,
            words_only=question.request.speakable,
            waits=self._waits,
            wait_limit_s=WAIT_LIMIT_S,
        )


def _usage_and_model(answer: bytes) -> tuple[dict[str, Any] | None, str]:
    """Return usage and model from an answer in one piece."""
    try:
        body = from_json(answer)
    except ValueError:
        return None, ""
    body = body if isinstance(body, dict) else {}
    usage, model = body.get("usage"), body.get("model")
    return usage if isinstance(usage, dict) else None, model if isinstance(model, str) else ""
