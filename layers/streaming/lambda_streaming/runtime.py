"""The life of an execution environment: init, snapshot, then one invocation after another.

Order and exit codes are those of AWS's own runtime. The handler is imported and the SnapStart
hooks are called while the event loop exists but does not run: Mangum needs a current loop on
Python 3.12 and later, and `asyncio.run` at import time still works.
"""

import asyncio
import logging
import os
import sys
import threading
import warnings
from collections.abc import Coroutine
from typing import Any

from lambda_streaming import failures, logs, settings, snapshot
from lambda_streaming.handler import find
from lambda_streaming.invocations import RuntimeLoop
from lambda_streaming.runtime_api import RuntimeApi, RuntimeApiError

log = logging.getLogger(__name__)

_EXIT_INIT, _EXIT_BEFORE_SNAPSHOT, _EXIT_AFTER_RESTORE = 1, 64, 65
# From SIGTERM to SIGKILL a runtime has 300 ms beside external extensions and 500 ms beside internal
# ones (AWS's sample "Graceful shutdown with AWS Lambda"); without extensions there is no SIGTERM.
_GRACE_S = 0.25


def main() -> int:
    """Run until the platform ends the environment; return the process's exit code."""
    logs.install()
    api = RuntimeApi(settings.runtime_api())
    code = _EXIT_INIT
    with asyncio.Runner() as runner:  # also makes its loop the current one
        loop = None
        try:
            loop = _begin(runner, api)
            _run_to_the_end(runner, loop.serve())
            code = 0
        except _CannotBeginError as error:
            code = error.exit_code
        except RuntimeApiError as error:
            log.critical("The Runtime API is lost: %s", error)
        finally:
            _exit_within(_GRACE_S, code)
        if loop:
            runner.run(loop.shutdown())
    return code


def _run_to_the_end(runner: asyncio.Runner, serving: Coroutine[Any, Any, None]) -> None:
    """Run `serving` to its end, even past a SystemExit in one of an application's tasks.

    asyncio lets SystemExit out of the loop and leaves all tasks as they are. The task that raised
    it has failed, and its request learns so; the others go on.
    """
    event_loop = runner.get_loop()
    task = event_loop.create_task(serving)
    while True:
        try:
            return event_loop.run_until_complete(task)
        except SystemExit:
            if task.done():
                raise
            log.error("An application's task raised SystemExit.", exc_info=True)  # noqa: G201 - no failure of ours


def _exit_within(grace_s: float, code: int) -> None:
    """End the process with `code` after `grace_s` at the latest, whatever still runs in it.

    An application that swallows its cancellation, a lifespan that does not end, a thread in a
    blocking call or an exit hook would keep the interpreter from ending. Logs nothing: they may
    hold the locks of logging.
    """

    def end() -> None:
        try:
            sys.stdout.flush()
        finally:
            os._exit(code)

    timer = threading.Timer(grace_s, end)
    timer.daemon = True  # does not delay a timely end
    timer.start()


class _CannotBeginError(Exception):
    """The environment cannot serve, and the platform knows."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def _begin(runner: asyncio.Runner, api: RuntimeApi) -> "RuntimeLoop":
    """Make an environment ready to serve, through a snapshot if one is wanted.

    Raises:
        _CannotBeginError: It cannot be made ready, and the platform knows.
        RuntimeApiError: It cannot be made ready, and the platform cannot be told.
    """
    try:
        policy = _event_loop_policy()
        handler = find(settings.handler_name())
        if _event_loop_policy() is not policy:
            log.warning("The event loop's policy was set too late and is ignored: the loop exists.")
        loop = RuntimeLoop(api, handler, settings.concurrency())
        runner.run(loop.startup())
    except (Exception, SystemExit) as error:
        log.critical("The function cannot be initialised.", exc_info=error)
        runner.run(api.fail_init(failures.of_handler(error)))
        raise _CannotBeginError(_EXIT_INIT) from error
    if settings.takes_snapshot():
        try:
            snapshot.before_snapshot()
            runner.run(api.restore_next())
        except (Exception, SystemExit) as error:
            log.critical("A snapshot cannot be taken.", exc_info=error)
            failure = failures.of_handler(error)._replace(type="Runtime.BeforeSnapshotError")
            runner.run(api.fail_init(failure))
            raise _CannotBeginError(_EXIT_BEFORE_SNAPSHOT) from error
        try:
            snapshot.after_restore()
        except (Exception, SystemExit) as error:
            log.critical("The restored environment cannot be used.", exc_info=error)
            failure = failures.of_handler(error)._replace(type="Runtime.AfterRestoreError")
            runner.run(api.fail_restore(failure))
            raise _CannotBeginError(_EXIT_AFTER_RESTORE) from error
    return loop


def _event_loop_policy() -> object:
    with warnings.catch_warnings():  # Python 3.14 deprecates policies
        warnings.simplefilter("ignore", DeprecationWarning)
        return asyncio.get_event_loop_policy()
