"""The attempts of one race: requests in flight, all read through one queue.

Starts and stops them, and hands the winner's answer to its reader. `race` decides whom to ask and
who has won.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from completions.dialects.deltas import Chunk, Done, Text
from completions.errors import CompletionsError, UpstreamUnavailable
from completions.observability import log, place
from completions.race.chunk_batches import speaks
from completions.settings import Candidate

DRAIN_S = 0.1
"""How long to read on after the terminator: a connection read to its end can be reused."""
CANCEL_S = 0.5
"""How long a cancelled attempt may take to close what it opened."""
QUEUE_BATCHES = 64


class Askable(Protocol):
    """What a race needs of a question: `Question` for models, `AgentQuestion` for agents."""

    @property
    def can_ask(self) -> bool:
        """True if another attempt may be made."""
        ...

    @property
    def requests_left(self) -> int:
        """How many attempts may still be made, each with one request."""
        ...

    @property
    def can_change_task(self) -> bool:
        """True if one task may read on what another has begun to read."""
        ...

    def ask(
        self, candidate: Candidate, source: int, /, *, hedge: bool = False
    ) -> AsyncGenerator[list[Chunk], None]:
        """Yield the candidate's answer in batches. Raises CompletionsError."""
        ...

    def with_feedback(self, answer: str, feedback: str) -> Askable:
        """Return the question continued: the model said `answer`, and is told what was wrong."""
        ...

    def given_up(self) -> None:
        """Note that nobody waits for an answer any more: its task is being cancelled."""
        ...

    def after_silence(self) -> Askable:
        """Return the question to ask again after an answer without a word."""
        ...


@dataclass(slots=True, eq=False)
class Attempt:
    """One request to one candidate, and the state of its answer."""

    source: int
    """Its number in the turn, which its chunks carry."""
    candidate: Candidate
    started_at: float
    """Loop time, like the other moments here."""
    timeout_base: float
    """From when the candidate's time-outs count."""
    hedge: bool = False
    held: list[Chunk] = field(default_factory=list)
    """What it has said so far; of the winner, the last batch that was handed on."""
    reasoning: bool = False
    late: bool = False
    over: bool = False
    finish: str = ""
    finished_at: float | None = None
    empty: bool = False
    closed: bool = False
    task: asyncio.Task[None] | None = None
    offered_to_reader: bool = False
    """It has won and may change tasks: its task ends soon, and the winner's reader reads on."""
    rest: AsyncGenerator[list[Chunk], None] | None = None
    """The rest of the answer, behind its last event in the queue, once it was handed over."""

    @property
    def has_text(self) -> bool:
        """True once any text has come that is not blank, though it may have no word."""
        return any(
            isinstance(delta, Text) and delta.text.strip()
            for chunk in self.held
            for delta in chunk.deltas
        )


Event = tuple[Attempt | None, list[Chunk] | None, CompletionsError | None]
"""An attempt and its next batch; without a batch, its end and the error if there was one."""
STALLED: Event = (None, None, None)
"""Nothing has come for too long."""


class EmptyAnswer(Exception):
    """An answer ended properly, without a word or a tool call.

    `reason` is the model's finish reason; `held` are the chunks that it did send.
    """

    def __init__(self, candidate: Candidate, reason: str, held: list[Chunk]) -> None:
        super().__init__(reason)
        self.candidate = candidate
        self.reason = reason
        self.held = held


