"""One invocation's ASGI conversation: the application on one side, its answer on the other.

Knows the ASGI HTTP protocol (spec_version 2.4) and the prelude of Lambda's streaming format.
Knows nothing of Mangum, which makes the scope, nor of how the answer's bytes leave.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from lambda_streaming import failures
from lambda_streaming.failures import Failure

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
        """Whether nobody reads it any more, before its end."""

    def when_lost(self, call: Callable[[], object], /) -> None:
        """Have `call` made when it is lost."""

    async def start(self, prelude: dict[str, Any], /) -> None:
        """Say what `prelude` made; raises OSError if nobody hears it."""

    async def write(self, data: bytes, /) -> None:
        """Say a piece of the body; raises OSError if nobody hears it."""

    def end(self, failure: Failure | None = None, /) -> None:
        """End it, well or not; never raises."""

    async def settle(self) -> None:
        """Return when it has arrived; raises RuntimeApiError if the environment is broken."""

    def abandon(self) -> None:
        """Leave nothing of it behind."""


# The layer's share of an invocation's time: when it begins, the application is cancelled.
RESERVE_S = 0.5
# What remains of it for the next poll to reach the platform before the deadline does.
_SPARE_S = 0.1

# RFC 9110, section 7.6.1: they speak of one connection, and to the caller there are several.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


async def converse(
    application: Application,
    scope: Scope,
    body: bytes,
    response: Response,
    *,
    request_id: str,
    remaining_s: float,
) -> None:
    """Have `application` answer, and end its answer well whatever it does.

    Returns when the application has ended and the platform has read the answer, shortly before
    `remaining_s` is over at the latest. An application that ignores its cancellation is then left
    behind, cut off from the answer.

    Raises:
        RuntimeApiError: the platform says that the environment is broken.
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
            log.error("This is where the application was cancelled.", exc_info=task.result())
    except TimeoutError:
        culprit = "The platform has not read" if task.done() else "The application has not ended"
        log.warning("%s the response before the deadline. It is left behind.", culprit)
    finally:
        task.cancel()
        response.abandon()


def refusal(status: int, message: str, request_id: str) -> Application:
    """An application that answers every request with one error of the layer's own."""

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
    except BaseException as error:  # SystemExit as well: it would stop the loop, not the request
        return error
    return None


class _Conversation:
    """What the application may hear and say. `Response` knows how far the answer is."""

    def __init__(self, body: bytes, response: Response, *, head_only: bool) -> None:
        self._request: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._response = response
        self._bodiless = head_only
        self._complete = False
        self._closed = False
        self._over = asyncio.Event()
        response.when_lost(self._over.set)

    async def receive(self) -> Message:
        """The request, once; then, when the answer is complete or nobody reads it, its end."""
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
        expected = "http.response.body" if self._response.started else "http.response.start"
        if kind != expected:
            raise RuntimeError(f"{kind!r} was sent where {expected!r} was expected")
        if kind == "http.response.start":
            status = int(message["status"])
            self._bodiless = self._bodiless or status in (204, 304)
            headers = message.get("headers", ())
            await self._response.start(prelude(status, headers, bodiless=self._bodiless))
            return
        if not self._bodiless:
            await self._response.write(message.get("body", b""))
        if not message.get("more_body", False):
            self._complete = True
            self._response.end()
            self._over.set()

    async def conclude(self, error: BaseException | None, request_id: str) -> None:
        """Close what the application has left open, and log what made it do so."""
        response = self._response
        self._closed = True
        self._over.set()
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
            answer = refusal(status, message, request_id)
            try:
                await answer({}, self.receive, self._send)
            except OSError as lost:
                log.warning("The error could not be sent: %s", lost)


def prelude(
    status: int, headers: Iterable[tuple[bytes, bytes]], *, bodiless: bool
) -> dict[str, Any]:
    """The metadata that goes before a streamed body.

    Names are lower-case, repeated headers are joined (RFC 9110, section 5.3), cookies stand apart.
    NOTE: a bodiless answer without `content-length` has been seen to hang a Function URL, so it
    gets one; a HEAD or 304 answer keeps the length that the application names.
    """
    fields: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "set-cookie":
            cookies.append(value)
        else:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    named = {name.strip().lower() for name in fields.get("connection", "").split(",")}
    fields = {k: v for k, v in fields.items() if k not in _HOP_BY_HOP and k not in named}
    if status == 204:
        fields["content-length"] = "0"
    elif bodiless:
        fields.setdefault("content-length", "0")
    metadata: dict[str, Any] = {"statusCode": status}
    if fields:
        metadata["headers"] = fields
    if cookies:
        metadata["cookies"] = cookies
    return metadata
