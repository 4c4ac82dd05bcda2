"""The ASGI lifespan of the application: once per environment, not once per request.

Modes are Mangum's: "off" does nothing, "auto" tolerates an application that does not know the
protocol, "on" requires it. In both, a startup that the application reports as failed has failed.
"""

import asyncio
import logging
from typing import Any

from lambda_streaming.asgi import Application, Message
from lambda_streaming.failures import PlatformError

log = logging.getLogger(__name__)

_FAILED = "Function.LifespanError"


class Lifespan:
    """Runs `application` with a lifespan scope, in a task that lives as long as the process."""

    def __init__(self, application: Application, mode: str) -> None:
        self.state: dict[str, Any] | None = None if mode == "off" else {}
        self._application = application
        self._is_required = mode == "on"
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._reply: asyncio.Future[Message] | None = None
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Return when the application is ready; raises PlatformError if its startup fails."""
        if self.state is None:
            return
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        self._task = asyncio.ensure_future(self._application(scope, self._inbox.get, self._send))
        try:
            reply = await self._ask("lifespan.startup")
        except Exception as error:
            if self._is_required:
                raise PlatformError(
                    _FAILED, f"the application has no lifespan: {error!r}"
                ) from error
            log.info("The application does not support the lifespan protocol: %r", error)
            return
        if reply["type"] != "lifespan.startup.complete":
            raise PlatformError(_FAILED, f"{reply['type']}: {reply.get('message', '')}")

    async def shutdown(self) -> None:
        """Tell the application that the environment ends, and wait until it has cleaned up."""
        if self._task is None or self._task.done():
            return
        try:
            await self._ask("lifespan.shutdown")
        except Exception:
            log.exception("The application failed in its shutdown.")

    async def _ask(self, kind: str) -> Message:
        """Send `kind` and return the reply; raises what the application raises instead."""
        if self._task is None:
            raise RuntimeError("the lifespan has not begun")
        self._reply = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait({"type": kind})
        ends: set[asyncio.Future[Any]] = {self._task, self._reply}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not self._reply.done():
            self._task.result()
            raise RuntimeError(f"the application returned without a reply to {kind!r}")
        return self._reply.result()

    async def _send(self, message: Message) -> None:
        if not message["type"].startswith("lifespan."):
            raise RuntimeError(f"{message['type']!r} was sent in a lifespan scope")
        if self._reply and not self._reply.done():
            self._reply.set_result(message)
