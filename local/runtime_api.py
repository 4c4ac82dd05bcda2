"""The Runtime API of one execution environment, and the invocations that pass through it.

Speaks what AWS documents as "Lambda runtime API", plus the streamed responses of custom
runtimes; statuses and error types are those of AWS's open Runtime Interface Emulator. Does not know
what the bytes of an answer mean to a caller, nor how the process is kept alive.
"""

import asyncio
import json
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus

from local.wire import Exchange, PeerGone

PREFIX = "/2018-06-01/runtime/"
# 6 MB and 100 bytes, as in the Runtime Interface Emulator.
PAYLOAD_LIMIT_BYTES = 6 * 1024 * 1024 + 100
# With more than this unread, the function has to wait, as for a slow caller.
BACKLOG_LIMIT_BYTES = 1024 * 1024
ERROR_TYPE, ERROR_BODY = "lambda-runtime-function-error-type", "lambda-runtime-function-error-body"


class Cut(Exception):
    """The answer broke off before its end."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The function did not answer; the type is what AWS would report."""

    error_type: str
    message: str = ""


class Body:
    """The bytes of an answer on their way from the function to one reader."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._unread_bytes = 0
        self._changed = asyncio.Condition()
        self._closed = self._cut = self._discarded = False

    async def put(self, chunk: bytes) -> None:
        """Add a piece; wait while the reader is far behind."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._discarded or self._cut or self._unread_bytes < BACKLOG_LIMIT_BYTES
            )
            if not self._discarded:
                self._chunks.append(chunk)
                self._unread_bytes += len(chunk)
            self._changed.notify_all()

    async def close(self, *, cut: bool = False) -> None:
        """Mark the end, or the break, after the last piece. The first close counts."""
        async with self._changed:
            if not self._closed:
                self._closed, self._cut = True, cut
            self._changed.notify_all()

    async def discard(self) -> None:
        """Stop reading: drop what comes from now on, and let no writer wait for the reader."""
        async with self._changed:
            self._discarded = True
            self._chunks.clear()
            self._changed.notify_all()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces as they arrive. Raises `Cut` after the last one of a broken answer."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._chunks or self._closed)
                if not self._chunks:
                    if self._cut:
                        raise Cut
                    return
                chunk = self._chunks.popleft()
                self._unread_bytes -= len(chunk)
                self._changed.notify_all()
            yield chunk


@dataclass(frozen=True, slots=True)
class Answer:
    """What the function posted: streamed or whole, of this content type."""

    streamed: bool
    content_type: str
    body: Body


class Invocation:
    """One event on its way through a function process."""

    def __init__(self, event: bytes, timeout_s: float) -> None:
        self.request_id = str(uuid.uuid4())
        self.invocation_id = str(uuid.uuid4())
        self.event = event
        self.deadline_ms = int((time.time() + timeout_s) * 1000)
        self.trace_id = f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0"
        self.answer: asyncio.Future[Answer | Failure] = asyncio.get_running_loop().create_future()
        self.over = False  # the function is done, with or without success

    async def fail(self, failure: Failure) -> None:
        """Fail: cut an answer that has begun; keep one that has ended.

        The answer is cancelled if the server was closed while somebody waited for it.
        """
        if not self.answer.done():
            self.answer.set_result(failure)
        elif not self.answer.cancelled() and isinstance(answer := self.answer.result(), Answer):
            await answer.body.close(cut=True)
        self.over = True


