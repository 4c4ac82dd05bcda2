"""ASGI applications, and a streamed answer that records what they send."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from lambda_streaming.asgi import Application, Message, Receive, Scope, Send, converse
from lambda_streaming.failures import Failure
from lambda_streaming.response_stream import ResponseStream

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"a/b")]}
END = {"type": "http.response.body", "body": b""}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class RecordedStream(ResponseStream):
    """A streamed answer without sockets: what was sent, and when it ended (virtual seconds)."""

    def __init__(self) -> None:
        self.started = self.ended = self.gone = self.abandoned = False
        self.preludes: list[dict[str, Any]] = []
        self.body = bytearray()
        self.failure: Failure | None = None
        self.ended_at_s: float | None = None
        self.tell: Callable[[], object] = lambda: None

    @property
    def lost(self) -> bool:
        return self.gone and not self.ended

    def lose(self) -> None:
        """The platform stops listening."""
        self.gone = True
        self.tell()

    def when_lost(self, call: Callable[[], object]) -> None:
        self.tell = call

    async def start(self, prelude: dict[str, Any]) -> None:
        self.started = True
        self.preludes.append(prelude)

    async def write(self, data: bytes) -> None:
        assert self.started
        if data and (self.ended or self.lost):
            raise BrokenPipeError
        self.body += data

    def end(self, failure: Failure | None = None) -> None:
        if not self.ended and not self.lost:
            self.ended, self.failure = True, failure
            self.ended_at_s = asyncio.get_running_loop().time()

    async def settle(self) -> None:
        pass

    def abandon(self) -> None:
        self.abandoned = True


async def answer(
    application: Application,
    stream: RecordedStream | None = None,
    *,
    method: str = "POST",
    request: bytes = b"question",
    remaining_s: float = 60,
) -> RecordedStream:
    """Return what `application` answers."""
    stream = stream or RecordedStream()
    scope: Scope = {"type": "http", "method": method}
    await converse(application, scope, request, stream, request_id="r-1", remaining_s=remaining_s)
    assert stream.abandoned
    return stream


def saying(*messages: Message) -> Application:
    """Return an application that sends these messages."""

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return application


def failing(error: BaseException, *messages: Message) -> Application:
    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        raise error

    return application


def hanging(*messages: Message, on_cancel: Callable[[Send], Awaitable[None]] | None = None) -> Any:
    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if on_cancel:
                await on_cancel(send)
            raise

    return application
