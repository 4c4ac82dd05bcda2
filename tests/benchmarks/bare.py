"""Our relay without the turn: the SDK's raw stream, handed on as bytes.

What the turn adds to it is what the turn costs.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI, AsyncStream

client = AsyncOpenAI(base_url=os.environ["UPSTREAM"], api_key="upstream-key", max_retries=0)
app = FastAPI()


@app.post("/v1/chat/completions")
async def chat_completions(request: Request) -> StreamingResponse:
    """Relays one completion."""
    body = await request.body()

    async def pieces() -> AsyncIterator[bytes]:
        response: Any = await client.post(
            "/chat/completions",
            cast_to=httpx2.Response,
            content=body,
            options={
                "headers": {"content-type": "application/json", "accept-encoding": "identity"}
            },
            stream=True,
            stream_cls=AsyncStream,
        )
        async for piece in response.aiter_raw():
            yield piece

    return StreamingResponse(pieces(), media_type="text/event-stream")
