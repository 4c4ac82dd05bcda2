"""`POST …/warm` on the whole deployment: who meets which environment."""

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
async def test_as_many_environments_are_ready_as_were_asked_for(environments: int) -> None:
    """The function calls its own URL beside itself, and so has another environment started."""
    async with (
        ScriptedUpstream([At(50), *answer("Hello.")]) as upstream,
        Deployment(upstream=upstream.base_url, environment=CALM_ENVIRONMENT) as deployment,
        httpx2.AsyncClient(base_url=deployment.base_url, headers=HEADERS, timeout=60) as client,
    ):
        assert deployment.function is not None
        # A turn first, so that no import takes the time of the request beside it.
        await client.post("/chat/completions", json=chat(stream=True))
        response = await client.post("/warm", params={"environments": environments})
        assert response.status_code == 200
        assert len(deployment.function.environments) == environments
        # On a busy machine it takes longer to start than the answer may take.
        while not all(one.idle for one in deployment.function.environments):
            await asyncio.sleep(0.01)
        turns = [client.post("/chat/completions", json=chat(stream=True)) for _ in range(2)]
        for turn in await asyncio.gather(*turns):
            assert b"Hello." in turn.content
        assert len(deployment.function.environments) == 2


async def test_the_name_in_a_request_is_not_called() -> None:
    """The environment beside it is reached by the server's own address, whatever Host says."""
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
