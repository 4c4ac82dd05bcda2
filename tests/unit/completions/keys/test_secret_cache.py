"""One cached secret: read late, kept for a while, renewed beside the work, bridged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from completions.errors import KeyUnavailable
from completions.keys.secret_cache import READ_LIFE_S, RETRY_AFTER_S, SecretCache
from completions.keys.secret_reader import CachedSecret, SecretReader
from completions.keys.secrets_manager import NOT_FOUND, SecretsManager
from tests.support.clock import FakeClock
from tests.support.logs import Logged
from tests.support.secrets import UPSTREAM_KEY, UPSTREAM_SECRET, FakeSecrets, aws_error

LIMIT_S = 20
TTL_S = 300
REMEDY = "put a better one into it"
OUTAGE = aws_error("InternalServiceError")


def _cache(
    secrets: FakeSecrets,
    clock: FakeClock,
    name: str = UPSTREAM_SECRET,
    *,
    with_previous: bool = False,
) -> SecretCache:
    reader = SecretReader(
        name,
        field="upstream",
        remedy=REMEDY,
        with_previous=with_previous,
        manager=SecretsManager(secrets.connect),
        clock=clock,
    )
    return SecretCache(reader, ttl_s=TTL_S, clock=clock)


async def _finish_read(cache: SecretCache) -> None:
    while cache.reading:
        await asyncio.wait({cache.reading})


@pytest.fixture
async def cache(secrets: FakeSecrets, clock: FakeClock) -> AsyncIterator[SecretCache]:
    """The upstream's secret."""
    cache = _cache(secrets, clock)
    yield cache
    secrets.open.set()
    await _finish_read(cache)


async def _key(cache: SecretCache) -> str:
    """What a turn gets, once everything that it started has ended."""
    secret = await cache.get()
    await _finish_read(cache)
    return secret.current["upstream"]


# -- when it is read


async def test_nothing_is_read_before_the_first_use(
    cache: SecretCache, secrets: FakeSecrets
) -> None:
    """Making a cache makes no client and reads no secret."""
    assert (secrets.connects, secrets.reads) == (0, [])
    assert await _key(cache) == UPSTREAM_KEY
    assert secrets.reads == [UPSTREAM_SECRET]


async def test_a_secret_is_kept(cache: SecretCache, secrets: FakeSecrets, clock: FakeClock) -> None:
    """Within the TTL nothing is read again."""
    for _ in range(3):
        assert await _key(cache) == UPSTREAM_KEY
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
    await _finish_read(cache)
    assert await _key(cache) == "newer"
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
    await _key(cache)
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


def _changed(secret: CachedSecret) -> bool:
    return secret.current["upstream"] != UPSTREAM_KEY


async def test_a_newer_value_is_found_by_one_read(cache: SecretCache, secrets: FakeSecrets) -> None:
    """Where it is not the one that was wanted, nothing is returned."""
    await cache.get()
    assert await cache.read_until(_changed) is None
    assert len(secrets.reads) == 2
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    secret = await cache.read_until(_changed)
    assert secret is not None
    assert secret.current == {"upstream": "newer"}
    assert cache.cached == secret
    secrets.failure = OUTAGE
    assert await cache.read_until(_changed) is None


async def test_many_who_want_news_share_the_reads(cache: SecretCache, secrets: FakeSecrets) -> None:
    """One read answers all who ask before it begins, and those who may not start one join it."""
    await cache.get()
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    async with asyncio.timeout(LIMIT_S):
        found = await asyncio.gather(
            cache.read_until(_changed),
            *(cache.read_until(_changed, may_start=lambda: False) for _ in range(4)),
        )
    assert all(found)
    assert len(secrets.reads) == 2


async def test_nobody_reads_who_may_not(cache: SecretCache, secrets: FakeSecrets) -> None:
    """Where no read may be started and none is under way, there is no news."""
    assert await cache.read_until(_changed, may_start=lambda: False) is None
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
    cache = _cache(secrets, clock)
    early = asyncio.create_task(cache.get())
    assert await asyncio.to_thread(taken.wait, LIMIT_S)
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    waiting = [asyncio.create_task(cache.read_until(_changed)) for _ in range(5)]
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
    assert await cache.read_until(_changed)


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
    await _finish_read(cache)
    assert cache.cached is not None
    assert cache.cached.number == 2


