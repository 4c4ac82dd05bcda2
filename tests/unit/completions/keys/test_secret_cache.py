"""One cached secret: read on first use, kept for a while, renewed in the background."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from completions.errors import KeyUnavailable
from completions.keys.secret_cache import READ_LIFE_S, SecretCache
from completions.keys.secret_reader import CachedSecret
from tests.support.clock import FakeClock
from tests.support.logs import Logged
from tests.support.secrets import UPSTREAM_KEY, UPSTREAM_SECRET, FakeSecrets
from tests.unit.completions.keys.conftest import (
    LIMIT_S,
    OUTAGE,
    TTL_S,
    changed,
    finish_read,
    new_cache,
    served_key,
)

# -- when it is read


async def test_nothing_is_read_before_the_first_use(
    cache: SecretCache, secrets: FakeSecrets
) -> None:
    """Making a cache makes no client and reads no secret."""
    assert (secrets.connects, secrets.reads) == (0, [])
    assert await served_key(cache) == UPSTREAM_KEY
    assert secrets.reads == [UPSTREAM_SECRET]


async def test_a_secret_is_kept_for_its_ttl(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """Within the TTL it is not read again."""
    for _ in range(3):
        assert await served_key(cache) == UPSTREAM_KEY
        clock.now += TTL_S / 4
    assert len(secrets.reads) == 1


async def test_an_expired_secret_is_served_while_it_is_renewed(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """No turn waits: the old value serves until the new one has been read."""
    await cache.get()
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    clock.now += TTL_S
    secrets.open.clear()
    async with asyncio.timeout(LIMIT_S):
        assert (await cache.get()).current["upstream"] == UPSTREAM_KEY
    secrets.open.set()
    await finish_read(cache)
    assert await served_key(cache) == "newer"
    assert len(secrets.reads) == 2


async def test_a_value_is_as_old_as_its_request(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """A value whose read outlasted a freeze is expired when it arrives."""
    secrets.open.clear()
    asking = asyncio.create_task(cache.get())
    async with asyncio.timeout(LIMIT_S):
        while not secrets.reads:
            await asyncio.sleep(0.001)
    clock.now += TTL_S
    secrets.open.set()
    await asking
    await served_key(cache)
    assert len(secrets.reads) == 2


async def test_concurrent_turns_share_one_read(cache: SecretCache, secrets: FakeSecrets) -> None:
    """Any number of turns that begin at once cause one read."""
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(cache.get() for _ in range(20)))
    assert len(secrets.reads) == 1


async def test_a_hang_up_does_not_cancel_the_read(cache: SecretCache, secrets: FakeSecrets) -> None:
    """Of two turns that wait for one read, cancelling one leaves the other alone."""
    secrets.open.clear()
    first, second = (asyncio.create_task(cache.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    secrets.open.set()
    async with asyncio.timeout(LIMIT_S):
        assert (await second).current["upstream"] == UPSTREAM_KEY
    assert len(secrets.reads) == 1


# -- looking for a newer value


async def test_a_newer_value_is_found_by_one_read(cache: SecretCache, secrets: FakeSecrets) -> None:
    """If the value is not the wanted one, nothing is returned."""
    await cache.get()
    assert await cache.read_until(changed) is None
    assert len(secrets.reads) == 2
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    secret = await cache.read_until(changed)
    assert secret is not None
    assert secret.current == {"upstream": "newer"}
    assert cache.cached == secret
    secrets.failure = OUTAGE
    assert await cache.read_until(changed) is None


async def test_callers_who_look_share_the_reads(cache: SecretCache, secrets: FakeSecrets) -> None:
    """One read serves all who ask before it begins, and those who may not start one join it."""
    await cache.get()
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    async with asyncio.timeout(LIMIT_S):
        found = await asyncio.gather(
            cache.read_until(changed),
            *(cache.read_until(changed, may_start=lambda: False) for _ in range(4)),
        )
    assert all(found)
    assert len(secrets.reads) == 2


async def test_a_caller_who_may_not_start_a_read_gets_none(
    cache: SecretCache, secrets: FakeSecrets
) -> None:
    """No read is started, and none is under way to join."""
    assert await cache.read_until(changed, may_start=lambda: False) is None
    assert secrets.reads == []


async def test_a_read_older_than_the_rotation_does_not_decide(clock: FakeClock) -> None:
    """Callers who join it wait for one that begins after the rotation."""
    taken, answered = threading.Event(), threading.Event()

    class Late(FakeSecrets):
        def get_secret_value(self, **kwargs: str) -> Any:
            answer = super().get_secret_value(**kwargs)
            taken.set()
            assert answered.wait(LIMIT_S)
            return answer

    secrets = Late()
    cache = new_cache(secrets, clock)
    early = asyncio.create_task(cache.get())
    assert await asyncio.to_thread(taken.wait, LIMIT_S)
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    waiting = [asyncio.create_task(cache.read_until(changed)) for _ in range(5)]
    await asyncio.sleep(0)
    answered.set()
    async with asyncio.timeout(LIMIT_S):
        assert all(await asyncio.gather(*waiting))
        assert (await early).current["upstream"] == UPSTREAM_KEY
    assert len(secrets.reads) == 2


async def test_a_read_that_has_ended_is_not_joined(
    cache: SecretCache, secrets: FakeSecrets
) -> None:
    """Between a read's end and its callback, a caller starts a new one."""
    stale = await cache.get()

    async def ended() -> CachedSecret:
        return stale

    cache.reading = asyncio.create_task(ended())
    await cache.reading
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    assert await cache.read_until(changed)


