"""A deployment with its model: most of the upstream room is tested from the caller's side."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM, calling, deploy
from tests.support.secrets import FakeSecrets


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """The model."""
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def secrets() -> FakeSecrets:
    """Secrets Manager."""
    return FakeSecrets()


@pytest.fixture
async def client(
    upstream: ScriptedUpstream, secrets: FakeSecrets
) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller with the right key."""
    async with calling(deploy(upstream.base_url, secrets, **CALM)) as client:
        yield client
