"""The command line: `python -m local [run]` and `python -m local invoke EVENT`.

Each option is an environment variable of the same name as well (`--upstream-key`,
`UPSTREAM_KEY`), which is how make's variables get here. What things mean is `deployment`'s
business.
"""

import argparse
import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import Any

from local import first_turn, model
from local.deployment import CALLER_KEY, Deployment, passed_on
from local.environment import InitError
from local.intrinsics import TemplateError
from local.layout import CodeError
from local.runtime_api import Cut
from local.service import ServiceError

QUESTION = [{"role": "user", "content": "Tell me one thing about the sea."}]


def main() -> int:
    """Run the command; the exit status is 0, 1 for a failure or 130 for Ctrl-C."""
    options = _options()
    try:
        command = _invoke(options) if options.command == "invoke" else _run(options)
        return asyncio.run(_until_signalled(command))
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain of it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TemplateError, CodeError, ServiceError, InitError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            error = OSError(f"port {options.port} is taken: choose another one with PORT")
        print(f"error: {error}", file=sys.stderr)
        return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local", description="The deployment on this machine."
    )
    parser.add_argument("command", nargs="?", choices=("run", "invoke"), default="run")
    parser.add_argument("event", nargs="?", type=Path, default=os.environ.get("EVENT") or None)
    given: list[str] = []

    def option(name: str, default: Any, explanation: str, **more: Any) -> None:
        parser.add_argument(f"--{name}", default=default, help=explanation, **more)
        # As a flag before the real ones, so that it is checked like them and they win.
        if value := os.environ.get(name.upper().replace("-", "_")):
            given.append(f"--{name}={value}")

    option("port", 8080, "port on 127.0.0.1; 0 takes any free one", type=int)
    option("caller-key", CALLER_KEY, "the key that callers must show")
    option("upstream", "model", "model (embedded), openai (key: OPENAI_API_KEY) or a base URL")
    option("upstream-key", "", "the key for the upstream")
    option("fallback-key", "", "the key for the fallback (parameter FallbackBaseUrl)")
    option("transport", "lambda", "or uvicorn: without Lambda", choices=("lambda", "uvicorn"))
    option("code", "source", "or built: what make build made", choices=("source", "built"))
    option("limit", 10, "function processes at once", type=int)
    option("parameters", "", "template parameters, as in 'InvokeMode=BUFFERED KeyTtlS=5'")
    options = parser.parse_args([*given, *sys.argv[1:]])
    if options.command == "invoke" and options.event is None:
        sys.exit("error: no event file: make invoke EVENT=events/url-chat-stream.json")
    if options.upstream == "openai":
        options.upstream_key = options.upstream_key or os.environ.get("OPENAI_API_KEY", "")
        if not options.upstream_key:
            sys.exit("error: UPSTREAM=openai needs the key in the variable OPENAI_API_KEY")
    if options.transport == "uvicorn" and (options.code == "built" or options.command == "invoke"):
        sys.exit("error: TRANSPORT=uvicorn serves the source tree and takes no events")
    return options


def _deployment(options: argparse.Namespace) -> Deployment:
    pairs = dict(pair.partition("=")[::2] for pair in options.parameters.split())
    return Deployment(
        parameters=pairs,
        environment=passed_on(),
        upstream=options.upstream,
        upstream_key=options.upstream_key or "local-upstream-key",
        fallback_key=options.fallback_key or "local-fallback-key",
        caller_key=options.caller_key,
        transport=options.transport,
        code=options.code,
        port=options.port,
        limit=options.limit,
        log=sys.stderr,
        progress=lambda message: print(message, file=sys.stderr, flush=True),
    )


async def _until_signalled(command: Coroutine[Any, Any, int]) -> int:
    """Run to the end, or until Ctrl-C or SIGTERM: then stop everything, quietly."""
    task = asyncio.create_task(command)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return 130


async def _run(options: argparse.Namespace) -> int:
    try:
        async with _deployment(options) as deployment:
            # The embedded model goes by any name; of others, this one is the likeliest.
            name = model.NAME if options.upstream == "model" else "gpt-4.1-mini"
            body = {"model": name, "stream": True, "messages": QUESTION}
            print(f"ready {deployment.base_url} key={deployment.caller_key}")
            print(
                f"curl -N {deployment.base_url}/chat/completions"
                f" -H 'Authorization: Bearer {deployment.caller_key}'"
                f" -H 'Content-Type: application/json' -d '{json.dumps(body)}'",
                flush=True,
            )
            if options.upstream != "model" and sys.stderr.isatty():
                # Where nobody watches, a turn unasked is a surprise in somebody's count.
                first_turn.begin(deployment.base_url, deployment.caller_key, name)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("stopped", file=sys.stderr)
    return 0


async def _invoke(options: argparse.Namespace) -> int:
    """Send one event file; print status, headers and the body as it arrives."""
    try:
        event = json.loads(options.event.read_text("utf-8"))
    except ValueError as error:
        raise TemplateError(f"{options.event} is not JSON: {error}") from error
    options.port = 0
    async with _deployment(options) as deployment:
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
