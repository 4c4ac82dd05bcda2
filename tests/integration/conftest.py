"""What holds for every test that starts processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from local import environment, function
from tests.support.layer import UnpackedLayer
from tests.support.runtime_api import FakeRuntimeApi


@pytest.fixture(scope="session", autouse=True)
def unhurried() -> Iterator[None]:
    """A process may take as long as a busy machine needs, to start and to finish."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "INIT_LIMIT_S", 120)
        patch.setattr(function, "FINISHING_GRACE_S", 60)
        yield


@pytest.fixture
async def api() -> AsyncIterator[FakeRuntimeApi]:
    """A fake Runtime API."""
    async with FakeRuntimeApi() as fake:
        yield fake


@pytest.fixture
async def layer(tmp_path: Path) -> AsyncIterator[UnpackedLayer]:
    """The layer, unpacked as Lambda does."""
    unpacked = UnpackedLayer(tmp_path)
    yield unpacked
    await unpacked.end()
