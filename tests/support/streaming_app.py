"""An ordinary FastAPI application behind Mangum, unaware of the layer.

The tests run it unchanged, once under Mangum alone and once under the layer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from mangum import Mangum

app = FastAPI()


@app.get("/sse")
async def sse(n: int) -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        for i in range(n):
            yield f"data: {i}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@app.get("/gated")
async def gated() -> StreamingResponse:
    """Say "first", and "second" only after the test allows it."""

    async def parts() -> AsyncIterator[str]:
        yield "first"
        host, _, port = os.environ["GATE"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await reader.readexactly(1)
        writer.close()
        yield "second"

    return StreamingResponse(parts(), media_type="text/plain")


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


@app.get("/json")
async def json(request: Request) -> dict[str, Any]:
    return {"query": str(request.url.query), "agent": request.headers.get("user-agent")}


@app.get("/cookies")
async def cookies(response: Response) -> str:
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    response.headers.append("x-a", "1")
    return "baked"


@app.get("/elsewhere")
async def elsewhere() -> RedirectResponse:
    return RedirectResponse("/json")


@app.get("/broken")
async def broken() -> None:
    raise ValueError("the key is sk-1")


@app.get("/cut")
async def cut() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        yield "half"
        raise ValueError("the key is sk-1")

    return StreamingResponse(parts(), media_type="text/plain")


handler = Mangum(app, lifespan="off")
