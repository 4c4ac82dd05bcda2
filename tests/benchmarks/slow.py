"""The vendor's server, 300 ms late, which the benchmarks' tests use to miss a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from tests.benchmarks.vendor import app

LATE_S = 0.3


@app.middleware("http")
async def late(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer after a delay."""
    await asyncio.sleep(LATE_S)
    return await call_next(request)
