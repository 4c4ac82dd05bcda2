"""One cached secret: read late, kept for a while, renewed beside the work, bridged."""

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


async def test_a_secret_is_kept(cache: SecretCache, secrets: FakeSecrets, clock: FakeClock) -> None:
    """Within the TTL nothing is read again."""
    for _ in range(3):
        assert await served_key(cache) == UPSTREAM_KEY
        clock.now += TTL_S / 4
    assert len(secrets.reads) == 1


async def test_an_expired_secret_is_served_while_it_is_renewed(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """After the TTL no turn waits: the old value serves until the new one has been read."""
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


async def test_an_answer_is_as_old_as_its_question(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """A value whose read took a freeze is expired when it arrives."""
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
    """However many turns begin at once, the secret is read once."""
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(cache.get() for _ in range(20)))
    assert len(secrets.reads) == 1


async def test_a_hang_up_does_not_cancel_the_read(cache: SecretCache, secrets: FakeSecrets) -> None:
    """Of two turns that wait for one read, the one that is cancelled leaves the other alone."""
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


# -- read anew


async def test_a_newer_value_is_found_by_one_read(cache: SecretCache, secrets: FakeSecrets) -> None:
    """Where it is not the one that was wanted, nothing is returned."""
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


async def test_many_who_want_news_share_the_reads(cache: SecretCache, secrets: FakeSecrets) -> None:
    """One read answers all who ask before it begins, and those who may not start one join it."""
    await cache.get()
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    async with asyncio.timeout(LIMIT_S):
        found = await asyncio.gather(
            cache.read_until(changed),
            *(cache.read_until(changed, may_start=lambda: False) for _ in range(4)),
        )
    assert all(found)
    assert len(secrets.reads) == 2


async def test_nobody_reads_who_may_not(cache: SecretCache, secrets: FakeSecrets) -> None:
    """Where no read may be started and none is under way, there is no news."""
    assert await cache.read_until(changed, may_start=lambda: False) is None
    assert secrets.reads == []


async def test_a_read_older_than_the_rotation_is_not_the_last_word(clock: FakeClock) -> None:
    """Whoever joins a read that began before the rotation waits for one that begins after it."""
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
    """Between a read's end and its callback, whoever wants news starts a read of their own."""
    stale = await cache.get()

    async def ended() -> CachedSecret:
        return stale

    cache.reading = asyncio.create_task(ended())
    await cache.reading
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    assert await cache.read_until(changed)


async def test_a_frozen_read_is_waited_for_by_nobody_new(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """After a freeze another one is begun beside it, and what that one brings counts."""
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


async def test_a_clock_set_back_makes_nothing_new(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """What was read in what is now the future counts as old, and so does what failed then."""
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
    """Its warning is due again, and what was read before it is not taken for the latest news."""
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
    """While Secrets Manager is down it is asked every ten seconds, not by each turn anew."""
    await cache.get()
    secrets.failure = OUTAGE
    clock.now += TTL_S
    for _ in range(20):
        await served_key(cache)
        clock.now += 1
    assert len(secrets.reads) == 1 + 2


async def test_a_failed_first_read_is_tried_again_by_a_turn(
    cache: SecretCache, secrets: FakeSecrets
) -> None:
    """A prefetch waits after a failure; a turn, which has nothing to serve instead, does not."""
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
    """Neither the value nor a failure counts any more."""
    await cache.get()
    secrets.failure = OUTAGE
    assert await cache.read_until(changed) is None
    secrets.failure = None
    cache.forget()
    assert cache.may_retry()
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    assert await served_key(cache) == "newer"


async def test_forget_outruns_a_read_under_way(cache: SecretCache, secrets: FakeSecrets) -> None:
    """A read that began before the snapshot serves those who wait for it, and is not kept."""
    secrets.open.clear()
    early = asyncio.create_task(cache.get())
    await asyncio.sleep(0)
    cache.forget()
    secrets.open.set()
    await early
    assert cache.cached is None
    await served_key(cache)
    assert len(secrets.reads) == 2
