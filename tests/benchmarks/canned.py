"""A Mangum function with a canned answer, to measure the path through Lambda."""

from __future__ import annotations

from mangum import Mangum
from starlette.types import Receive, Scope, Send

_ANSWER = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n' * 5


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _ANSWER})


handler = Mangum(_app, lifespan="off")
