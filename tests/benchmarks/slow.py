"""The vendor's shape, 300 ms late: the benchmarks' tests use it as ours, to see a missed limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from tests.benchmarks.vendor import app

LATE_S = 0.3


@app.middleware("http")
async def late(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Waits first."""
    await asyncio.sleep(LATE_S)
    return await call_next(request)
