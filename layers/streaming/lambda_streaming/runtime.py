"""The life of an execution environment: init, snapshot, then one invocation after another.

Order and exit codes are those of AWS's own runtime. The handler is imported and the SnapStart
hooks are called while the event loop exists but does not run: Mangum wants a current loop on
Python 3.12 and later, and `asyncio.run` at import time works as it does elsewhere.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from typing import Any

from lambda_streaming import failures, logs
from lambda_streaming.asgi import Application, Response, Scope, converse, refusal
from lambda_streaming.buffered_response import BufferedResponse
from lambda_streaming.context import LambdaContext, current
from lambda_streaming.failures import PlatformError
from lambda_streaming.handler import (
    BadEventError,
    Handler,
    OrdinaryCalls,
    Request,
    find,
    is_mangum,
    read_request,
    takes_a_stream,
)
from lambda_streaming.lifespan import Lifespan
from lambda_streaming.response_stream import ResponseStream
from lambda_streaming.runtime_api import Invocation, RuntimeApi, RuntimeApiError

log = logging.getLogger(__name__)

_EXIT_INIT, _EXIT_BEFORE_SNAPSHOT, _EXIT_AFTER_RESTORE = 1, 64, 65
# From SIGTERM to SIGKILL a runtime has 300 ms beside external extensions and 500 ms beside internal
# ones (AWS's sample "Graceful shutdown with AWS Lambda"); without extensions there is no SIGTERM.
_GRACE_S = 0.25


def main() -> int:
    """Live until the platform ends the environment; return the process's exit code."""
    logs.install()
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    code = _EXIT_INIT
    with asyncio.Runner() as runner:  # makes its loop the current one
        loop = None
        try:
            loop = _begin(runner, api)
            runner.run(loop.serve())
            code = 0
        except _CannotBeginError as error:
            code = error.exit_code
        except RuntimeApiError as error:
            log.critical("The Runtime API is lost: %s", error)
        finally:
            _end_within(_GRACE_S, code)
        if loop:
            runner.run(loop.shutdown())
    return code


def _end_within(grace_s: float, code: int) -> None:
    """End the process with `code` after `grace_s` at the latest, whatever still runs in it.

    An application that swallows its cancellation, a lifespan that does not end, a thread in a
    blocking call and a hook at exit would each keep the interpreter from ending. It says
    nothing: they may hold the locks of logging.
    """

    def end() -> None:
        try:
            sys.stdout.flush()
        finally:
            os._exit(code)

    timer = threading.Timer(grace_s, end)
    timer.daemon = True  # it does not delay an end in time
    timer.start()


class _CannotBeginError(Exception):
    """The environment cannot serve, and the platform knows."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def _begin(runner: asyncio.Runner, api: RuntimeApi) -> "RuntimeLoop":
    """Make an environment ready to serve, through a snapshot if there is to be one.

    Raises:
        _CannotBeginError: it cannot be made ready.
        RuntimeApiError: nor can the platform be told.
    """
    try:
        handler = find(os.environ.get("_HANDLER", ""))
        loop = RuntimeLoop(api, handler, int(os.environ.get(_MAX_CONCURRENCY) or 1))
        runner.run(loop.startup())
    except (Exception, SystemExit) as error:
        log.critical("The function cannot be initialised.", exc_info=error)
        runner.run(api.fail_init(failures.of_handler(error)))
        raise _CannotBeginError(_EXIT_INIT) from error
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        try:
            _run_hooks("get_before_snapshot", backwards=True)
            runner.run(api.restore_next())
        except (Exception, SystemExit) as error:
            log.critical("A snapshot cannot be taken.", exc_info=error)
            failure = failures.of_handler(error)._replace(type="Runtime.BeforeSnapshotError")
            runner.run(api.fail_init(failure))
            raise _CannotBeginError(_EXIT_BEFORE_SNAPSHOT) from error
        try:
            _run_hooks("get_after_restore")
        except (Exception, SystemExit) as error:
            log.critical("The restored environment cannot be used.", exc_info=error)
            failure = failures.of_handler(error)._replace(type="Runtime.AfterRestoreError")
            runner.run(api.fail_restore(failure))
            raise _CannotBeginError(_EXIT_AFTER_RESTORE) from error
    return loop


_MAX_CONCURRENCY = "AWS_LAMBDA_MAX_CONCURRENCY"


def _run_hooks(registry: str, *, backwards: bool = False) -> None:
    """Call the hooks that the function registered with AWS's package, if it is there at all."""
    try:
        import snapshot_restore_py
    except ImportError:
        return
    hooks = list(getattr(snapshot_restore_py, registry)())
    for function, args, kwargs in reversed(hooks) if backwards else hooks:
        function(*args, **kwargs)


