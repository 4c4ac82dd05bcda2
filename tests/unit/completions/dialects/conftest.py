"""The whole app, for tests of whole requests in every dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from local.scripted.script import answer
from tests.support.deployment import calling
from tests.support.endpoint import HELLO, Endpoint, app_over, scene_for
from tests.support.in_process import PlayedUpstream
from tests.support.ways import Way


@pytest.fixture
async def endpoint(way: Way) -> AsyncIterator[Endpoint]:
    """The default deployment, without timers."""
    upstream = PlayedUpstream(scene_for(way, answer(HELLO)))
    async with calling(app_over(upstream)) as client:
        yield Endpoint(way, client, upstream)
