"""The command line: `python -m local [run]` and `python -m local invoke EVENT`.

`options` knows the choices, `deployment` what they mean. `run` talks to a person: in plain lines,
with the log in a file.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from http import HTTPStatus
from typing import IO, Any

from local import first_turn, model, options
from local.deployment import ROOT, RUNS, Deployment, passed_variables
from local.environment import InitError
from local.intrinsics import TemplateError
from local.layout import CodeError
from local.log_lines import LogLines
from local.run_log import RunLog
from local.runtime_api import Cut
from local.service import ServiceError
from local.upstream_advice import Upstream

QUESTION = [{"role": "user", "content": "Tell me one thing about the sea."}]
USUAL_MODEL = "gpt-4.1-mini"


def main() -> int:
    """Run the command; the exit status is 0, 1 for a failure or 130 for Ctrl-C."""
    chosen = options.read(sys.argv[1:], os.environ)
    try:
        command = _invoke(chosen) if chosen.command == "invoke" else _run(chosen)
        return asyncio.run(_until_signalled(command, ends_with_stdin=chosen.ends_with_stdin))
    except BrokenPipeError:
        # The reader of our output has closed it. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TemplateError, CodeError, ServiceError, InitError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _deployment(chosen: argparse.Namespace, log: IO[str], **more: str) -> Deployment:
    return Deployment(
        parameters={**more, **chosen.parameters},
        environment=passed_variables(),
        upstream=chosen.upstream,
        upstream_key=chosen.upstream_key or "local-upstream-key",
        fallback_key=chosen.fallback_key or "local-fallback-key",
        caller_key=chosen.caller_key,
        secret_values=chosen.secrets,
        transport=chosen.transport,
        code=chosen.code,
        port=chosen.port,
        limit=chosen.limit,
        log=log,
        progress=_say,
    )


async def _until_signalled(
    command: Coroutine[Any, Any, int], *, ends_with_stdin: bool = False
) -> int:
    """Run to the end, or until Ctrl-C, SIGTERM or SIGHUP: then stop everything, quietly."""
    task = asyncio.create_task(command)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, task.cancel)

    def read_stdin() -> None:
        while os.read(0, 1024):
            pass
        loop.call_soon_threadsafe(task.cancel)

    if ends_with_stdin:
        threading.Thread(target=read_stdin, daemon=True).start()
    try:
        return await task
    except asyncio.CancelledError:
        return 130


class _Terminal:
    """What a person sees of the log: nothing before the first turn is over; programs see all."""

    def __init__(self, lines: LogLines, *, plain: bool) -> None:
        self._lines = lines
        self._plain = plain
        self._quiet = plain
        self.turn_is_over = threading.Event()

    def line(self, line: str) -> None:
        translated = self._lines.translate(line)
        shown = translated if self._plain else line
        if shown and not self._quiet:
            _say(shown)
        if '"turn.finished"' in line:
            self.turn_is_over.set()

    def speak(self) -> None:
        self._quiet = False


async def _run(chosen: argparse.Namespace) -> int:
    # The embedded model goes by any name; of others, this one is the likeliest.
    name = model.NAME if chosen.upstream == options.MODEL else USUAL_MODEL
    upstream = Upstream(chosen.upstream, name)
    lines = LogLines(upstream, chosen.caller_key)
    terminal = _Terminal(lines, plain=chosen.log_lines == "plain")
    log = RunLog(RUNS, terminal.line)
    try:
        with log:
            # On one's own machine the log may hold what is said; the printed turns need it.
            async with _deployment(chosen, log.stream, LogContent="On") as deployment:
                if chosen.upstream != options.MODEL and first_turn.is_watched():
                    await _try(deployment, upstream, lines, terminal)
                _print_ready(deployment, name)
                _say(f"the log is {log.path.relative_to(ROOT)}")
                terminal.speak()
                following = asyncio.create_task(deployment.follow_changes())
                ended = await deployment.ended()
                following.cancel()
            print(f"error: {ended}, so everything is stopped", file=sys.stderr)
            return 1
    except asyncio.CancelledError:
        _say("stopped")
        return 0
    except ServiceError as error:
        raise ServiceError(f"{error}: {log.last_line} (more in {log.path})") from error


async def _try(
    deployment: Deployment, upstream: Upstream, lines: LogLines, terminal: _Terminal
) -> None:
    _say("trying the model")
    trouble = await asyncio.to_thread(
        first_turn.trouble, deployment.base_url, deployment.caller_key, upstream
    )
    # The log knows best what a refusal is about; its line is a moment behind the answer.
    await asyncio.to_thread(terminal.turn_is_over.wait, 2)
    _say(first_turn.outcome(trouble and (lines.wrong or trouble)))


def _print_ready(deployment: Deployment, name: str) -> None:
    body = {"model": name, "stream": True, "messages": QUESTION}
    print(f"ready {deployment.base_url} key={deployment.caller_key}")
    print(
        f"curl -N {deployment.base_url}/chat/completions"
        f" -H 'Authorization: Bearer {deployment.caller_key}'"
        f" -H 'Content-Type: application/json' -d '{json.dumps(body)}'",
        flush=True,
    )


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


async def _invoke(chosen: argparse.Namespace) -> int:
    """Send one event file; print status, headers and the body as it arrives."""
    try:
        event = json.loads(chosen.event.read_text("utf-8"))
    except ValueError as error:
        raise TemplateError(f"{chosen.event} is not JSON: {error}") from error
    chosen.port = 0
    async with _deployment(chosen, sys.stderr) as deployment:
        response = await deployment.invoke(event)
        print(response.status, HTTPStatus(response.status).phrase)
        for name, value in response.headers:
            print(f"{name}: {value}")
        print(flush=True)
        try:
            async for chunk in response.body:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
        except Cut:
            print("\nthe answer was cut short, see the log above", file=sys.stderr)
            return 1
        print(flush=True)
    if response.failure:
        failure = response.failure
        print(f"the function failed: {failure.error_type} {failure.message}", file=sys.stderr)
    return 1 if response.failure else 0


if __name__ == "__main__":
    sys.exit(main())
