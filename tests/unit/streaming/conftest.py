"""A Runtime API that a test scripts, and environments that poll it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambda_streaming.invocations import RuntimeLoop
from lambda_streaming.runtime_api import RuntimeApi
from tests.support.invocations import Serve
from tests.support.runtime_api import FakeRuntimeApi


@pytest.fixture
async def api() -> AsyncIterator[FakeRuntimeApi]:
    async with FakeRuntimeApi() as fake:
        yield fake


@pytest.fixture
async def serve(api: FakeRuntimeApi) -> AsyncIterator[Serve]:
    """Start an environment, which is shut down when the test ends."""
    tasks: list[asyncio.Task[None]] = []

    async def start(handler: Any, concurrency: int = 1) -> RuntimeLoop:
        loop = RuntimeLoop(RuntimeApi(api.address), handler, concurrency)
        await loop.startup()
        tasks.append(asyncio.create_task(loop.serve()))
        return loop

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