async def test_a_clock_set_back_makes_nothing_new(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """What was read in what is now the future counts as old, and so does what failed then."""
    await cache.get()
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    clock.now -= 3600
    await _key(cache)
    assert await _key(cache) == "newer"
    secrets.failure = OUTAGE
    clock.now += TTL_S
    assert await _key(cache) == "newer"
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
        assert await cache.look(_changed, since=since) is None
    assert len(logs.events("key.bridged")) == 2


# -- outages


@pytest.mark.parametrize("code", ["InternalServiceError", "AccessDeniedException", NOT_FOUND])
async def test_what_was_known_bridges_an_outage(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock, logs: Logged, code: str
) -> None:
    """Whatever takes a secret away, its last value serves; a warning says so, no error."""
    await cache.get()
    clock.now += TTL_S
    secrets.failure = aws_error(code)
    for _ in range(2):
        assert await _key(cache) == UPSTREAM_KEY
    event = logs.event("key.bridged")
    assert (event["secret"], event["reason"]) == (UPSTREAM_SECRET, code)
    assert event["level"] == "WARNING"
    assert event["hint"]
    assert "ERROR" not in logs.text
    secrets.failure = None
    clock.now += RETRY_AFTER_S
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    await _key(cache)
    assert await _key(cache) == "newer"


async def test_an_outage_is_told_of_once_a_minute(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock, logs: Logged
) -> None:
    """However many turns an outage meets, the log is not flooded, nor does it fall silent."""
    await cache.get()
    secrets.failure = OUTAGE
    clock.now += TTL_S
    for _ in range(121):
        await _key(cache)
        clock.now += 1
    assert len(logs.events("key.bridged")) == 3


async def test_a_failed_renewal_is_not_repeated_by_every_turn(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """While Secrets Manager is down it is asked every ten seconds, not by each turn anew."""
    await cache.get()
    secrets.failure = OUTAGE
    clock.now += TTL_S
    for _ in range(20):
        await _key(cache)
        clock.now += 1
    assert len(secrets.reads) == 1 + 2


async def test_a_failed_first_read_is_tried_again_by_a_turn(
    cache: SecretCache, secrets: FakeSecrets
) -> None:
    """A prefetch waits after a failure; a turn, which has nothing to serve instead, does not."""
    secrets.failure = OUTAGE
    for _ in range(20):
        cache.prefetch()
        await _finish_read(cache)
    assert len(secrets.reads) == 1
    with pytest.raises(KeyUnavailable):
        await cache.get()
    secrets.failure = None
    assert await _key(cache) == UPSTREAM_KEY


@pytest.mark.parametrize(
    ("failure", "reason", "hint"),
    [
        (aws_error("AccessDeniedException"), "AccessDeniedException", "secretsmanager:"),
        (aws_error(NOT_FOUND), NOT_FOUND, REMEDY),
        (TimeoutError(), "TimeoutError", "cannot be reached"),
    ],
    ids=["denied", "empty", "timeout"],
)
async def test_a_secret_that_was_never_read_is_a_503(  # noqa: PLR0917 - fixtures
    cache: SecretCache,
    secrets: FakeSecrets,
    logs: Logged,
    failure: Exception,
    reason: str,
    hint: str,
) -> None:
    """The caller learns where to look, and the log has the reason and what to do."""
    secrets.failure = failure
    with pytest.raises(KeyUnavailable, match=r"key\.unavailable") as caught:
        await cache.get()
    assert caught.value.status == 503
    event = logs.event("key.unavailable")
    assert (event["secret"], event["reason"], event["level"]) == (UPSTREAM_SECRET, reason, "ERROR")
    assert hint in event["hint"]


async def test_a_secret_without_a_name_says_so(
    secrets: FakeSecrets, clock: FakeClock, logs: Logged
) -> None:
    """A deployment that names no secret is a 503 whose log line names both variables."""
    with pytest.raises(KeyUnavailable, match="names no secret"):
        await _cache(secrets, clock, "").get()
    hint = logs.event("key.unset")["hint"]
    assert "COMPLETIONS_CALLER_KEY_SECRET" in hint
    assert "COMPLETIONS_UPSTREAM_KEY_SECRET" in hint


# -- mistakes


@pytest.mark.parametrize("known", [True, False], ids=["known", "first read"])
@pytest.mark.parametrize("mistake", ['{"upstream": "sk-trunca', '{"Upstream": "misspelt"}', ""])
async def test_a_mistake_stored_is_no_rotation(  # noqa: PLR0917 - fixtures
    cache: SecretCache,
    secrets: FakeSecrets,
    clock: FakeClock,
    logs: Logged,
    mistake: str,
    known: bool,
) -> None:
    """A new version without a usable key leaves the last good one in use, and warns."""
    if known:
        await cache.get()
        clock.now += TTL_S
        secrets.put(UPSTREAM_SECRET, "{}")  # A mistake more, which takes the previous version away.
    secrets.put(UPSTREAM_SECRET, mistake)
    for _ in range(2):
        assert await _key(cache) == UPSTREAM_KEY
    event = logs.event("key.bridged")
    assert (event["reason"], event["hint"]) == ('the newest version has no "upstream"', REMEDY)
    assert "ERROR" not in logs.text


async def test_a_mistake_and_nothing_else_holds_no_key(
    cache: SecretCache, secrets: FakeSecrets, logs: Logged
) -> None:
    """Without any version that holds the field, the missing key is reported with what to do."""
    secrets.only(UPSTREAM_SECRET, '{"Upstream": "misspelt"}')
    assert "upstream" not in (await cache.get()).current
    error = cache.missing("upstream")
    assert error.status == 503
    assert REMEDY in error.message
    event = logs.event("key.missing")
    assert (event["field"], event["hint"], event["level"]) == ("upstream", REMEDY, "ERROR")


async def test_the_value_before_a_rotation_is_remembered(
    secrets: FakeSecrets, clock: FakeClock
) -> None:
    """Where the previous version cannot be read, it is the value that was current until now."""
    cache = _cache(secrets, clock, with_previous=True)
    before = (await cache.get()).current
    read = secrets.get_secret_value

    def denied(**kwargs: str) -> Mapping[str, Any]:
        if "VersionStage" in kwargs:
            raise OUTAGE
        return read(**kwargs)

    secrets.get_secret_value = denied  # type: ignore[method-assign]
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    for _ in range(2):
        secret = await cache.read_until(_changed)
        assert secret is not None
        assert (secret.current, secret.previous) == ({"upstream": "newer"}, before)


@pytest.mark.parametrize(
    ("case", "failures"),
    [("unset", 1), ("unreadable", 1), ("missing", 2), ("mistake bridged", 1), ("good", 0)],
)
async def test_every_failure_to_have_a_key_is_counted(
    secrets: FakeSecrets,
    clock: FakeClock,
    capsys: pytest.CaptureFixture[str],
    case: str,
    failures: int,
) -> None:
    """The alarm on keys hears of each kind; of a missing key when it is read and when used."""
    if case == "unreadable":
        secrets.failure = aws_error("AccessDeniedException")
    elif case == "missing":
        secrets.only(UPSTREAM_SECRET, "{}")
    elif case == "mistake bridged":
        secrets.put(UPSTREAM_SECRET, "{}")
    cache = _cache(secrets, clock, "" if case == "unset" else UPSTREAM_SECRET)
    try:
        if not (await cache.get()).current:
            cache.missing("upstream")
    except KeyUnavailable:
        assert case in {"unset", "unreadable"}
    assert capsys.readouterr().out.count('"KeyFailures":[1.0]') == failures


# -- after a restore from a snapshot


async def test_forget_drops_what_was_read(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """Neither the value nor a failure counts any more."""
    await cache.get()
    secrets.failure = OUTAGE
    assert await cache.read_until(_changed) is None
    secrets.failure = None
    cache.forget()
    assert cache.may_retry()
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    assert await _key(cache) == "newer"


async def test_forget_outruns_a_read_under_way(cache: SecretCache, secrets: FakeSecrets) -> None:
    """A read that began before the snapshot serves those who wait for it, and is not kept."""
    secrets.open.clear()
    early = asyncio.create_task(cache.get())
    await asyncio.sleep(0)
    cache.forget()
    secrets.open.set()
    await early
    assert cache.cached is None
    await _key(cache)
    assert len(secrets.reads) == 2
