"""A function: as many execution environments as its invocations need, up to a limit.

Idle ones are reused, and another one is started when all are busy.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from local.environment import Environment, InitError
from local.layout import Launch
from local.runtime_api import Invocation

# A process that has answered asks for the next event within a moment: wait for it rather than
# start another one for a quick caller.
FINISHING_GRACE_S = 0.5


class Throttled(Exception):
    """All processes are busy, and no more are allowed."""


class Function:
    """All environments of the function: a place for each invocation, or none."""

    def __init__(self, launch: Launch, limit: int, *, freeze: bool = False) -> None:
        self._launch = launch
        self._limit = limit
        self._freeze = freeze
        self.environments: list[Environment] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        # Includes those that are dying now, from a timeout or by themselves.
        await asyncio.gather(*(each.kill() for each in self.environments))

    async def warm(self) -> None:
        """Have one environment ready before the first event. Raises `InitError`."""
        (await self._start()).release()

    async def publish(self) -> None:
        """Have one environment in its snapshot before the first event. Raises `InitError`."""
        (await self._new_environment()).release()

    async def renew(self) -> None:
        """Replace all environments: their code has changed.

        Raises `InitError`, everything as it was, when a new one does not start.
        """
        old = self._living()
        environment = await self._new_environment()
        if environment.asleep:
            with _logging_init_error(environment):
                await environment.restore()
        for each in old:
            each.retired = True
        environment.release()
        await asyncio.gather(*(each.retire() for each in old))

    async def invoke(self, event: bytes) -> Invocation:
        """Begin an invocation with this event. Raises `Throttled` and `InitError`."""
        environment = await self._free_environment()
        return environment.begin(event)

    async def _free_environment(self) -> Environment:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + FINISHING_GRACE_S
        # Look again after each wait: another event may have taken the same one.
        while (left_s := ends_at - loop.time()) > 0 and not self._idle():
            finishing = [
                asyncio.ensure_future(each.wait_until_idle())
                for each in self._living()
                if each.finishing
            ]
            if not finishing:
                break
            await asyncio.wait(finishing, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for task in finishing:
                task.cancel()
        return self._idle() or await self._start()

    async def _start(self) -> Environment:
        """Return a ready environment, restored from its snapshot if there is one."""
        asleep = [each for each in self._living() if each.asleep and not each.retired]
        environment = asleep[0] if asleep else await self._new_environment()
        if environment.asleep:
            with _logging_init_error(environment):
                await environment.restore()
        return environment

    def _idle(self) -> Environment | None:
        # The one used last, as on Lambda: it is the warmest.
        return next((each for each in reversed(self._living()) if each.idle), None)

    def _living(self) -> list[Environment]:
        self.environments = [each for each in self.environments if not each.over]
        return [each for each in self.environments if not each.dead]

    async def _new_environment(self) -> Environment:
        """Return a new process: ready, or in its snapshot."""
        if len(self._living()) >= self._limit:
            raise Throttled
        environment = Environment(self._launch, freeze=self._freeze)
        self.environments.append(environment)
        with _logging_init_error(environment):
            await environment.start()
        return environment


@contextlib.contextmanager
def _logging_init_error(environment: Environment) -> Iterator[None]:
    try:
        yield
    except InitError as error:
        environment.say(f"INIT_REPORT {error}")
        raise
