"""One run of an agent: what it asks, the tasks it starts, and the platform's calls in its answers.

A turn runs its agent once, or twice if the first run came to nothing. Knows no
framework and no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from completions.agent_api.agent_tasks import OWNER, OwnedTasks
from completions.agent_api.events import Call, Event
from completions.agent_api.model_questions import ModelQuestions
from completions.dialects.deltas import Chunk
from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.errors import CompletionsError, InvalidRequest, NoTurn
from completions.race.requests import Requests


class AgentExited(Exception):
    """The agent called `sys.exit`, which asyncio would let end the process in mid-turn."""


END: Any = object()
"""What `Run.next_event` returns at the end."""
RUN: ContextVar[Run | None] = ContextVar("completions_run", default=None)
"""The run of the current context; a client finds its turn by it."""


class Run:
    """One run. Create it in the task that iterates the agent, and `close` it there.

    The agent works until it ends by itself or `stop_agent` stops it. The run takes questions until
    it is over: from `close` on, or from `cancel` if nobody waits for the agent any more.
    """

    def __init__(self, questions: ModelQuestions) -> None:
        self.questions = questions
        self.calls: list[Call] = []
        """The platform's calls to deliver."""
        self.handed_over = False
        """True once an answer had only calls for the platform: the caller is next."""
        self._tasks = OwnedTasks()
        self._answers: set[AsyncGenerator[list[Chunk], None]] = set()
        self._over = asyncio.Event()
        self._agent_stopped = asyncio.Event()
        self._waiting: asyncio.Task[Any] | None = None
        self._we_cancelled = False
        self._stopping: set[asyncio.Task[Any] | None] = set()
        self._loop = asyncio.get_running_loop()
        RUN.set(self)
        OWNER.set(self._tasks)

    async def next_event(self, events: AsyncGenerator[Event, None]) -> object:
        """Return the agent's next event; `END` once it has ended or was stopped."""
        if self._agent_stopped.is_set():
            return END
        self._waiting = task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an agent is iterated in a task
        try:
            event = await anext(events, END)
        except asyncio.CancelledError:
            if not self._uncancel(task):
                raise
            return END
        except SystemExit as error:
            exited = AgentExited(f"sys.exit({error.code!r})")
            raise exited.with_traceback(error.__traceback__) from None
        finally:
            self._waiting = None
        self._uncancel(task)
        return END if self._agent_stopped.is_set() else event

    async def stop_agent(self) -> None:
        """Stop the agent where it waits; this never returns to its caller.

        Raises:
            NoTurn: the run is over, or the calling task has caught its cancellation.
        """
        self._agent_stopped.set()
        task = asyncio.current_task()
        if task in self._stopping:
            raise NoTurn  # It asks again: nobody would end its wait.
        self._stopping.add(task)
        if self._waiting is not None and not self._we_cancelled:
            self._we_cancelled = True
            self._waiting.cancel()
        await self._over.wait()
        raise NoTurn

    def _uncancel(self, task: asyncio.Task[Any]) -> bool:
        """Take back our own cancellation; return True if nobody else has cancelled the agent."""
        if not self._we_cancelled:
            return False
        self._we_cancelled = False
        return task.uncancel() == 0

    def check(self) -> None:
        """Return if a question may be asked here and now.

        Raises:
            NoTurn: the run is over.
            InvalidRequest: another event loop runs here; the turn's connections belong to its own.
        """
        if self._over.is_set():
            raise NoTurn
        if asyncio.get_running_loop() is not self._loop:
            raise InvalidRequest(
                "An agent asks models in the event loop of its turn: make the tool async, or call "
                "asyncio.run_coroutine_threadsafe in its thread."
            )

    async def answer(
        self, dialect: Dialect, request: ParsedRequest, requests: Requests | None = None
    ) -> AsyncGenerator[list[Chunk], None]:
        """Ask the models; see `ModelQuestions.answer`.

        Raises:
            CompletionsError: nobody answered, or the run takes no questions.
        """
        answer = self.questions.answer(dialect, request, requests)
        self._answers.add(answer)
        try:
            self.check()
            while True:
                # Tasks that we start are ours: connections and keys outlive this run.
                token = OWNER.set(None)
                try:
                    batch = await anext(answer, None)
                finally:
                    OWNER.reset(token)
                if batch is None:
                    return
                yield batch
        except CompletionsError:
            await let_others_run()
            raise
        finally:
            self._answers.discard(answer)
            await answer.aclose()

    async def embed(self, path: str, body: dict[str, Any]) -> bytes:
        """Return the first model's embeddings; see `ModelQuestions.embed`.

        Raises:
            CompletionsError: it does not answer, or the run takes no questions.
        """
        self.check()
        token = OWNER.set(None)
        try:
            return await self.questions.embed(path, body)
        finally:
            OWNER.reset(token)

    def take_calls(self) -> list[Call]:
        """Return the platform's calls that were not taken yet."""
        calls, self.calls = self.calls, []
        return calls

    def cancel(self) -> None:
        """Cancel the agent's tasks and questions, since the agent itself is being cancelled.

        It may wait for a task before it ends, or not end at all.
        """
        self._over.set()
        self._tasks.cancel()

    async def close(self) -> None:
        """End every task that the agent started, and every answer that it did not read."""
        self._over.set()
        OWNER.set(None)
        RUN.set(None)
        await self._tasks.end()
        for answer in list(self._answers):
            with suppress(RuntimeError):  # A task that will not be stopped still reads it.
                await answer.aclose()


async def let_others_run() -> None:
    """Let the event loop go round, before an agent is told what went wrong.

    One that asks again at once, whatever it is told, would keep the loop for itself: no timer would
    end it, and no other turn would go on.
    """
    await asyncio.sleep(0)