async def test_a_frozen_read_is_not_joined(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """After a freeze another read begins, and its value counts."""
    secrets.open.clear()
    before = asyncio.create_task(cache.get())
    while not secrets.reads:
        await asyncio.sleep(0.001)
    clock.now += READ_LIFE_S
    after = asyncio.create_task(cache.get())
    while len(secrets.reads) < 2:
        await asyncio.sleep(0.001)
    secrets.open.set()
    for asking in (before, after):
        assert (await asking).current["upstream"] == UPSTREAM_KEY
    await finish_read(cache)
    assert cache.cached is not None
    assert cache.cached.number == 2


async def test_a_clock_set_back_makes_values_old(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """A read or failure that is now in the future counts as old."""
    await cache.get()
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    clock.now -= 3600
    await served_key(cache)
    assert await served_key(cache) == "newer"
    secrets.failure = OUTAGE
    clock.now += TTL_S
    assert await served_key(cache) == "newer"
    assert not cache.may_retry()
    clock.now -= 3600
    assert cache.may_retry()


@pytest.mark.looptime
@pytest.mark.usefixtures("timed_reads")
async def test_a_clock_set_back_does_not_hide_an_outage(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock, logs: Logged
) -> None:
    """The warning is repeated, and an earlier value does not pass as the latest."""
    await cache.get()
    secrets.failure = OUTAGE
    for _ in range(2):
        since = cache.reads_begun
        clock.now -= 3600
        assert await cache.look(changed, since=since) is None
    assert len(logs.events("key.bridged")) == 2


async def test_a_failed_renewal_is_not_repeated_by_every_turn(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """While Secrets Manager is down, it is asked every ten seconds, not in each turn."""
    await cache.get()
    secrets.failure = OUTAGE
    clock.now += TTL_S
    for _ in range(20):
        await served_key(cache)
        clock.now += 1
    assert len(secrets.reads) == 1 + 2


async def test_a_turn_repeats_a_failed_first_read(cache: SecretCache, secrets: FakeSecrets) -> None:
    """A prefetch waits after a failure; a turn, which has nothing else to serve, does not."""
    secrets.failure = OUTAGE
    for _ in range(20):
        cache.prefetch()
        await finish_read(cache)
    assert len(secrets.reads) == 1
    with pytest.raises(KeyUnavailable):
        await cache.get()
    secrets.failure = None
    assert await served_key(cache) == UPSTREAM_KEY


# -- after a restore from a snapshot


async def test_forget_drops_what_was_read(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """This applies to the value and to a failure."""
    await cache.get()
    secrets.failure = OUTAGE
    assert await cache.read_until(changed) is None
    secrets.failure = None
    cache.forget()
    assert cache.may_retry()
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    assert await served_key(cache) == "newer"


async def test_forget_discards_a_read_under_way(cache: SecretCache, secrets: FakeSecrets) -> None:
    """It still serves the turns that wait for it, but is not kept."""
    secrets.open.clear()
    early = asyncio.create_task(cache.get())
    await asyncio.sleep(0)
    cache.forget()
    secrets.open.set()
    await early
    assert cache.cached is None
    await served_key(cache)
    assert len(secrets.reads) == 2
