"""The function's app for tests, with keys in memory and any upstream."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

import httpx2
import uvicorn
from fastapi import FastAPI

from completions.app import create_app
from completions.keys.keys import Keys
from completions.settings import Settings
from completions.turn import plan
from tests.support.secrets import (
    CALLER_KEY,
    CALLER_SECRET,
    UPSTREAM_KEY,
    UPSTREAM_SECRET,
    FakeSecrets,
)

AUTHORIZED = {"authorization": f"Bearer {CALLER_KEY}"}
CALM: dict[str, Any] = {
    "buffer_words_after_ms": 0,
    "first_token_timeout_ms": 0,
    "turn_budget_ms": 0,
    "tool_turn_budget_ms": 0,
    "stall_timeout_ms": 0,
}
"""Settings for tests in real time that are not about time: no timer fires."""
CALM_ENVIRONMENT = {f"COMPLETIONS_{name.upper()}": str(ms) for name, ms in CALM.items()}
"""The same as variables."""
ERRORS_AS_STATUS = {"x-completions-on-failure": "error"}
"""The header of a caller who wants faults as an API client gets them, not spoken."""
ANSWER_LIMIT_S = 120
"""Far longer than any answer, so that a test ends even if an answer does not."""
RETRY_WAITS_S = (0.001, 0.001)
"""The wait between attempts in real time; the product's own waits are tested in virtual time."""
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello?"}]


def deploy(upstream: str, secrets: FakeSecrets | None = None, **settings: Any) -> FastAPI:
    """Return the app over the upstream at this base URL."""
    keys = Keys(
        CALLER_SECRET, UPSTREAM_SECRET, ttl_s=300, connect=(secrets or FakeSecrets()).connect
    )
    return create_app(
        Settings(
            caller_key_secret=CALLER_SECRET,
            upstream_key_secret=UPSTREAM_SECRET,
            upstream_base_url=upstream,
            **settings,
        ),
        keys,
    )


@asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client with the right key, without sockets, which cannot tell when bytes leave."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    client = httpx2.AsyncClient(transport=transport, base_url="http://test", headers=AUTHORIZED)
    with patch.object(plan, "RETRY_WAITS_S", RETRY_WAITS_S):
        async with app.router.lifespan_context(app), client:
            yield client


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """Serve the app with uvicorn on a free port; yield its address, without a path."""
    # NOTE: the protocol is named because asyncio else leaves Nagle's algorithm on: 40 ms an answer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        task = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                await asyncio.sleep(0.005)
                if task.done():
                    task.result()
            with patch.object(plan, "RETRY_WAITS_S", RETRY_WAITS_S):
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


def chat(**fields: Any) -> dict[str, Any]:
    """Return a chat completion's body."""
    return {"model": "m", "messages": HELLO, **fields}


async def ask(client: httpx2.AsyncClient, **fields: Any) -> httpx2.Response:
    """Return the answer to a chat completion, faults as a status."""
    async with asyncio.timeout(ANSWER_LIMIT_S):
        body = chat(**fields)
        return await client.post("/v1/chat/completions", json=body, headers=ERRORS_AS_STATUS)


def error_of(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return the error object, after checking what all errors have in common."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    for word in ("Traceback", 'File "', CALLER_KEY, UPSTREAM_KEY):
        assert word not in response.text
    return error


def data_frames(body: bytes) -> list[Any]:
    """Return the decoded frames of an event stream's body, the terminator as the text `[DONE]`."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


def spoken(body: bytes) -> str:
    """Return what a caller would hear of a streamed chat completion."""
    return "".join(
        choice["delta"].get("content") or ""
        for frame in data_frames(body)
        if isinstance(frame, dict)
        for choice in frame.get("choices", ())
    )


@contextmanager
def unused_port() -> Iterator[int]:
    """A port without a listener, which the system gives to no other process while it is held.

    A server that names it, with SO_REUSEADDR as usual, may still listen on it (Linux: socket(7)).
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
