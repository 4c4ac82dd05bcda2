"""Starlette behind Mangum, with a lifespan and compression, as its documentation shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mangum import Mangum
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, str]]:
    yield {"greeting": "hello"}


async def json(request: Request) -> Response:
    return JSONResponse({"q": request.query_params["q"]})


async def stream(_request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        for i in range(3):
            yield f"data: {i}\n\n"

    return StreamingResponse(parts(), media_type="text/event-stream")


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


async def cookies(_request: Request) -> Response:
    response = JSONResponse("baked")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def elsewhere(_request: Request) -> Response:
    return RedirectResponse("/json")


async def broken(_request: Request) -> Response:
    raise ValueError("the key is sk-1")


app = Starlette(
    routes=[
        Route("/json", json),
        Route("/stream", stream),
        Route("/echo", echo, methods=["POST"]),
        Route("/cookies", cookies),
        Route("/elsewhere", elsewhere),
        Route("/broken", broken),
    ],
    middleware=[Middleware(GZipMiddleware)],
    lifespan=lifespan,
)
handler = Mangum(app)
