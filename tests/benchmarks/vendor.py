"""The server in vendors' documentation: FastAPI, the OpenAI SDK, chunk by chunk.

Each chunk is parsed into the SDK's model and serialised again. It has no key check and no log.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=os.environ["UPSTREAM"], api_key="upstream-key")
app = FastAPI()


@app.post("/v1/chat/completions")
async def chat_completions(request: Request) -> StreamingResponse:
    """Relay one completion."""
    body: dict[str, Any] = await request.json()

    async def events() -> AsyncIterator[str]:
        async for chunk in await client.chat.completions.create(**body):
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
