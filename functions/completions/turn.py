"""One turn of a conversation, from the request to the last byte.

An ASGI response of its own: it sends the status when it knows it, so an upstream's 429 is a 429,
and it watches for the caller's hang-up from the beginning. Knows time and order; the wire formats
are the dialects', the model is `upstream`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from completions.dialect import Asked, Dialect, Done, Failure, Finish, Said, Usage
from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.observability import log, turn_finished
from completions.sse import Frame
from completions.upstream import Candidate, Upstream

DEADLINE_MARGIN_S = 1.5
"""The turn ends itself this long before Lambda's deadline; at 0.5 s the layer uses force."""

STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


@dataclass(slots=True)
class Report:
    """What a turn leaves in the log: facts and times, never words."""

    arrived_at: float
    outcome: str = "ok"
    status: int = 200
    first_byte_ms: float | None = None
    upstream_requests: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


class Turn(Response):
    """The answer to one request. `settled` is awaited last: nothing may outlive the invocation."""

    def __init__(
        self,
        dialect: Dialect,
        asked: Asked,
        candidate: Candidate,
        upstream: Upstream,
        *,
        settled: Callable[[], Awaitable[None]],
        remaining_s: Callable[[], float | None],
    ) -> None:
        super().__init__()
        self._dialect = dialect
        self._asked = asked
        self._candidate = candidate
        self._upstream = upstream
        self._settled = settled
        self._remaining_s = remaining_s
        self._report = Report(time.time())
        self._started = False

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Runs the turn. A hang-up cancels it, and with it the request to the model."""
        answer = asyncio.create_task(self._answer(send))
        hangup = asyncio.create_task(_hung_up(receive))
        try:
            await asyncio.wait({answer, hangup}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self._report.outcome = "hung_up"
                answer.cancel()
                await asyncio.wait({answer})
            if not answer.cancelled():
                answer.result()
        finally:
            hangup.cancel()
            answer.cancel()
            await self._settled()
            self._log()

    async def _answer(self, send: Send) -> None:
        remaining_s = self._remaining_s()
        until_end_s = None if remaining_s is None else max(0.0, remaining_s - DEADLINE_MARGIN_S)
        try:
            async with asyncio.timeout(until_end_s):
                await self._relay(send)
        except TimeoutError:
            await self._fail(
                send, UpstreamTimeout("The answer took longer than this function may.")
            )
        except CompletionsError as error:
            await self._fail(send, error)

    async def _relay(self, send: Send) -> None:
        asked = self._asked
        prepared = self._dialect.prepare(
            asked,
            model=self._candidate.model,
            extra_body=self._candidate.extra_body,
            clean=lambda text: text,
        )
        read, writer = self._dialect.reader(), self._dialect.writer(asked)
        finish, usage = "stop", None
        self._report.upstream_requests += 1
        done = False
        async for frames in self._upstream.frames(
            self._candidate, self._dialect.path, prepared.body
        ):
            if not asked.stream:
                await self._send_whole(send, frames[0])
                return
            out = b""
            for frame in frames:
                deltas = read(frame)
                for delta in deltas:
                    if isinstance(delta, Failure):
                        raise delta.error
                    if isinstance(delta, Finish):
                        finish, done = delta.reason, True
                    if isinstance(delta, Usage):
                        usage = delta.usage
                    done = done or isinstance(delta, Done)
                out += writer.relay(Said(frame, deltas))
            if out:
                await self._write(send, out)
        if not asked.stream or not self._started:
            raise UpstreamUnavailable("The upstream's answer is empty.")
        if not done:
            raise UpstreamUnavailable("The upstream's answer broke off.")
        end = writer.end(finish, usage)
        await send({"type": "http.response.body", "body": end, "more_body": False})

    async def _send_whole(self, send: Send, frame: Frame) -> None:
        for delta in self._dialect.reader()(frame):
            if isinstance(delta, Failure):
                raise delta.error
        await self._send_json(send, 200, frame.data, {})

    async def _fail(self, send: Send, error: CompletionsError) -> None:
        """Before the first byte the real status; after it an error frame and the terminator."""
        report = self._report
        report.outcome = error.code
        log.warning("turn.failed", code=error.code, reason=error.message)
        if self._started:
            end = self._dialect.writer(self._asked).failure(error)
            await send({"type": "http.response.body", "body": end, "more_body": False})
        else:
            report.status = error.status
            await self._send_json(send, error.status, to_json(error.body()), error.headers)

    async def _send_json(
        self, send: Send, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        names = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in names.items()]
        self._started = True
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _write(self, send: Send, data: bytes) -> None:
        if not self._started:
            self._started = True
            self._report.first_byte_ms = (time.time() - self._report.arrived_at) * 1000
            await send(
                {"type": "http.response.start", "status": 200, "headers": list(STREAM_HEADERS)}
            )
        await send({"type": "http.response.body", "body": data, "more_body": True})

    def _log(self) -> None:
        report = self._report
        duration_ms = (time.time() - report.arrived_at) * 1000
        metrics = {"TurnMs": duration_ms, "UpstreamRequests": report.upstream_requests}
        if report.first_byte_ms is not None:
            metrics["FirstByteMs"] = report.first_byte_ms
        turn_finished(
            {
                "outcome": report.outcome,
                "http.response.status_code": report.status,
                "gen_ai.request.model": self._asked.model,
                "stream": self._asked.stream,
                "roles": list(self._asked.roles[-8:]),
                "first_byte_ms": report.first_byte_ms,
                "duration_ms": duration_ms,
            },
            metrics,
        )


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
