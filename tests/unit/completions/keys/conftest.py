"""Secrets Manager in memory, a clock that stands still, and keys and a cache over both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from completions.keys import keys as keys_module
from completions.keys.keys import Keys
from completions.keys.secret_cache import SecretCache
from completions.keys.secret_reader import CachedSecret, SecretReader
from completions.keys.secrets_manager import SecretsManager
from tests.support.clock import FakeClock
from tests.support.secrets import (
    CALLER_SECRET,
    UPSTREAM_KEY,
    UPSTREAM_SECRET,
    FakeSecrets,
    aws_error,
)

LIMIT_S = 20
TTL_S = 300
OUTAGE = aws_error("InternalServiceError")
REMEDY = "put a better one into it"
READ_S = 0.05
"""How long a read takes in virtual time."""


@pytest.fixture
def timed_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reads take virtual time, which a thread's work does not."""

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


def new_keys(secrets: FakeSecrets, clock: FakeClock) -> Keys:
    return Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=TTL_S, connect=secrets.connect, clock=clock)


@pytest.fixture
async def keys(
    secrets: FakeSecrets, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Keys]:
    """The keys of an environment; a busy machine cuts no read short."""
    monkeypatch.setattr(keys_module, "READS_WAIT_LIMIT_S", LIMIT_S)
    keys = new_keys(secrets, clock)
    yield keys
    secrets.open.set()
    await keys.wait_for_reads()


def new_cache(
    secrets: FakeSecrets,
    clock: FakeClock,
    name: str = UPSTREAM_SECRET,
    *,
    with_previous: bool = False,
) -> SecretCache:
    reader = SecretReader(
        name,
        field="upstream",
        remedy=REMEDY,
        with_previous=with_previous,
        manager=SecretsManager(secrets.connect),
        clock=clock,
    )
    return SecretCache(reader, ttl_s=TTL_S, clock=clock)


async def finish_read(cache: SecretCache) -> None:
    while cache.reading:
        await asyncio.wait({cache.reading})


@pytest.fixture
async def cache(secrets: FakeSecrets, clock: FakeClock) -> AsyncIterator[SecretCache]:
    """The upstream's secret."""
    cache = new_cache(secrets, clock)
    yield cache
    secrets.open.set()
    await finish_read(cache)


async def served_key(cache: SecretCache) -> str:
    """Return the key that a turn gets, once the read that it started has ended."""
    secret = await cache.get()
    await finish_read(cache)
    return secret.current["upstream"]


def changed(secret: CachedSecret) -> bool:
    return secret.current["upstream"] != UPSTREAM_KEY
