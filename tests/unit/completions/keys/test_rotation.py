"""A rotation under load, in one process and without AWS."""

from __future__ import annotations

import asyncio
import random

import pytest

from completions.keys.keys import Keys
from completions.keys.secret_cache import LOOK_EVERY_S
from local.scripted.upstream import ScriptedUpstream
from tests.support.clock import FakeClock
from tests.support.deployment import CALM, calling, deploy
from tests.support.logs import Logged
from tests.support.rotation import Callers, Provider
from tests.support.secrets import (
    CALLER_KEY,
    CALLER_SECRET,
    UPSTREAM_KEY,
    UPSTREAM_SECRET,
    FakeSecrets,
    aws_error,
)
from tests.unit.completions.keys.conftest import READ_S

CALLERS = 12
SHIFT = 2 * CALLERS


async def test_no_turn_fails_while_keys_are_rotated(logs: Logged) -> None:
    """All turns are answered, even once no read succeeds."""
    provider, secrets = Provider(UPSTREAM_KEY), FakeSecrets()
    async with (
        ScriptedUpstream(provider) as upstream,
        calling(deploy(upstream.base_url, secrets, **CALM)) as client,
        Callers(client, CALLERS, CALLER_KEY) as load,
    ):
        await load.more(SHIFT)
        reads = len(secrets.reads)
        secrets.put(UPSTREAM_SECRET, {"upstream": "model-2"})
        provider.accepts = {"model-2"}
        await load.more(SHIFT)
        assert provider.refused
        assert len(secrets.reads) == reads + 1, "only one of the refused turns reads"
        secrets.put(CALLER_SECRET, {"key": "caller-2"})
        load.keys = (CALLER_KEY, "caller-2")
        await load.more(SHIFT)
        secrets.failure = aws_error("InternalServiceError")
        await load.more(SHIFT)
    assert load.failed == []
    assert "auth.refused" not in logs.text
    turns = logs.events("turn.finished")
    assert len(turns) == load.turns
    assert {turn["outcome"] for turn in turns} == {"ok"}
    assert {turn["upstream_requests"] for turn in turns} == {1}, (
        "a request with a refused key does not count"
    )


@pytest.mark.looptime
@pytest.mark.usefixtures("timed_reads")
async def test_wrong_keys_do_not_affect_valid_ones(clock: FakeClock) -> None:
    """With ten wrong keys a second, two rotations refuse no valid key, and waits stay short."""
    loop, secrets, draw = asyncio.get_running_loop(), FakeSecrets(), random.Random(8)
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=300, connect=secrets.connect, clock=clock)
    good, asked = [CALLER_KEY], 0
    refused: list[str] = []
    waits = [0.0]

    async def call(key: str, *, stranger: bool) -> None:
        began = loop.time()
        version = await keys.caller_key_version(key)
        assert not (stranger and version)
        if not stranger:
            waits.append(loop.time() - began)
            refused.extend([] if version else [key])

    async with asyncio.TaskGroup() as calls:
        for tick in range(6000):
            if tick in {2033, 4077}:
                secrets.put(CALLER_SECRET, {"key": f"newer-{tick}"})
                good = [*good[-1:], f"newer-{tick}"]
            for _ in range(2):
                calls.create_task(call(draw.choice(good), stranger=False))
                asked += 1
            if tick % 10 == 0:
                calls.create_task(call(f"wrong-{tick}", stranger=True))
            clock.now += 0.01
            await asyncio.sleep(0.01)
    assert (len(refused), asked) == (0, 12_000)
    assert max(waits) < LOOK_EVERY_S + 4 * READ_S
    assert secrets.reads.count(CALLER_SECRET) <= 60 / LOOK_EVERY_S + 2


async def test_a_key_that_the_upstream_refuses_is_a_502() -> None:
    """If the secret holds no other key, the turn fails at once and names the command that helps."""
    provider = Provider("another")
    async with (
        ScriptedUpstream(provider) as upstream,
        calling(deploy(upstream.base_url, **CALM)) as client,
        Callers(client, 1, CALLER_KEY) as load,
    ):
        await load.more(1)
    assert provider.refused == load.turns
    assert all(one.startswith("502") and "make upstream-key" in one for one in load.failed)
