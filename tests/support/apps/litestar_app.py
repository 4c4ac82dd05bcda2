"""Litestar behind Mangum, a framework without Starlette."""

from __future__ import annotations

from collections.abc import AsyncIterator

from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.response import Redirect, Stream
from mangum import Mangum


@get("/json")
async def json(q: str) -> dict[str, str]:
    return {"q": q}


@get("/stream")
async def stream() -> Stream:
    async def parts() -> AsyncIterator[str]:
        for i in range(3):
            yield f"data: {i}\n\n"

    return Stream(parts(), media_type="text/event-stream")


@post("/echo", status_code=200)
async def echo(request: Request) -> Response[bytes]:
    return Response(await request.body(), media_type="application/octet-stream")


@get("/cookies")
async def cookies() -> Response[str]:
    return Response("baked", cookies=[Cookie("a", "1"), Cookie("b", "2")])


@get("/elsewhere")
async def elsewhere() -> Redirect:
    return Redirect("/json")


@get("/broken")
async def broken() -> None:
    raise ValueError("the key is sk-1")


app = Litestar([json, stream, echo, cookies, elsewhere, broken])
handler = Mangum(app)
