"""FastAPI behind Mangum, with the usual middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from mangum import Mangum

app = FastAPI()


@app.middleware("http")
async def stamp(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers["x-stamp"] = "1"
    return response


@app.get("/json")
async def json(q: str) -> dict[str, str]:
    return {"q": q}


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for i in range(3):
            yield f"data: {i}\n\n"

    return StreamingResponse(parts(), media_type="text/event-stream")


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


@app.get("/cookies")
def cookies(response: Response) -> str:
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return "baked"


@app.get("/elsewhere")
def elsewhere() -> RedirectResponse:
    return RedirectResponse("/json")


@app.get("/broken")
def broken() -> None:
    raise ValueError("the key is sk-1")


handler = Mangum(app)
