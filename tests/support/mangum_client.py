"""A Mangum handler as an HTTP client's transport, like a buffered Function URL.

Each request becomes an event, is handled in a thread with its own event loop (like the main thread
on Lambda), and the returned dict becomes the response.
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import httpx2
from fastapi import FastAPI
from mangum import Mangum

TIMEOUT_MS = 60_000


class Context:
    """Lambda's context object, as far as it is used."""

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._deadline = time.monotonic() * 1000 + TIMEOUT_MS

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function's timeout."""
        return int(self._deadline - time.monotonic() * 1000)


class MangumTransport(httpx2.AsyncBaseTransport):
    """One environment: one invocation at a time, which keeps its loop and connections."""

    def __init__(self, app: FastAPI, domain: str = "") -> None:
        """Serve `handler`; `domain` is the Function URL's own name in its events."""
        self._app = app
        self._domain = domain
        self._thread = ThreadPoolExecutor(1, initializer=_own_loop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end)
        self._thread.shutdown()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Handle one invocation."""
        event = _event(request, await request.aread())
        if self._domain:
            event["requestContext"]["domainName"] = self._domain
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._invoke, event)
        body = answer["body"]
        content = base64.b64decode(body) if answer["isBase64Encoded"] else body.encode()
        return httpx2.Response(answer["statusCode"], headers=answer["headers"], content=content)

    def _invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        return Mangum(self._app, lifespan="off")(event, Context())  # type: ignore[arg-type]

    def _end(self) -> None:
        loop = asyncio.get_event_loop()

        async def close() -> None:
            # The lifespan only closes, and Mangum leaves it out.
            async with self._app.router.lifespan_context(self._app):
                pass

        loop.run_until_complete(close())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _own_loop() -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())


def _event(request: httpx2.Request, body: bytes) -> dict[str, Any]:
    """Return the event that a Function URL makes of a request (payload format 2.0)."""
    path, query = request.url.path, request.url.query.decode("ascii")
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {**request.headers, "x-forwarded-proto": "https"},
        "requestContext": {
            "http": {"method": request.method, "path": path, "sourceIp": "203.0.113.9"},
            "requestId": str(uuid.uuid4()),
            "timeEpoch": int(time.time() * 1000),
        },
        "body": base64.b64encode(body).decode("ascii"),
        "isBase64Encoded": True,
    }
