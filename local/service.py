"""A service beside the function: a child process that says where it listens and ends when we do.

The contract between both sides: the child prints its address as the first line of its stdout,
and ends when its stdin is closed. The operating system closes that pipe whenever the parent dies,
so no child outlives it, not even after SIGKILL. Does not know what the children serve.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Mapping
from typing import IO


class ServiceError(Exception):
    """A service did not start."""


def announce(address: str) -> None:
    """Tell the parent where this process listens, and from now on end when it does."""
    print(address, flush=True)
    # Nobody reads the pipe from now on, and a full one would block us: the rest goes to the log.
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # The raw descriptor: a daemon thread must not hold the lock of sys.stdin at shutdown.
    while os.read(0, 1024):
        pass
    os._exit(0)


class Service:
    """One running child."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, address: str) -> None:
        self.name = name
        self.address = address
        self._process = process

    @classmethod
    async def start(
        cls,
        name: str,
        *argv: str,
        log: IO[str],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> "Service":
        """Start this Python with `argv` and wait for its address.

        The child's stderr goes to `log`. Raises `ServiceError` if the child ends without an
        address. If cancelled, leaves no process behind.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=None if env is None else dict(env),
            cwd=cwd,
            # Ctrl-C in a terminal goes to the whole group, but the parent alone decides the order.
            start_new_session=True,
        )
        service = cls(name, process, "")
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            service.address = (await process.stdout.readline()).decode().strip()
        finally:
            if not service.address:
                await service.stop()
        if not service.address:
            raise ServiceError(f"{name} did not start (exit status {process.returncode})")
        return service

    async def ended(self) -> str:
        """Wait until the child ends by itself; return a line that says so."""
        status = await self._process.wait()
        return f"{self.name} has ended, exit status {status}"

    async def stop(self) -> None:
        """End the child now."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
