"""Secrets Manager in memory, and a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.secrets import FakeSecrets

READ_S = 0.05
"""How long a read takes in virtual time."""


@pytest.fixture
def timed_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reads take virtual time: a thread's own would be none, or all of it."""

    async def read(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(READ_S / 2)
        try:
            return function(*args, **kwargs)
        finally:
            await asyncio.sleep(READ_S / 2)

    monkeypatch.setattr(asyncio, "to_thread", read)


@pytest.fixture
def clock() -> FakeClock:
    """The wall clock of this test."""
    return FakeClock()


@pytest.fixture
def secrets() -> FakeSecrets:
    """Secrets Manager, with both secrets."""
    return FakeSecrets()