class Attempts:
    """All attempts of a race, in the order in which they started."""

    def __init__(self, question: Askable, first_source: int) -> None:
        self._question = question
        self._loop = asyncio.get_running_loop()
        self.all: list[Attempt] = []
        self.next_source = first_source
        self.events: asyncio.Queue[Event] = asyncio.Queue(QUEUE_BATCHES)

    def start(
        self, candidate: Candidate, timeout_base: float | None = None, *, hedge: bool = False
    ) -> None:
        """Ask a candidate; its time-outs count from `timeout_base`, by default from now.

        `hedge` says that it runs beside a slow one, not in place of one that has ended.
        """
        now = self._loop.time()
        base = now if timeout_base is None else timeout_base
        attempt = Attempt(self.next_source, candidate, now, base, hedge)
        self.next_source += 1
        self.all.append(attempt)
        attempt.task = asyncio.create_task(self._run(attempt))

    def only_late(self, candidate: Candidate) -> bool:
        """Return True if nobody is waited for but this candidate, late without a sign of life."""
        running = [one for one in self.all if not one.over]
        return bool(running) and all(
            one.late and not one.reasoning and one.candidate == candidate for one in running
        )

    def offer_to_reader(self, attempt: Attempt) -> None:
        """Let the winner's reader read on without a task and a queue, unless the task must stay.

        They cost one of three passes through the event loop for a chunk that comes alone.
        """
        attempt.offered_to_reader = self._question.can_change_task

    async def next_event(self, until: float | None) -> Event | None:
        """Return the next event; None if there is none before `until` (loop time)."""
        if not self.events.empty() or until is None:
            return await self.events.get()
        try:
            async with asyncio.timeout_at(until):
                return await self.events.get()
        except TimeoutError:
            # An answer that is already here beats a timer of the same moment.
            for _ in range(3):
                await asyncio.sleep(0)
            return None if self.events.empty() else self.events.get_nowait()

    async def cancel(self, attempts: Iterable[Attempt]) -> None:
        """Stop these attempts; return once their connections are closed."""
        tasks = []
        for attempt in attempts:
            attempt.over = True
            if attempt.task and not attempt.task.done():
                attempt.task.cancel()
                tasks.append(attempt.task)
        if tasks:
            self._question.given_up()
            _, stubborn = await asyncio.wait(tasks, timeout=CANCEL_S)
            if stubborn:
                # An agent that will not be stopped must not hold its caller.
                log.warning("candidate.stubborn", attempts=len(stubborn))

    async def close(self) -> None:
        """Stop everything; an answer that has come to its terminator is read to its end first."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    for attempt in self.all:
                        if is_done(attempt.held):
                            await _drained(attempt)
        finally:
            # Also if the caller hangs up meanwhile.
            await self.cancel(self.all)
            for attempt in self.all:
                if attempt.rest is not None:
                    await attempt.rest.aclose()

    async def _run(self, attempt: Attempt) -> None:
        error: CompletionsError | None = None
        try:
            answer = self._question.ask(attempt.candidate, attempt.source, hedge=attempt.hedge)
            try:
                async for batch in answer:
                    await self.events.put((attempt, batch, None))
                    if self._question.can_change_task and speaks(batch):
                        # The first words leave before anything more is read. Never for an agent:
                        # a cancellation inside it would meet us here in place of its own code.
                        await asyncio.sleep(0)
                    if attempt.offered_to_reader:
                        attempt.rest = answer
                        if self.events.empty():
                            self.events.put_nowait((attempt, [], None))  # Its reader may wait here.
                        return
            finally:
                if attempt.rest is None:
                    await answer.aclose()
        except CompletionsError as failure:
            error = failure
        except (Exception, asyncio.CancelledError, BaseExceptionGroup) as bug:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            # A cancellation inside an agent: it may have cancelled a task and awaited it.
            error = _crashed(attempt, bug)
        await self.events.put((attempt, None, error))


def end_of(attempt: Attempt, error: BaseException) -> Event:
    """Return the end of an answer that was handed over, from what reading it raised."""
    if isinstance(error, StopAsyncIteration):
        return attempt, None, None
    if isinstance(error, CompletionsError):
        return attempt, None, error
    return attempt, None, _crashed(attempt, error)


async def _drained(attempt: Attempt) -> None:
    if attempt.task is not None:
        await asyncio.wait({attempt.task})
    if attempt.rest is not None:
        try:
            async for _ in attempt.rest:
                pass
        except Exception as error:
            end_of(attempt, error)


def _crashed(attempt: Attempt, bug: BaseException) -> CompletionsError:
    """Log a bug in our code or in an agent, and return the error to report for it."""
    log.exception("candidate.crashed", candidate=attempt.candidate.key, place=place(bug))
    return UpstreamUnavailable("The answer could not be made; the reason is in the log.")


def is_done(batch: Iterable[Chunk]) -> bool:
    """Return True if the terminator is among these chunks."""
    for chunk in batch:
        for delta in chunk.deltas:
            if type(delta) is Done:
                return True
    return False