class RuntimeLoop:
    """Answer invocations with one handler, up to `concurrency` of them at a time."""

    def __init__(self, api: RuntimeApi, handler: Handler, concurrency: int) -> None:
        self._api = api
        self._handler = handler
        self._mangum = handler if is_mangum(handler) else None
        self._concurrency = concurrency
        self._ordinary = OrdinaryCalls(concurrency)
        self._lifespan = Lifespan(self._mangum.app, self._mangum.lifespan) if self._mangum else None

    async def startup(self) -> None:
        """Begin the application's lifespan; raises PlatformError."""
        if self._lifespan:
            await self._lifespan.startup()

    async def serve(self) -> None:
        """Answer invocations until SIGTERM or SIGINT.

        Raises:
            RuntimeApiError: nothing can be answered any more.
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
            poll.result()  # a poll that ended before us has failed

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
        try:
            context = LambdaContext(invocation)
            current.set(context)
            event = _decode(invocation)
        except PlatformError as error:
            log.error("The invocation cannot be read.", exc_info=error)  # noqa: TRY400 - same
            await self._api.fail(invocation, failures.of_handler(error, invocation.request_id))
            return
        if self._mangum is None:
            await self._call(event, context, invocation)
            return
        application: Application = self._mangum.app
        streams = takes_a_stream(event)
        try:
            request = read_request(self._mangum, event, context)
        except BadEventError:
            log.warning("The request cannot be read.", exc_info=True)
            application = refusal(400, "Bad Request", context.aws_request_id)
            request = Request({}, b"", finish=dict) if streams else None
        if request is None:
            await self._call(event, context, invocation)  # Mangum says what it always says
            return
        self._complete(request.scope)
        response: Response
        if streams:
            response = ResponseStream(self._api.address, invocation)
        else:
            response = BufferedResponse(self._api, invocation, request.finish)
        await converse(
            application,
            request.scope,
            request.body,
            response,
            request_id=context.aws_request_id,
            remaining_s=context.get_remaining_time_in_millis() / 1000,
        )

    def _complete(self, scope: Scope) -> None:
        """Add to Mangum's scope what this server promises, and the lifespan's state.

        With "2.4" an application takes an OSError from `send` for the client's disconnect, and
        Starlette spends no task on listening for it.
        """
        scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
        if self._lifespan and self._lifespan.state is not None:
            scope["state"] = self._lifespan.state.copy()

    async def _call(self, event: Any, context: LambdaContext, invocation: Invocation) -> None:
        try:
            body, content_type = await self._ordinary.call(self._handler, event, context)
        except Exception as error:
            log.exception("The handler failed.")
            await self._api.fail(invocation, failures.of_handler(error, context.aws_request_id))
        else:
            await self._api.respond(invocation, body, content_type)


def _decode(invocation: Invocation) -> Any:
    if invocation.content_type != "application/json":
        return invocation.event
    try:
        return json.loads(invocation.event)
    except ValueError as error:
        raise PlatformError(
            "Runtime.UnmarshalError", f"Unable to unmarshal input: {error}"
        ) from error
