"""The Lambda Runtime API: what a runtime asks and answers.

Source: "Using the Lambda runtime API for custom runtimes" in the AWS Lambda developer guide.

Knows the calls, their headers and statuses. Leaves streamed answers to `response_stream`. Does not
know ASGI, Mangum or the handler.
"""

import asyncio
import json
import logging
import time
from typing import NamedTuple

from lambda_streaming.failures import Failure
from lambda_streaming.http1 import Answer, Connection, ProtocolError, request_head

log = logging.getLogger(__name__)

API_ROOT = "/2018-06-01/runtime"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
_XRAY_CAUSE = "Lambda-Runtime-Function-XRay-Error-Cause"
_LONGEST_CAUSE = 1024 * 1024  # AWS's own runtime leaves out longer ones
_JSON = ("Content-Type", "application/json")
# A lost poll is repeated: a connection may be dead after a freeze and still look open.
_POLL_PAUSES_S = (0.0, 0.0, 0.1, 0.2, 0.4)
_LONGEST_TIMEOUT_MS = 900_000


class RuntimeApiError(Exception):
    """The Runtime API is lost or broken; the documentation asks the runtime to exit promptly."""


class Invocation(NamedTuple):
    """One event and the headers that came with it. `deadline_ms` counts from the epoch.

    A named tuple, because a dataclass takes ten times as long to define, at every cold start.
    """

    event: bytes
    content_type: str
    request_id: str
    deadline_ms: int
    function_arn: str
    trace_id: str | None
    client_context: str | None
    cognito_identity: str | None
    tenant_id: str | None
    invocation_id: str | None

    @classmethod
    def of(cls, answer: Answer) -> "Invocation":
        """Read the answer to a `/next` poll; raises RuntimeApiError where it makes no sense."""
        runtime = {
            name.removeprefix("lambda-runtime-"): value for name, value in answer.headers.items()
        }
        try:
            latest_ms = int(time.time() * 1000) + _LONGEST_TIMEOUT_MS
            return cls(
                event=answer.body,
                content_type=answer.headers.get("content-type", "application/json"),
                request_id=runtime["aws-request-id"],
                deadline_ms=int(runtime.get("deadline-ms", latest_ms)),
                function_arn=runtime.get("invoked-function-arn", ""),
                trace_id=runtime.get("trace-id"),
                client_context=runtime.get("client-context"),
                cognito_identity=runtime.get("cognito-identity"),
                tenant_id=runtime.get("aws-tenant-id"),
                invocation_id=runtime.get("invocation-id"),
            )
        except (KeyError, ValueError) as error:
            raise RuntimeApiError(f"/invocation/next answered without a usable {error}") from error

    @property
    def path(self) -> str:
        """The path under which this invocation is answered."""
        return f"/invocation/{self.request_id}"

    @property
    def echo(self) -> list[tuple[str, str]]:
        """The header that lets the platform tell a late answer from a timely one."""
        if self.invocation_id is None:
            return []
        return [("Lambda-Runtime-Invocation-Id", self.invocation_id)]


class RuntimeApi:
    """A client of the Runtime API at `address` (`host:port`).

    Polls keep their connections, one per open poll; each answer gets a new one.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._idle: list[Connection] = []

    async def next_invocation(self) -> Invocation:
        """Wait for an event, for hours if need be; raises RuntimeApiError."""
        return Invocation.of(await self._poll("/invocation/next"))

    async def restore_next(self) -> None:
        """Allow the snapshot; returns in the restored environment; raises RuntimeApiError."""
        await self._poll("/restore/next")

    async def respond(self, invocation: Invocation, body: bytes, content_type: str) -> None:
        """Post the ordinary, buffered answer."""
        headers = [("Content-Type", content_type), *invocation.echo]
        await self._post(f"{invocation.path}/response", headers, body)

    async def fail(self, invocation: Invocation, failure: Failure) -> None:
        """Report that the handler failed; only for invocations without a streamed answer."""
        headers = [_JSON, (ERROR_TYPE, failure.type), *invocation.echo]
        cause = json.dumps(failure.xray_cause)
        if failure.xray_cause and len(cause) < _LONGEST_CAUSE:
            headers.append((_XRAY_CAUSE, cause))
        await self._post(f"{invocation.path}/error", headers, json.dumps(failure.body).encode())

    async def fail_init(self, failure: Failure) -> None:
        """Report that the environment cannot be made ready."""
        headers = [_JSON, (ERROR_TYPE, failure.type)]
        await self._post("/init/error", headers, json.dumps(failure.body).encode())

    async def fail_restore(self, failure: Failure) -> None:
        """Report that the environment cannot be used after its restore."""
        headers = [_JSON, (ERROR_TYPE, failure.type)]
        await self._post("/restore/error", headers, json.dumps(failure.body).encode())

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().close()

    async def _poll(self, path: str) -> Answer:
        request = request_head("GET", API_ROOT + path, self.address)
        for pause_s in _POLL_PAUSES_S:
            await asyncio.sleep(pause_s)
            try:
                answer = await self._ask(request)
            except ProtocolError as error:
                raise RuntimeApiError(f"{path}: {error}") from error
            except OSError as error:
                self.close()  # the other connections went through the same freeze
                lost = error
                continue
            if answer.status != 200:
                raise RuntimeApiError(f"{path} answered {_summary(answer)}")
            return answer
        raise RuntimeApiError(f"{path}: {lost}") from lost

    async def _ask(self, request: bytes) -> Answer:
        connection = self._idle.pop() if self._idle else await Connection.open(self.address)
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        if answer.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    async def _post(self, path: str, headers: list[tuple[str, str]], body: bytes) -> None:
        headers = [*headers, ("Content-Length", str(len(body)))]
        try:
            connection = await Connection.open(self.address)
            try:
                request = request_head("POST", API_ROOT + path, self.address, headers) + body
                answer = await connection.ask(request)
            finally:
                connection.close()
        except OSError as error:
            log.warning("%s could not be posted: %s", path, error)
        else:
            judge(path, answer)


def judge(path: str, answer: Answer) -> None:
    """Log a refusal, which concerns one invocation; raise RuntimeApiError for a 5xx.

    403: the invocation is in another state; 410: its time is over; 413: the answer is too large.
    """
    if answer.status >= 500:
        raise RuntimeApiError(f"{path} answered {_summary(answer)}")
    if answer.status != 202:
        log.warning("%s was refused: %s", path, _summary(answer))


def _summary(answer: Answer) -> str:
    return f"{answer.status} {answer.body[:500].decode(errors='replace')}".rstrip()
