"""Which caller keys are good, and how long an unknown one waits for a newer secret."""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from completions.errors import KeyUnavailable
from completions.keys import keys as keys_module
from completions.keys import secret_cache
from completions.keys.keys import Keys
from completions.keys.secret_cache import LOOK_EVERY_S, WAIT_LIMIT_S
from tests.support.clock import FakeClock, block_loop
from tests.support.logs import Logged
from tests.support.secrets import (
    CALLER_KEY,
    CALLER_SECRET,
    UPSTREAM_KEY,
    UPSTREAM_SECRET,
    FakeSecrets,
)
from tests.unit.completions.keys.conftest import LIMIT_S, OUTAGE, TTL_S, new_keys


async def test_both_versions_of_the_caller_key_are_accepted(
    keys: Keys, secrets: FakeSecrets
) -> None:
    """After a rotation the new key and the one before it are valid, and older ones are not."""
    for number in (2, 3):
        secrets.put(CALLER_SECRET, {"key": f"{CALLER_KEY}-{number}"})
    versions = [await keys.caller_key_version(CALLER_KEY + suffix) for suffix in ("-3", "-2", "")]
    assert versions == ["current", "previous", ""]


async def test_the_first_caller_causes_both_reads(keys: Keys, secrets: FakeSecrets) -> None:
    """The upstream's key, which is needed next, is read at the same time as the caller's."""
    assert await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    assert sorted(secrets.reads) == [CALLER_SECRET, UPSTREAM_SECRET]
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY
    assert secrets.connects == 1
    assert len(secrets.reads) == 2


