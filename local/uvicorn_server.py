"""The same app without Lambda: uvicorn in a process of its own.

Finds the app beside the handler (`completions.app.handler` → `completions.app:app`) and gives it
the variables that the function would have, without Lambda's own.
"""

import os
import socket
import sys
from collections.abc import Mapping
from typing import IO

from local.layout import local_credentials, source_root
from local.service import Service, announce
from local.template import FunctionSpec


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

    config = uvicorn.Config(app, log_level="warning", access_log=False)
    sys.path.insert(0, root)
    config.load()  # so that an app that cannot be imported has no address
    # NOTE: the protocol is named, because asyncio sets TCP_NODELAY on such sockets only. Those
    # that `config.bind_socket` makes are not, and a first word can then wait 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", int(port)))
    except OSError as error:
        sys.exit(f"port {port}: {error.strerror}")
    listener.listen(config.backlog)  # so that whoever reads the address can connect
    announce(f"http://127.0.0.1:{listener.getsockname()[1]}")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
