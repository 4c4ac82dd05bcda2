"""One streamed answer, as bytes on the wire of the Lambda Runtime API.

Source: "Building a custom runtime", section response streaming, in the AWS Lambda developer guide;
where it is silent, AWS's own Node.js runtime client, whose recorded requests are in
tests/reference.

Everything that changes the state of an answer lives here. Does not know ASGI.
"""

import asyncio
import json
import logging
from binascii import b2a_base64
from collections.abc import Callable
from typing import Any

from lambda_streaming.failures import Failure
from lambda_streaming.http1 import (
    Answer,
    Connection,
    chunk,
    last_chunk,
    read_answer,
    request_head,
)
from lambda_streaming.runtime_api import API_ROOT, ERROR_TYPE, Invocation, judge

log = logging.getLogger(__name__)

_ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
_PRELUDE_END = bytes(8)
# How much may be written at once before other tasks (timers, other streams) get their turn.
_FAIR_SHARE_BYTES = 64 * 1024


class ResponseStream:
    """One streamed answer: `start`, any number of `write`, `end`, then `settle`.

    `start` and `write` raise OSError once the platform no longer listens: it has closed the
    connection, or answered before the end (403, 410, 413). They return when the socket's buffer
    has room again, so a slow reader slows the writer.
    """

    def __init__(self, address: str, invocation: Invocation, prelude_gap_s: float = 0.0) -> None:
        self.started = False
        self.ended = False
        self._address = address
        self._invocation = invocation
        self._gap_s = prelude_gap_s
        self._prelude_alone_until: float | None = None
        self._opening = asyncio.create_task(Connection.open(address))
        self._starts = 0
        self._connection: Connection | None = None
        self._answer: asyncio.Task[Answer] | None = None
        self._when_lost: Callable[[], object] = lambda: None
        self._unshared_bytes = 0

    def when_lost(self, call: Callable[[], object]) -> None:
        """Register `call` to be made if the platform stops listening before the end."""
        self._when_lost = call

    @property
    def lost(self) -> bool:
        """Whether the platform stopped listening before the end."""
        return self._answer is not None and self._answer.done() and not self.ended

    async def start(self, prelude: dict[str, Any]) -> None:
        """Send head, prelude and delimiter in a separate write.

        If two starts wait for the connection, the later one wins: the layer, whose 504 overtakes an
        application that is too late.

        NOTE: the platform has been seen to hold back answers whose prelude and first data it got in
        one read (aws/aws-lambda-nodejs-runtime-interface-client#94). Two writes are not enough,
        because a busy reader finds both: `write` keeps a gap.
        """
        self._starts += 1
        connection = await self._connect(self._starts)
        headers = [
            ("Lambda-Runtime-Function-Response-Mode", "streaming"),
            ("Trailer", ERROR_TYPE),
            ("Trailer", _ERROR_BODY),
            ("Content-Type", "application/vnd.awslambda.http-integration-response"),
            ("Transfer-Encoding", "chunked"),
            *self._invocation.echo,
        ]
        self._connection = connection
        self._answer = asyncio.create_task(read_answer(connection.reader))
        self._answer.add_done_callback(self._answered)
        head = request_head(
            "POST", f"{API_ROOT}{self._invocation.path}/response", self._address, headers
        )
        self.started = True
        metadata = json.dumps(prelude, separators=(",", ":")).encode()
        await self._send(head + chunk(metadata) + chunk(_PRELUDE_END))
        if self._gap_s:
            self._prelude_alone_until = asyncio.get_running_loop().time() + self._gap_s

    async def write(self, data: bytes) -> None:
        """Send `data` as it is; skip empty data, because an empty chunk ends the body.

        Sends at once, except for the first data, which waits until `prelude_gap_s` after the
        prelude was written.
        """
        if not data:
            return
        if self._prelude_alone_until is not None:
            gap_s = self._prelude_alone_until - asyncio.get_running_loop().time()
            self._prelude_alone_until = None
            if gap_s > 0:
                await asyncio.sleep(gap_s)
        await self._send(chunk(data))

    def end(self, failure: Failure | None = None) -> None:
        """End the body, with trailers that report the failure if there was one.

        Never raises: `settle` shows what could not be sent.
        """
        trailers = []
        if failure:
            body = b2a_base64(json.dumps(failure.body).encode(), newline=False).decode()
            trailers = [(ERROR_TYPE, failure.type), (_ERROR_BODY, body)]
        if self._connection and not self.lost and not self.ended:
            self._connection.writer.write(last_chunk(trailers))
            self.ended = True

    async def settle(self) -> None:
        """Wait for the platform's verdict, which comes once it has read everything; log a bad one.

        Raises:
            RuntimeApiError: The platform says that the environment is broken.
        """
        if self._answer is None:
            return
        path = f"{self._invocation.path}/response"
        try:
            answer = await asyncio.shield(self._answer)
        except OSError as error:
            log.warning("%s: %s", path, error)
        else:
            judge(path, answer)

    def abandon(self) -> None:
        """Disconnect and release everything, in any state of the answer."""
        self.ended = True
        self._starts += 1
        if self._connection:
            self._connection.close()  # also ends the reading of the answer
        for task in (self._opening, self._answer):
            if task:
                task.add_done_callback(_forget)

    async def _connect(self, start: int) -> Connection:
        # Shielded: a cancelled application must not cancel the connection that reports its error.
        connection = await asyncio.shield(self._opening)
        if start == self._starts and not connection.usable:  # opened early, and closed since
            connection.close()
            self._opening = asyncio.create_task(Connection.open(self._address))
            connection = await asyncio.shield(self._opening)
        if start != self._starts:
            raise BrokenPipeError("somebody else has started or abandoned this answer")
        return connection

    def _answered(self, answer: asyncio.Task[Answer]) -> None:
        if self.ended or answer.cancelled():
            return
        answer.exception()  # mark as seen; `settle` reports it
        if self._connection:
            self._connection.close()  # wakes a writer that waits for room in the buffer
        self._when_lost()

    async def _send(self, data: bytes) -> None:
        if self._connection is None or self.ended or self.lost:
            raise BrokenPipeError("the platform no longer reads this answer")
        self._connection.writer.write(data)
        self._unshared_bytes += len(data)
        if self._unshared_bytes > _FAIR_SHARE_BYTES:
            self._unshared_bytes = 0
            await asyncio.sleep(0)
        await self._connection.writer.drain()
        if self.lost:  # drain() returns quietly when the connection is aborted under it
            raise BrokenPipeError("the platform no longer reads this answer")


def _forget(task: "asyncio.Task[Any]") -> None:
    """Close a connection that nobody will use, and mark an error as seen."""
    if not task.cancelled() and not task.exception() and isinstance(task.result(), Connection):
        task.result().close()
