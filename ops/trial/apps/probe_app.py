"""A small application whose paths are a trial's questions: each does something AWS may alter.

Deployed with Mangum, by `make trial` only. The questions know what each path promises.
"""

import asyncio
import gzip
import json
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from mangum import Mangum

HELD_S = 0.4
"""Between a first piece and the rest: far more than a network needs, so that it is no mistake."""
BEATS = 6


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI's own
    """Answer by the path."""
    path = scope["path"]
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}

    async def start(status: int = 200, **headers: str) -> None:
        named = {"content-type": "text/plain", **headers}
        pairs: Iterable[tuple[bytes, bytes]] = [
            (name.replace("_", "-").encode(), value.encode()) for name, value in named.items()
        ]
        await send({"type": "http.response.start", "status": status, "headers": [*pairs]})

    async def piece(body: bytes = b"", *, last: bool = False) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": not last})

    if path == "/first-then-rest":
        await start()
        await piece(b"1")
        await asyncio.sleep(HELD_S)
        await piece(b"23", last=True)
    elif path == "/empty":
        status = int(query["status"])
        headers = [] if status == 204 else [(b"location", b"/event")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await piece(last=True)
    elif path == "/length":
        await start(content_length="6")
        await piece(b"123")
        await piece(b"456", last=True)
    elif path == "/encoded":
        await start(content_encoding="gzip")
        await piece(gzip.compress(b"123456"), last=True)
    elif path == "/beats":
        await start()
        for beat in range(BEATS):
            await piece(b"%d" % beat)
            await asyncio.sleep(HELD_S)
        print(json.dumps({"trial": "ran to its end", "token": query["token"]}), flush=True)
        await piece(last=True)
    elif path == "/crash":
        os._exit(7)
    elif path == "/crash-after":
        await start()
        await piece(b"1")
        await asyncio.sleep(HELD_S)
        os._exit(7)
    elif path == "/raise-after":
        await start()
        await piece(b"1")
        await asyncio.sleep(HELD_S)
        raise ValueError("a trial's")
    else:
        body = json.dumps(scope["aws.event"]["rawPath"]).encode()
        await start(content_type="application/json")
        await piece(body, last=True)


handler = Mangum(app, lifespan="off")
