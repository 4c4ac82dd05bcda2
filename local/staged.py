"""The deployment with models that play scripts, for another program to start.

`python -m local.staged` prints one line of JSON when it serves, and ends when its stdin is closed::

    {"url": "http://…/v1", "key": "…", "model": "http://…", "fallback": "http://… or empty"}

`model` and `fallback` are steered there (`scripted.remote_control`). What the function and its
platform write goes to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys

from local.deployment import Deployment, passed_variables
from local.environment import InitError
from local.intrinsics import TemplateError
from local.layout import CodeError
from local.scripted.remote_control import SteeredUpstream
from local.service import ServiceError


def main() -> None:
    """Serve until stdin is closed."""
    parser = argparse.ArgumentParser(prog="python -m local.staged")
    parser.add_argument("--parameters", default="{}", help="template parameters, as JSON")
    parser.add_argument("--fallback", action="store_true", help="with a second model to fall back")
    parser.add_argument("--code", default="source", choices=("source", "built"))
    parser.add_argument("--transport", default="lambda", choices=("lambda", "uvicorn"))
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        pass
    except (TemplateError, CodeError, ServiceError, InitError, OSError) as error:
        sys.exit(f"error: {error}")


async def _serve(options: argparse.Namespace) -> None:
    parameters = {name: str(value) for name, value in json.loads(options.parameters).items()}
    async with contextlib.AsyncExitStack() as stack:
        model = await stack.enter_async_context(SteeredUpstream())
        fallback = None
        if options.fallback:
            fallback = await stack.enter_async_context(SteeredUpstream())
            parameters["FallbackBaseUrl"] = fallback.base_url
        deployment = await stack.enter_async_context(
            Deployment(
                parameters=parameters,
                environment=passed_variables(),
                upstream=model.base_url,
                code=options.code,
                transport=options.transport,
                log=sys.stderr,
            )
        )
        ready = {
            "url": deployment.base_url,
            "key": deployment.caller_key,
            "model": model.address,
            "fallback": fallback.address if fallback else "",
        }
        print(json.dumps(ready), flush=True)
        await _closed_stdin()


async def _closed_stdin() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


if __name__ == "__main__":
    main()