class RuntimeApi:
    """The API's state for one process: at most one invocation at a time."""

    def __init__(self, function_arn: str) -> None:
        self._function_arn = function_arn
        self._waiting: asyncio.Queue[Invocation] = asyncio.Queue(1)
        self._current: Invocation | None = None
        self.idle = asyncio.Event()  # the process waits for an event
        self.snapshot = asyncio.Event()  # it may be taken now: the process waits to be restored
        self._restored = asyncio.Event()
        self.init_failed: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()
        self._initialised = False

    def give(self, invocation: Invocation) -> None:
        """Hand an invocation to the process, which must be idle."""
        self.idle.clear()
        self._current = invocation
        self._waiting.put_nowait(invocation)

    def restore(self) -> None:
        """Tell the process that it has been restored from its snapshot."""
        self._restored.set()

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request of the process."""
        parts = exchange.target.removeprefix(PREFIX).split("/")
        match exchange.method, *parts:
            case "GET", "invocation", "next":
                await self._next(exchange)
            case "POST", "invocation", request_id, "response":
                await self._respond(exchange, request_id)
            case "POST", "invocation", request_id, "error":
                await self._error(exchange, request_id)
            case "POST", "init", "error":
                await self._init_error(exchange)
            case "GET", "restore", "next":
                await self._restore(exchange)
            case "POST", "restore", "error" if self._restored.is_set():
                await self._init_error(exchange)
            case _:
                await exchange.answer(404, b"404 page not found\n", "text/plain")

    async def _next(self, exchange: Exchange) -> None:
        await exchange.body(0)
        if self._current is not None and not self._current.over:
            await _refuse(exchange, 403, "InvalidStateTransition")
            return
        self._initialised, self._current = True, None
        self.idle.set()
        invocation = await self._waiting.get()
        await exchange.answer(
            200,
            invocation.event,
            "application/json",
            lambda_runtime_aws_request_id=invocation.request_id,
            lambda_runtime_invocation_id=invocation.invocation_id,
            lambda_runtime_deadline_ms=str(invocation.deadline_ms),
            lambda_runtime_invoked_function_arn=self._function_arn,
            lambda_runtime_trace_id=invocation.trace_id,
        )

    async def _restore(self, exchange: Exchange) -> None:
        await exchange.body(0)
        if self._initialised or self.snapshot.is_set():
            await _refuse(exchange, 403, "InvalidStateTransition")
            return
        self.snapshot.set()
        await self._restored.wait()
        await exchange.answer(200, b"", "application/json")

    async def _respond(self, exchange: Exchange, request_id: str) -> None:
        invocation = await self._invocation_of(exchange, request_id)
        if invocation is None:
            return
        content_type = exchange.header("content-type", "application/octet-stream")
        mode = exchange.header("lambda-runtime-function-response-mode").lower()
        if mode not in ("", "streaming"):
            await exchange.body(0)
            await _refuse(exchange, 400, "InvalidFunctionResponseMode")
            return
        body = Body()
        if mode == "streaming":
            invocation.answer.set_result(Answer(True, content_type, body))
            cut = await _pass_on(exchange, body)
            await body.close(cut=cut)
        else:
            payload = await exchange.body(PAYLOAD_LIMIT_BYTES)
            if payload is None:
                await invocation.fail(Failure("Function.ResponseSizeTooLarge"))
                await _refuse(exchange, 413, "RequestEntityTooLarge")
                return
            await body.put(payload)
            await body.close()
            invocation.answer.set_result(Answer(False, content_type, body))
        invocation.over = True
        await _accept(exchange)

    async def _error(self, exchange: Exchange, request_id: str) -> None:
        invocation = await self._invocation_of(exchange, request_id)
        if invocation is not None:
            await invocation.fail(await _failure(exchange, "Runtime.Unknown"))
            await _accept(exchange)

    async def _init_error(self, exchange: Exchange) -> None:
        failure = await _failure(exchange, "Runtime.InitError")
        if self._initialised or self.init_failed.done():
            await _refuse(exchange, 403, "InvalidStateTransition")
            return
        self.init_failed.set_result(failure)
        await _accept(exchange)

    async def _invocation_of(self, exchange: Exchange, request_id: str) -> Invocation | None:
        """Return the running invocation if the request is about it; else refuse it."""
        current = self._current
        if current is None or current.request_id != request_id or current.answer.done():
            refusal = 400, "InvalidRequestID"
        elif exchange.header("lambda-runtime-invocation-id", current.invocation_id) != (
            current.invocation_id
        ):
            refusal = 410, "InvocationGone"  # the type is a guess, the status is not
        else:
            return current
        await exchange.body(0)
        await _refuse(exchange, *refusal)
        return None


async def _pass_on(exchange: Exchange, body: Body) -> bool:
    """Copy a streamed response; return whether it failed."""
    try:
        async for chunk in exchange.chunks():
            await body.put(chunk)
    except PeerGone:
        return True
    # RFC 9110, section 6.6.2, lets a sender omit this list; Lambda drops trailers not on it.
    declared = exchange.header("trailer").lower()
    return any(name in exchange.trailers and name in declared for name in (ERROR_TYPE, ERROR_BODY))


async def _failure(exchange: Exchange, default_type: str) -> Failure:
    payload = await exchange.body(PAYLOAD_LIMIT_BYTES) or b""
    error_type = exchange.header(ERROR_TYPE, default_type)
    return Failure(error_type, payload.decode(errors="replace"))


async def _accept(exchange: Exchange) -> None:
    await exchange.answer(HTTPStatus.ACCEPTED, b'{"status":"OK"}\n', "application/json")


async def _refuse(exchange: Exchange, status: int, error_type: str) -> None:
    body = json.dumps({"errorType": error_type, "errorMessage": HTTPStatus(status).phrase})
    await exchange.answer(status, body.encode(), "application/json")
