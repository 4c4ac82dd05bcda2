"""The HTTP library of the SDK: `httpx2`, or `httpx` where a framework pins an older SDK."""

from __future__ import annotations

import importlib
from typing import Any

from openai import AsyncOpenAI, DefaultAsyncHttpxClient

httpx: Any = importlib.import_module(
    DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
)


def client_of(data: bytes) -> AsyncOpenAI:
    """Return a client whose every request is answered with this event stream."""
    headers = {"content-type": "text/event-stream"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, content=data))
    return AsyncOpenAI(
        api_key="k",
        base_url="http://127.0.0.1/v1",
        max_retries=0,
        http_client=httpx.AsyncClient(transport=transport),
    )
