"""One invocation's ASGI conversation: the application on one side, its answer on the other.

Knows the ASGI HTTP protocol (spec_version 2.4). Does not know Mangum, which makes the scope, nor
how the answer's bytes leave.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from lambda_streaming import failures
from lambda_streaming.failures import Failure
from lambda_streaming.prelude import length, mark_empty, may_be_empty, prelude

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Response(Protocol):
    """One answer: `start`, any number of `write`, `end`, then `settle`; at last `abandon`."""

    started: bool

    @property
    def lost(self) -> bool:
        """Whether its reader left before its end."""

    def when_lost(self, call: Callable[[], object], /) -> None:
        """Register `call` to be made when it is lost."""

    async def start(self, prelude: dict[str, Any], /) -> None:
        """Send what `prelude` made; raises OSError if nobody reads it."""

    async def write(self, data: bytes, /) -> None:
        """Send a piece of the body; raises OSError if nobody reads it."""

    def end(self, failure: Failure | None = None, /) -> None:
        """End it, with or without a failure; never raises."""

    async def settle(self) -> None:
        """Return when it has arrived; raises RuntimeApiError if the environment is broken."""

    def abandon(self) -> None:
        """Release everything that it holds."""


# The layer's share of an invocation's time: the application is cancelled when it begins.
RESERVE_S = 0.5
# The part of it that is left for the next poll to reach the platform before the deadline.
_SPARE_S = 0.1
# How long to hold a prelude where an empty body is likely, so that it can state the length.
_HOLD_S = 0.005


async def converse(
    application: Application,
    scope: Scope,
    body: bytes,
    response: Response,
    *,
    request_id: str,
    remaining_s: float,
) -> None:
    """Let `application` answer, and end its answer properly whatever it does.

    Returns when the application has ended and the platform has read the answer, at the latest
    shortly before `remaining_s` is over. An application that ignores its cancellation is then left
    behind, cut off from the answer.

    Raises:
        RuntimeApiError: The platform says that the environment is broken.
    """
    now = asyncio.get_running_loop().time
    deadline = now() + remaining_s
    conversation = _Conversation(body, response, head_only=scope.get("method") == "HEAD")
    task = asyncio.create_task(_run(application, scope, conversation))
    try:
        await asyncio.wait({task}, timeout=max(0.0, remaining_s - RESERVE_S))
        if task.done():
            error = task.result()
        else:
            error = failures.DeadlineError(f"cancelled {RESERVE_S} s before the deadline")
            task.cancel()
        async with asyncio.timeout_at(max(deadline, now() + RESERVE_S) - _SPARE_S):
            await conversation.conclude(error, request_id)
            await response.settle()
            await asyncio.wait({task})
        if isinstance(error, failures.DeadlineError):
            log.error("The application was cancelled here.", exc_info=task.result())
    except TimeoutError:
        culprit = "The platform has not read" if task.done() else "The application has not ended"
        log.warning("%s the response before the deadline. It is left behind.", culprit)
    finally:
        task.cancel()
        response.abandon()


def refusal(status: int, message: str, request_id: str) -> Application:
    """Return an application that answers every request with an error of the layer's own."""

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        body = json.dumps({"message": message, "requestId": request_id}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


async def _run(
    application: Application, scope: Scope, conversation: "_Conversation"
) -> BaseException | None:
    try:
        await application(scope, conversation.receive, conversation.send)
    except BaseException as error:  # SystemExit, too, which would stop the loop, not the request
        return error
    return None


class _Conversation:
    """What the application may receive and send. `Response` knows how far the answer is."""

    def __init__(self, body: bytes, response: Response, *, head_only: bool) -> None:
        self._request: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._response = response
        self._bodiless = head_only
        self._begun = False
        self._complete = False
        self._closed = False
        self._bytes_due: int | None = None
        self._held: dict[str, Any] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        response.when_lost(self._over.set)

    async def receive(self) -> Message:
        """Return the request, then a disconnect once the answer is complete or nobody reads it."""
        if self._request is not None:
            request, self._request = self._request, None
            return request
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take the next piece of the answer; OSError means that nobody reads it any more."""
        if self._response.lost or self._closed:
            raise BrokenPipeError("the response was closed before it was complete")
        await self._send(message)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._complete:
            raise RuntimeError(f"{kind!r} was sent after the response was complete")
        expected = "http.response.body" if self._begun else "http.response.start"
        if kind != expected:
            raise RuntimeError(f"{kind!r} was sent where {expected!r} was expected")
        if kind == "http.response.start":
            await self._start(int(message["status"]), message.get("headers", ()))
        else:
            await self._body(message.get("body", b""), last=not message.get("more_body", False))

    async def _start(self, status: int, headers: Any) -> None:
        self._begun = True
        self._bodiless = self._bodiless or status in (204, 304)
        metadata = prelude(status, headers, bodiless=self._bodiless)
        self._bytes_due = None if self._bodiless else length(metadata)
        if not may_be_empty(metadata):
            await self._response.start(metadata)
            return
        self._held = metadata
        asyncio.get_running_loop().call_later(_HOLD_S, self._start_held)

    def _start_held(self, *, empty: bool = False) -> None:
        """Start the response whose prelude is held, if one still is."""
        if self._held is None:
            return
        metadata, self._held = self._held, None
        if empty:
            mark_empty(metadata)
        self._starting = asyncio.create_task(self._response.start(metadata))
        self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _body(self, data: bytes, *, last: bool) -> None:
        if self._bodiless:
            data = b""
        elif self._bytes_due is not None:
            self._bytes_due -= len(data)
            if self._bytes_due < 0:
                raise RuntimeError("the body is longer than its content-length")
            if last and self._bytes_due:
                raise RuntimeError("the body is shorter than its content-length")
        if data or last:
            self._start_held(empty=not data)
        if self._starting:
            await asyncio.shield(self._starting)
        if data:
            await self._response.write(data)
        if last:
            self._complete = True
            self._response.end()
            self._over.set()

    async def conclude(self, error: BaseException | None, request_id: str) -> None:
        """Close what the application left open, and log why it did."""
        response = self._response
        self._closed = True
        self._over.set()
        self._held = None  # nothing of it was sent, so a failure can still have its own status
        if self._starting:
            await asyncio.wait({self._starting})
        if response.lost:
            log.warning("The platform stopped reading the response.", exc_info=error)
            return
        if error is None and not self._complete:
            error = failures.IncompleteResponseError("the application returned too early")
        if error is None:
            return
        if self._complete:
            log.error("The application failed after its response.", exc_info=error)
        elif response.started:
            log.error("The application failed within its response.", exc_info=error)
            response.end(failures.of_stream(error, request_id))
        else:
            log.error("The application failed before its response.", exc_info=error)
            overdue = isinstance(error, failures.DeadlineError)
            status, message = (
                (504, "Gateway Timeout") if overdue else (500, "Internal Server Error")
            )
            self._begun = False
            answer = refusal(status, message, request_id)
            try:
                await answer({}, self.receive, self._send)
            except OSError as lost:
                log.warning("The error could not be sent: %s", lost)
