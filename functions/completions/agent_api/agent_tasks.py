"""End the tasks that an agent starts: none outlives its run.

Frameworks start tasks and do not always end them: a request or a tool would continue after the
caller has hung up. A task belongs to the run in whose context it was started (PEP 567). Start one
that should outlive the run in a separate context: `contextvars.Context()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

from completions.observability import log

OWNER: ContextVar[OwnedTasks | None] = ContextVar("completions_owned_tasks", default=None)
"""The owner of a task that is started now; None outside an agent's code."""
END_S = 0.5
"""How long cancelled tasks may take to clean up."""


class OwnedTasks:
    """The tasks of one run. Create it inside the event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over = False
        loop = asyncio.get_running_loop()
        factory = loop.get_task_factory()
        if not isinstance(factory, _TaskFactory):
            loop.set_task_factory(_TaskFactory(factory))  # type: ignore[arg-type] # any keywords

    def add(self, task: asyncio.Task[Any]) -> None:
        """Take over a task that was just started."""
        if self._over:
            task.cancel()
        elif not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancel what runs now; tasks started to clean up may run until the `end`."""
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    async def end(self) -> None:
        """Cancel what still runs, and return once it has cleaned up or had time to."""
        self._over = True
        self.cancel()
        if running := self._tasks - {asyncio.current_task()}:
            _, stubborn = await asyncio.wait(running, timeout=END_S)
            if stubborn:
                log.warning("agent.tasks_left", tasks=len(stubborn))


class _TaskFactory:
    """Makes the loop's tasks as before, and tells their owner."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> Any:
        make = self._inner
        if make is None:
            task = asyncio.Task(coroutine, loop=loop, **options)
        else:
            task = make(loop, coroutine, **options)
        context = options.get("context")
        owner = OWNER.get() if context is None else context.get(OWNER)
        if owner is not None:
            owner.add(task)
        return task
