"""The app without Lambda, and how many requests it takes at once."""

import asyncio
import json
from typing import Any

from local.uvicorn_server import CONNECTIONS_LIMIT, TURNS_LIMIT, bounded


async def test_requests_beyond_the_limit_get_retry_after() -> None:
    """A request beyond the limit gets 503 and `Retry-After` until another one ends."""
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    served = bounded(app, 2)

    async def ask(kind: str = "http") -> Any:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await served({"type": kind}, None, send)
        return sent

    running = [asyncio.create_task(ask()) for _ in range(2)]
    lifespan = asyncio.create_task(ask("lifespan"))
    await asyncio.sleep(0)
    start, body = await ask()
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"] == b"1"
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert json.loads(body["body"])["error"]["code"] == "overloaded"
    go_on.set()
    for task in (*running, lifespan, asyncio.create_task(ask())):
        assert (await task)[0]["status"] == 200


async def test_a_failure_or_a_hang_up_makes_room() -> None:
    """A request that failed or was hung up on no longer counts."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fails":
            raise OSError
        if scope["path"] == "/waits":
            await asyncio.Event().wait()

    served = bounded(app, 1)
    for path in ("/fails", "/waits", "/works"):
        task = asyncio.create_task(served({"type": "http", "path": path}, None, None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() == (path == "/waits")


def test_the_limits_fit_into_a_process() -> None:
    """All callers, and three requests to models for each turn, need fewer than 1,024 files."""
    assert TURNS_LIMIT * 4 < 1024
    assert CONNECTIONS_LIMIT + 2 * TURNS_LIMIT < 1024
