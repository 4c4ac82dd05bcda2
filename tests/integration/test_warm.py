"""`POST …/warm` on the whole deployment."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from local.deployment import Deployment
from local.options import CALLER_KEY
from local.scripted.script import At, answer
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM_ENVIRONMENT, chat

HEADERS = {"x-api-key": CALLER_KEY}


@pytest.mark.parametrize("environments", [1, 2])
async def test_the_requested_number_of_environments_is_ready(environments: int) -> None:
    """The function calls its own URL, so that another environment starts."""
    async with (
        ScriptedUpstream([At(50), *answer("Hello.")]) as upstream,
        Deployment(upstream=upstream.base_url, environment=CALM_ENVIRONMENT) as deployment,
        httpx2.AsyncClient(base_url=deployment.base_url, headers=HEADERS, timeout=60) as client,
    ):
        assert deployment.function is not None
        # A turn first, so that imports do not slow the request to itself.
        await client.post("/chat/completions", json=chat(stream=True))
        response = await client.post("/warm", params={"environments": environments})
        assert response.status_code == 200
        assert len(deployment.function.environments) == environments
        # On a busy machine the start takes longer than the answer may.
        while not all(one.idle for one in deployment.function.environments):
            await asyncio.sleep(0.01)
        turns = [client.post("/chat/completions", json=chat(stream=True)) for _ in range(2)]
        for turn in await asyncio.gather(*turns):
            assert b"Hello." in turn.content
        assert len(deployment.function.environments) == 2


async def test_the_host_header_is_not_called() -> None:
    """The function calls the server's own address, whatever the Host header says."""
    async with (
        ScriptedUpstream() as upstream,
        Deployment(upstream=upstream.base_url, environment=CALM_ENVIRONMENT) as deployment,
        httpx2.AsyncClient(base_url=deployment.base_url, headers=HEADERS, timeout=60) as client,
    ):
        assert deployment.function is not None
        await client.post("/chat/completions", json=chat())
        headers = {"host": "evil.example"}
        await client.post("/warm", params={"environments": 2}, headers=headers)
        assert len(deployment.function.environments) == 2
