"""A Runtime API that stands still until a test scripts it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.runtime_api import FakeRuntimeApi


@pytest.fixture
async def api() -> AsyncIterator[FakeRuntimeApi]:
    async with FakeRuntimeApi() as fake:
        yield fake
