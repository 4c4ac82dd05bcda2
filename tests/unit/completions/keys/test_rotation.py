"""A rotation under load, in one process and without AWS."""

from __future__ import annotations

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
from tests.support.upstream import ScriptedUpstream

CALLERS = 12
SHIFT = 2 * CALLERS


async def test_no_turn_fails_while_keys_are_rotated(logs: Logged) -> None:
    """The upstream's key changes, then the caller's, then no read succeeds: all are answered."""
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
        assert len(secrets.reads) == reads + 1, "of all turns that were refused, one reads"
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
    assert {turn["upstream_requests"] for turn in turns} == {1}, "a refused key is no attempt"


async def test_a_key_that_nobody_takes_is_a_502() -> None:
    """When the secret holds no other key the turn fails at once, and says which command helps."""
    provider = Provider("another")
    async with (
        ScriptedUpstream(provider) as upstream,
        calling(deploy(upstream.base_url, **CALM)) as client,
        Callers(client, 1, CALLER_KEY) as load,
    ):
        await load.more(1)
    assert provider.refused == load.turns
    assert all(one.startswith("502") and "make upstream-key" in one for one in load.failed)
