"""The same packages, wired as usual for Lambda: `vendor.py` with Mangum and the key.

Everything is imported and created at the top, as in examples; the first request reads the key.
Mangum collects the answer. It is independent of this project.
"""

from __future__ import annotations

import functools
import json
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
secrets = boto3.client("secretsmanager", region_name=os.environ.get("AWS_REGION", "us-east-1"))
app = FastAPI()


@functools.cache
def client() -> AsyncOpenAI:
    """Return the SDK's client, with the key from Secrets Manager."""
    name = os.environ["COMPLETIONS_UPSTREAM_KEY_SECRET"]
    value = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    base_url = os.environ["COMPLETIONS_UPSTREAM_BASE_URL"]
    return AsyncOpenAI(base_url=base_url, api_key=value["upstream"])


@app.post("/v1/chat/completions")
async def chat_completions(request: Request) -> StreamingResponse:
    """Relay one completion."""
    body: dict[str, Any] = await request.json()

    async def events() -> AsyncIterator[str]:
        async for chunk in await client().chat.completions.create(**body):
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


handler = Mangum(app, lifespan="off")
