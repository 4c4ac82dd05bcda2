"""The same packages, wired the usual way: what vendors' examples show.

Everything is imported and made at the top; each chunk is parsed into the SDK's model and dumped
again; the answer is a StreamingResponse, which Mangum collects. It knows nothing of this project.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from mangum import Mangum
from openai import AsyncOpenAI

logger = Logger()
metrics = Metrics(namespace="Usual")
secrets = boto3.client("secretsmanager", region_name="us-east-1")
client = AsyncOpenAI(
    base_url=os.environ.get("UPSTREAM", "https://api.openai.com/v1"), api_key="upstream-key"
)
app = FastAPI()


@app.post("/v1/chat/completions")
async def chat_completions(request: Request) -> StreamingResponse:
    """Relays one completion."""
    body: dict[str, Any] = await request.json()

    async def events() -> AsyncIterator[str]:
        async for chunk in await client.chat.completions.create(**body):
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


handler = Mangum(app)
