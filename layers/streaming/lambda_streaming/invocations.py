"""Answers invocations, one after another or several at once, each in the way its event requires.

`runtime` makes the environment ready and ends it.
"""

import asyncio
import json
import logging
import os
import signal
from typing import Any

from lambda_streaming import failures, settings
from lambda_streaming.asgi import Application, Response, Scope, converse, refusal
from lambda_streaming.buffered_response import BufferedResponse
from lambda_streaming.context import LambdaContext, current
from lambda_streaming.failures import PlatformError
from lambda_streaming.handler import (
    BadEventError,
    Handler,
    OrdinaryCalls,
    Request,
    encode,
    is_mangum,
    read_request,
)
from lambda_streaming.http_event import forbid_compression, method, takes_a_stream
from lambda_streaming.http_result import application_of
from lambda_streaming.lifespan import Lifespan
from lambda_streaming.response_stream import ResponseStream
from lambda_streaming.runtime_api import Invocation, RuntimeApi

log = logging.getLogger(__name__)

_TRACE_ID = "_X_AMZN_TRACE_ID"


class RuntimeLoop:
    """Answers invocations with one handler, up to `concurrency` of them at a time."""

    def __init__(self, api: RuntimeApi, handler: Handler, concurrency: int) -> None:
        self._api = api
        self._handler = handler
        self._mangum = handler if is_mangum(handler) else None
        self._concurrency = concurrency
        self._prelude_gap_s = settings.prelude_gap_s()
        self._keeps_accept_encoding = settings.keeps_accept_encoding()
        self._ordinary = OrdinaryCalls(concurrency)
        self._lifespan = Lifespan(self._mangum.app, self._mangum.lifespan) if self._mangum else None

    async def startup(self) -> None:
        """Begin the application's lifespan; raises PlatformError."""
        if self._lifespan:
            await self._lifespan.startup()

    async def serve(self) -> None:
        """Answer invocations until SIGTERM or SIGINT.

        Raises:
            RuntimeApiError: Nothing can be answered any more.
        """
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        polls = [asyncio.create_task(self._poll()) for _ in range(self._concurrency)]
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({*polls, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for poll in polls:
            poll.cancel()
        await asyncio.wait(polls)
        stopping.cancel()
        self._api.close()
        for poll in done - {stopping}:
            poll.result()  # a poll that ended by itself has failed

    async def shutdown(self) -> None:
        """End the application's lifespan, then the threads; both may take as long as they like."""
        if self._lifespan:
            await self._lifespan.shutdown()
        self._ordinary.close()

    async def _poll(self) -> None:
        while True:
            await self.answer(await self._api.next_invocation())

    async def answer(self, invocation: Invocation) -> None:
        """Answer one invocation, streamed or in one piece; raises RuntimeApiError."""
        if self._concurrency == 1:  # otherwise another invocation might read it
            _set_trace_id(invocation.trace_id)
        try:
            context = LambdaContext(invocation)
            current.set(context)
            event = _decode(invocation)
        except PlatformError as error:
            log.error("The invocation cannot be read.", exc_info=error)  # noqa: TRY400 - same
            await self._api.fail(invocation, failures.of_handler(error, invocation.request_id))
            return
        streams = takes_a_stream(event)
        if streams and not self._keeps_accept_encoding:
            # A compressed stream has been seen to lose its `content-encoding` on the way, or to
            # become a 502 behind CloudFront (aws/aws-lambda-nodejs-runtime-interface-client#96).
            forbid_compression(event)
        if self._mangum is None:
            await self._call(event, context, invocation, streams=streams)
            return
        application: Application = self._mangum.app
        try:
            request = read_request(self._mangum, event, context)
        except BadEventError:
            log.warning("The request cannot be read.", exc_info=True)
            application = refusal(400, "Bad Request", context.aws_request_id)
            request = Request({}, b"", finish=dict) if streams else None
        if request is None:
            # Mangum answers as usual.
            await self._call(event, context, invocation, streams=streams)
            return
        self._complete(request.scope)
        response: Response
        if streams:
            response = self._stream(invocation)
        else:
            response = BufferedResponse(self._api, invocation, request.finish)
        await _converse(application, request.scope, request.body, response, context)

    def _stream(self, invocation: Invocation) -> ResponseStream:
        return ResponseStream(self._api.address, invocation, self._prelude_gap_s)

    def _complete(self, scope: Scope) -> None:
        """Add this server's ASGI version and the lifespan's state to Mangum's scope.

        With "2.4" an application takes an OSError from `send` for the client's disconnect, and
        Starlette spends no task on listening for it.
        """
        scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
        if self._lifespan and self._lifespan.state is not None:
            scope["state"] = self._lifespan.state.copy()

    async def _call(
        self, event: Any, context: LambdaContext, invocation: Invocation, *, streams: bool
    ) -> None:
        """Call a plain handler; stream its HTTP result if the event's sender reads a stream."""
        asked_by = method(event) if streams else None  # before the handler can change the event
        try:
            result = await self._ordinary.call(self._handler, event, context)
            application = application_of(result) if streams else None
            body, content_type = (b"", "") if application else encode(result)
        except Exception as error:
            log.exception("The handler failed.")
            await self._api.fail(invocation, failures.of_handler(error, context.aws_request_id))
            return
        if application:
            scope = {"method": asked_by}
            await _converse(application, scope, b"", self._stream(invocation), context)
        else:
            await self._api.respond(invocation, body, content_type)


async def _converse(
    application: Application, scope: Scope, body: bytes, response: Response, context: LambdaContext
) -> None:
    await converse(
        application,
        scope,
        body,
        response,
        request_id=context.aws_request_id,
        remaining_s=context.get_remaining_time_in_millis() / 1000,
    )


def _set_trace_id(trace_id: str | None) -> None:
    """Set the trace for the X-Ray SDK, which reads it from the process's environment."""
    if trace_id is None:
        os.environ.pop(_TRACE_ID, None)
    else:
        os.environ[_TRACE_ID] = trace_id


def _decode(invocation: Invocation) -> Any:
    if invocation.content_type != "application/json":
        return invocation.event
    try:
        return json.loads(invocation.event)
    except ValueError as error:
        raise PlatformError(
            "Runtime.UnmarshalError", f"Unable to unmarshal input: {error}"
        ) from error
