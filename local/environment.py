"""An execution environment: one function process that lives and dies as on Lambda.

It serves one invocation at a time. The function timeout is enforced by SIGKILL, and a dead process
is noticed. `layout` knows how a process is laid out on disk, and `payload` what events and answers
mean; `function` has all environments of one function.

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
from collections.abc import Iterable
from typing import Any

from local.layout import Launch
from local.runtime_api import Failure, Invocation, RuntimeApi
from local.wire import Server

# Lambda gives init 10 s, and up to the function timeout when it has to start over.
INIT_LIMIT_S = 10


class InitError(Exception):
    """A process failed before it asked for an event."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(_reason(failure))
        self.failure = failure


def _reason(failure: Failure) -> str:
    """Return the reason in one line; the runtime's JSON also has a trace, for the log."""
    try:
        reported = json.loads(failure.message)
        return f"{reported['errorType']}: {reported['errorMessage']}"
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

    def begin(self, event: bytes) -> Invocation:
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
                await self.wait_until_idle()
        except TimeoutError:
            message = f"Task timed out after {self._launch.timeout_s:.2f} seconds"
            self.say(f"{invocation.request_id} {message}")
            await invocation.fail(Failure("Sandbox.Timedout", message))
            await self.kill()
        else:
            if invocation is self._invocation:
                self._stop()

    async def wait_until_idle(self) -> None:
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
            await self.wait_until_idle()
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