@pytest.mark.parametrize(
    "presented",
    ["current", "previous", "wrong", "c", "", "current but longer", "\udc80", "ключ"],
    ids=ascii,
)
async def test_each_key_is_compared_with_both_versions_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, keys: Keys, secrets: FakeSecrets, presented: str
) -> None:
    """`compare_digest` sees both versions, even if the first one matches."""
    secrets.only(CALLER_SECRET, '{"key": "previous"}')
    secrets.put(CALLER_SECRET, {"key": "current"})
    await keys.caller_key_version("current")
    await keys.wait_for_reads()
    compared: list[bytes] = []

    class Watched:
        @staticmethod
        def compare_digest(shown: bytes, key: bytes) -> bool:
            compared.append(key)
            return hmac.compare_digest(shown, key)

    monkeypatch.setattr(keys_module, "hmac", Watched)
    version = await keys.caller_key_version(presented)
    assert version == (presented if presented in {"current", "previous"} else "")
    # A key that is not accepted at once is also compared with a newer version of the secret.
    assert compared == [b"current", b"previous"] * (len(compared) // 2)
    assert len(compared) == 2 if version else len(compared) >= 4


@pytest.mark.parametrize("presented", ["", " ", "x" * 10_000, "ключ", "\udcff", CALLER_KEY + " "])
async def test_odd_keys_are_refused(keys: Keys, presented: str) -> None:
    """Any string is compared and refused, and none raises."""
    assert not await keys.caller_key_version(presented)


@pytest.mark.looptime
@pytest.mark.usefixtures("timed_reads")
async def test_unknown_keys_cause_one_read_a_second(keys: Keys, secrets: FakeSecrets) -> None:
    """Any number of wrong keys share it, and it requests the current version only."""
    await keys.caller_key_version("wrong")
    await keys.wait_for_reads()
    secrets.reads.clear()
    secrets.previous_reads = 0
    strangers = []
    for _ in range(400):
        strangers.append(asyncio.create_task(keys.caller_key_version("wrong")))
        await asyncio.sleep(0.1)
    assert set(await asyncio.gather(*strangers)) == {""}
    assert 30 <= len(secrets.reads) <= 40 / LOOK_EVERY_S + 2
    assert secrets.previous_reads == 0


@pytest.mark.looptime
@pytest.mark.usefixtures("timed_reads")
async def test_a_rotated_key_works_at_once(keys: Keys, secrets: FakeSecrets) -> None:
    """A key newer than the cached secret is accepted, even right after a wrong one."""
    await keys.caller_key_version(CALLER_KEY)
    assert not await keys.caller_key_version("older than the previous one")
    secrets.put(CALLER_SECRET, {"key": "newer"})
    async with asyncio.timeout(LIMIT_S):
        versions = await asyncio.gather(*(keys.caller_key_version("newer") for _ in range(5)))
    assert versions == ["current"] * 5
    assert await keys.caller_key_version(CALLER_KEY) == "previous"
    assert secrets.reads.count(CALLER_SECRET) == 3


@pytest.mark.looptime
@pytest.mark.usefixtures("timed_reads")
async def test_a_new_key_works_whenever_the_rotation_comes(
    keys: Keys, secrets: FakeSecrets
) -> None:
    """A rotation may come before, during or after the read for another caller."""
    await keys.caller_key_version(CALLER_KEY)
    for number in range(40):
        stranger = asyncio.create_task(keys.caller_key_version("wrong"))
        await asyncio.sleep(number * 0.03)
        secrets.put(CALLER_SECRET, {"key": f"newer-{number}"})
        began = asyncio.get_running_loop().time()
        assert await keys.caller_key_version(f"newer-{number}") == "current"
        assert asyncio.get_running_loop().time() - began < LOOK_EVERY_S + 0.2
        assert await stranger == ""


@pytest.mark.looptime
@pytest.mark.usefixtures("timed_reads")
async def test_the_first_stranger_costs_two_reads(keys: Keys, secrets: FakeSecrets) -> None:
    """The first read takes both versions at once, so it cannot prove a key wrong."""
    assert await keys.caller_key_version("wrong") == ""
    assert secrets.reads.count(CALLER_SECRET) == 2


@pytest.mark.looptime
async def test_an_unknown_key_does_not_wait_long(
    keys: Keys, secrets: FakeSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Secrets Manager hangs, it gets a 503 in time, and a known key is valid."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()

    over = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        await over.wait()
        raise TimeoutError

    monkeypatch.setattr(asyncio, "to_thread", hang)
    began = asyncio.get_running_loop().time()
    asked = [asyncio.create_task(keys.caller_key_version("newer?")) for _ in range(9)]
    assert await keys.caller_key_version(CALLER_KEY) == "current"
    for one in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(one, KeyUnavailable)
    assert asyncio.get_running_loop().time() - began == pytest.approx(WAIT_LIMIT_S)
    assert secrets.reads.count(CALLER_SECRET) == 1
    over.set()


@pytest.mark.looptime
async def test_no_turn_waits_long_for_a_first_read(
    secrets: FakeSecrets, monkeypatch: pytest.MonkeyPatch, logs: Logged
) -> None:
    """While Secrets Manager hangs, one limit covers all that a turn needs, and then it is a 503."""

    async def hang(work: Callable[..., None], *_: object) -> None:
        if work.__name__ == "connect":
            work()
        else:
            await asyncio.sleep(60)

    monkeypatch.setattr(asyncio, "to_thread", hang)
    clock = asyncio.get_running_loop().time
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=TTL_S, connect=secrets.connect, clock=clock)
    began = clock()
    for ask in (keys.caller_key_version(CALLER_KEY), keys.upstream_key("upstream")):
        with pytest.raises(KeyUnavailable, match="has not answered within 3 seconds") as caught:
            await ask
        assert caught.value.headers == {"retry-after": "1"}
        assert clock() - began == pytest.approx(WAIT_LIMIT_S)
    assert {event["reason"] for event in logs.events("key.unavailable")} == {"TimeoutError"}


async def test_time_that_blocks_the_loop_does_not_count_as_waiting(
    keys: Keys, secrets: FakeSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that finished while libraries were loading still serves its caller."""
    monkeypatch.setattr(secret_cache, "WAIT_LIMIT_S", 1.0)
    threads = ThreadPoolExecutor()
    asyncio.get_running_loop().set_default_executor(threads)
    secrets.open.clear()
    asking = asyncio.create_task(keys.caller_key_version(CALLER_KEY))
    while len(secrets.reads) < 2 or not secrets.previous_reads:
        await asyncio.sleep(0)
    secrets.open.set()
    threads.shutdown()  # Returns after the reads; the loop has not seen their results yet.
    block_loop(monkeypatch, 1.2)
    assert await asking == "current"


@pytest.mark.looptime
@pytest.mark.usefixtures("timed_reads")
async def test_one_limit_covers_the_first_read_and_the_second(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown key waits no longer than a known one."""
    read = asyncio.to_thread

    async def slowly(work: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0 if work.__name__ == "connect" else WAIT_LIMIT_S * 0.8)
        return await read(work, *args)

    monkeypatch.setattr(asyncio, "to_thread", slowly)
    began = asyncio.get_running_loop().time()
    with pytest.raises(KeyUnavailable):
        await keys.caller_key_version("wrong or new")
    assert asyncio.get_running_loop().time() - began == pytest.approx(WAIT_LIMIT_S, abs=0.3)


async def test_a_rotation_between_the_reads_of_both_versions_loses_no_key(clock: FakeClock) -> None:
    """The versions are read in parallel, so a key between the two may be valid as well."""
    previous_taken, rotated = threading.Event(), threading.Event()

    class Rotated(FakeSecrets):
        def get_secret_value(self, **kwargs: str) -> Mapping[str, Any]:
            if kwargs == {"SecretId": CALLER_SECRET}:
                assert rotated.wait(LIMIT_S)
            answer = super().get_secret_value(**kwargs)
            if "VersionStage" in kwargs:
                previous_taken.set()
            return answer

    secrets = Rotated()
    secrets.put(CALLER_SECRET, {"key": "between"})
    keys = new_keys(secrets, clock)
    asking = asyncio.create_task(keys.caller_key_version("between"))
    assert await asyncio.to_thread(previous_taken.wait, LIMIT_S)
    secrets.put(CALLER_SECRET, {"key": "newest"})
    rotated.set()
    assert await asking == "previous"
    assert await keys.caller_key_version("newest") == "current"


async def test_a_hang_up_does_not_cancel_the_read_of_others(
    keys: Keys, secrets: FakeSecrets
) -> None:
    """Callers who wait for the same read still get its result."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    secrets.put(CALLER_SECRET, {"key": "newer"})
    secrets.open.clear()
    asked = [asyncio.create_task(keys.caller_key_version("newer")) for _ in range(2)]
    while len(secrets.reads) < 3:
        await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.sleep(0)
    secrets.open.set()
    assert await asked[1] == "current"


@pytest.mark.looptime
@pytest.mark.usefixtures("timed_reads")
async def test_wrong_keys_do_not_hammer_a_broken_secrets_manager(
    keys: Keys, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """The limit also holds for failed reads, which never declare a key wrong."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    secrets.reads.clear()
    secrets.failure = OUTAGE
    clock.now += 1
    asked = []
    for _ in range(200):
        asked.append(asyncio.create_task(keys.caller_key_version("wrong or new")))
        assert await keys.caller_key_version(CALLER_KEY)
        await asyncio.sleep(0.1)
    refused = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in refused} == {KeyUnavailable}
    assert len(secrets.reads) <= 20 / LOOK_EVERY_S + 2
    secrets.failure = None
    assert not await keys.caller_key_version("wrong or new")


@pytest.mark.parametrize("text", ['{"key": ""}', "{}", '{"key": 5}', '{"key": "sk-trunca', ""])
async def test_a_caller_secret_without_key_is_the_operators_fault(
    keys: Keys, secrets: FakeSecrets, logs: Logged, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Callers get a 503 instead of a 401, and the log says what to do."""
    monkeypatch.setattr(secret_cache, "LOOK_EVERY_S", 0.001)
    secrets.only(CALLER_SECRET, text)
    for presented in ("sk-trunca", ""):
        with pytest.raises(KeyUnavailable, match='"key"'):
            await keys.caller_key_version(presented)
    event = logs.events("key.missing")[0]
    assert (event["field"], event["secret"]) == ("key", CALLER_SECRET)
    assert event["hint"] == 'put a value {"key": "…"} into it'


async def test_a_broken_secret_accepts_no_new_key(keys: Keys, secrets: FakeSecrets) -> None:
    """The key before it stays valid, and the broken value is not."""
    await keys.caller_key_version(CALLER_KEY)
    secrets.put(CALLER_SECRET, '{"key": "sk-trunca')
    assert not await keys.caller_key_version("sk-trunca")
    assert await keys.caller_key_version(CALLER_KEY) == "current"


@pytest.mark.looptime
@pytest.mark.usefixtures("timed_reads")
async def test_wrong_caller_keys_do_not_retry_the_upstreams_secret(
    keys: Keys, secrets: FakeSecrets
) -> None:
    """It is read once while it is unreadable, and again when a turn needs it."""
    del secrets.versions[UPSTREAM_SECRET, "AWSCURRENT"]
    for _ in range(20):
        assert not await keys.caller_key_version("wrong")
        await keys.wait_for_reads()
    assert secrets.reads.count(UPSTREAM_SECRET) == 1
    secrets.put(UPSTREAM_SECRET, {"upstream": "stored"})
    assert await keys.upstream_key("upstream") == "stored"
