"""Execution environments: function processes that live and die as on Lambda.

A process serves one invocation at a time. Idle processes are reused, and another one is started
when all are busy. The function timeout is enforced by SIGKILL, and a dead process is noticed.
`layout` knows how a process is laid out on disk, and `payload` what events and answers mean.

With SnapStart a process stops where its snapshot is taken, and goes on when it is restored.

Unlike Lambda: a snapshot is restored once, init is not retried within the same invocation, an idle
process lives until the end, and it is frozen only on request.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from local.layout import Launch
from local.runtime_api import Failure, Invocation, RuntimeApi
from local.wire import Server

# Lambda gives init 10 s, and up to the function timeout when it has to start over.
INIT_LIMIT_S = 10
# A process that has answered asks for the next event within a moment: wait for it rather than
# start another one for a quick caller.
FINISHING_GRACE_S = 0.5


class Throttled(Exception):
    """All processes are busy, and no more are allowed."""


class InitError(Exception):
    """A process failed before it asked for an event."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(_reason(failure))
        self.failure = failure


def _reason(failure: Failure) -> str:
    """Return the reason in one line; the runtime's JSON also has a trace, for the log."""
    try:
        told = json.loads(failure.message)
        return f"{told['errorType']}: {told['errorMessage']}"
    except (ValueError, LookupError, TypeError):
        return f"{failure.error_type}: {failure.message}"


class Environment:
    """One process and its Runtime API."""

    def __init__(self, launch: Launch, *, freeze: bool = False) -> None:
        self._launch = launch
        self._freeze = freeze
        self._invocation: Invocation | None = None
        self._life: asyncio.Task[None] | None = None
        self._reserved = True  # for the code that started it
        self.asleep = False  # in its snapshot
        self.retired = False  # its code has changed: it gets no more invocations
        self.dead = False

    @property
    def idle(self) -> bool:
        """Whether an invocation would start at once."""
        return not (self.dead or self.retired or self._reserved) and self._api.idle.is_set()

    @property
    def over(self) -> bool:
        """Whether it is dead and its Runtime API closed."""
        return self.dead and (self._life is None or self._life.done())

    @property
    def finishing(self) -> bool:
        """Whether it has answered, but not yet asked for the next event."""
        invocation = self._invocation
        return not self.dead and not self.idle and invocation is not None and invocation.over

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def start(self) -> None:
        """Start the process and wait until it is idle, or in its snapshot. Raises `InitError`."""
        self._api = RuntimeApi(self._launch.function_arn)
        self._server = Server(self._api.handle)
        await self._server.__aenter__()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._launch.argv,
                env={
                    **self._launch.environment,
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.port}",
                },
                cwd=self._launch.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._launch.log,
                stderr=self._launch.log,
                start_new_session=True,  # so that it and all it starts can be killed together
            )
        except OSError as error:
            await self._server.__aexit__(None, None, None)
            self.dead = True
            raise InitError(Failure("Extension.LaunchError", str(error))) from error
        self._life = asyncio.create_task(self._watch_exit())
        await self._ready(self._api.idle, self._api.snapshot)
        self.asleep = self._api.snapshot.is_set()
        self._stop()

    async def restore(self) -> None:
        """Let a process continue from its snapshot until it is idle. Raises `InitError`."""
        self.asleep, self._reserved = False, True
        self._continue()
        self._api.restore()
        await self._ready(self._api.idle)

    async def _ready(self, *states: asyncio.Event) -> None:
        """Wait until one of these states is reached. Raises `InitError` with the process dead."""
        try:
            failure = await self._failure(states)
        except BaseException:
            await self.kill()
            raise
        if failure is not None:
            await self.kill()
            raise InitError(failure)

    async def _failure(self, states: Iterable[asyncio.Event]) -> Failure | None:
        assert self._life is not None  # noqa: S101 - it was started
        limit_s = max(INIT_LIMIT_S, self._launch.timeout_s)
        reached = [asyncio.create_task(state.wait()) for state in states]
        ends: set[asyncio.Future[Any]] = {*reached, self._api.init_failed, self._life}
        done, _ = await asyncio.wait(ends, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in reached:
            task.cancel()
        if self._api.init_failed.done():
            return self._api.init_failed.result()
        if done.intersection(reached):
            return None
        if done:
            status = self._process.returncode
            return Failure("Runtime.ExitError", f"the process ended in init, exit status {status}")
        return Failure("Sandbox.Timedout", f"no event was asked for within {limit_s:.0f} s")

    def _stop(self) -> None:
        """Freeze the process, as Lambda does while it is idle."""
        if self._freeze and not self.dead:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def _continue(self) -> None:
        if self._freeze and not self.dead:
            os.killpg(self._process.pid, signal.SIGCONT)

    async def _watch_exit(self) -> None:
        """Wait for the process's end and fail the invocation that dies with it."""
        status = await self._process.wait()
        self.dead = True
        invocation = self._invocation
        if invocation is not None and not invocation.over:
            self.say(f"{invocation.request_id} the process ended, exit status {status}")
            await invocation.fail(Failure("Runtime.ExitError", f"exit status {status}"))
        await self._server.__aexit__(None, None, None)

    def say(self, message: str) -> None:
        """Write a line of the platform's into the function's log."""
        print(time.strftime("%Y-%m-%dT%H:%M:%S"), message, file=self._launch.log, flush=True)

    def give(self, event: bytes) -> Invocation:
        """Begin an invocation; the environment must be idle, or claimed by the caller."""
        self._reserved = False
        self._invocation = invocation = Invocation(event, self._launch.timeout_s)
        self._continue()
        self._api.give(invocation)
        self._watch = asyncio.create_task(self._enforce_timeout(invocation))
        return invocation

    async def _enforce_timeout(self, invocation: Invocation) -> None:
        """Kill the process unless it is idle again in time; work after the answer counts too."""
        try:
            async with asyncio.timeout(self._launch.timeout_s):
                await self.rest()
        except TimeoutError:
            message = f"Task timed out after {self._launch.timeout_s:.2f} seconds"
            self.say(f"{invocation.request_id} {message}")
            await invocation.fail(Failure("Sandbox.Timedout", message))
            await self.kill()
        else:
            if invocation is self._invocation:
                self._stop()

    async def rest(self) -> None:
        """Wait until the process is idle or dead."""
        assert self._life is not None  # noqa: S101 - it was started
        idle = asyncio.ensure_future(self._api.idle.wait())
        try:
            await asyncio.wait({idle, self._life}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()

    async def retire(self) -> None:
        """End the process as soon as it has nothing to do."""
        if not self.asleep:
            await self.rest()
        await self.kill()

    def release(self) -> None:
        """Release a newly started environment to the first invocation that comes."""
        self._reserved = False

    async def kill(self) -> None:
        """End the process and all that it has started; return when they are gone."""
        self.dead = True
        if self._life is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._life


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
        return environment.give(event)

    async def _free_environment(self) -> Environment:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + FINISHING_GRACE_S
        # Look again after each wait: another event may have taken the same one.
        while (left_s := ends_at - loop.time()) > 0 and not self._idle():
            finishing = [
                asyncio.ensure_future(each.rest()) for each in self._living() if each.finishing
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
