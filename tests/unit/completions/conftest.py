"""What tests of several rooms share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from completions.race import waits
from local.scripted.script import answer
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM, calling, deploy
from tests.support.secrets import FakeSecrets
from tests.support.ways import WAYS, Way


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """Each way to have a turn."""
    found: Way = request.param
    return found


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A model that always answers."""
    async with ScriptedUpstream(answer("Hello there.")) as upstream:
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


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries are exact, so that a turn's time line is."""
    monkeypatch.setattr(waits, "JITTER", 0.0)
