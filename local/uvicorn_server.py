"""The same app without Lambda: uvicorn in a separate process.

Finds the app beside the handler (`completions.app.handler` → `completions.app:app`) and gives it
the variables that the function would have, without Lambda's own.
"""

import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import IO, Any

from local.layout import local_credentials, source_root
from local.service import Service, announce
from local.template import FunctionSpec
from local.wire import bound_listener

App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]

TURNS_LIMIT = 200
"""Requests at once: a process may usually have 1,024 files, and a turn may need four of them, the
caller and three requests to models. Further requests get 503, as Lambda answers 429."""
CONNECTIONS_LIMIT = 600
"""Open connections, idle ones included; the other files are for models. uvicorn answers 503 to
further ones and closes them; unlike ours, its answer does not say when to retry."""
_BUSY = b'{"error":{"message":"Too many requests at once. Try again soon.",'
_BUSY += b'"type":"server_error","param":null,"code":"overloaded"}}'
_BUSY_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_BUSY)).encode()),
    (b"retry-after", b"1"),
]


def bounded(app: App, limit: int = TURNS_LIMIT) -> App:
    """Return the app, limited to so many requests at once; further ones get 503 immediately."""
    running = 0

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        nonlocal running
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        if running >= limit:
            await send({"type": "http.response.start", "status": 503, "headers": _BUSY_HEADERS})
            await send({"type": "http.response.body", "body": _BUSY})
            return
        running += 1
        try:
            await app(scope, receive, send)
        finally:
            running -= 1

    return answer


async def start(
    function: FunctionSpec, variables: Mapping[str, str], port: int, log: IO[str]
) -> Service:
    """Serve the app on a port of 127.0.0.1; 0 takes any free one. Raises `ServiceError`."""
    module = function.handler.rpartition(".")[0]
    root = source_root(function)
    environment = {**local_credentials(), **function.environment, **variables}
    return await Service.start(
        "uvicorn",
        *("-m", "local.uvicorn_server", f"{module}:app", str(root), str(port)),
        log=log,
        env={"PATH": os.environ.get("PATH", ""), **environment},
    )


def main(app: str, root: str, port: str) -> None:
    """Be the child: serve the app until the parent ends."""
    import uvicorn

    sys.path.insert(0, root)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, limit_concurrency=CONNECTIONS_LIMIT
    )
    config.load()  # first, so that an app that cannot be imported announces no address
    config.loaded_app = bounded(config.loaded_app)
    try:
        listener = bound_listener(int(port))
    except OSError as error:
        sys.exit(str(error))
    listener.listen(config.backlog)  # so that a reader of the address can connect
    announce(f"http://127.0.0.1:{listener.getsockname()[1]}")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
