"""Each upstream's key, and what a freeze, a restore and the log do with every key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from completions.errors import KeyUnavailable
from completions.keys import keys as keys_module
from completions.keys.keys import Keys
from tests.support.clock import FakeClock
from tests.support.logs import Logged
from tests.support.secrets import (
    CALLER_KEY,
    CALLER_SECRET,
    UPSTREAM_KEY,
    UPSTREAM_SECRET,
    FakeSecrets,
)
from tests.unit.completions.keys.conftest import LIMIT_S, OUTAGE, TTL_S, new_keys

# -- the upstream's keys


async def test_each_candidate_has_a_key(keys: Keys) -> None:
    """The upstream's and the fallback's key are fields of one secret."""
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY
    assert await keys.upstream_key("fallback") == UPSTREAM_KEY + "-2"


async def test_a_missing_upstream_key_says_what_to_do(
    keys: Keys, secrets: FakeSecrets, logs: Logged
) -> None:
    """A secret without the field is a 503 that names the field, and a log line."""
    secrets.only(UPSTREAM_SECRET, json.dumps({"fallback": "x"}))
    with pytest.raises(KeyUnavailable, match='"upstream"') as caught:
        await keys.upstream_key("upstream")
    assert caught.value.status == 503
    event = logs.event("key.missing")
    assert (event["field"], event["level"]) == ("upstream", "ERROR")
    assert "make upstream-key" in event["hint"]
    assert await keys.upstream_key("fallback") == "x"


async def test_a_corrected_secret_works_at_once(
    keys: Keys, secrets: FakeSecrets, logs: Logged
) -> None:
    """The next turn has the missing key as soon as the operator stores it."""
    secrets.only(UPSTREAM_SECRET, "{}")
    with pytest.raises(KeyUnavailable):
        await keys.upstream_key("upstream")
    secrets.put(UPSTREAM_SECRET, {"upstream": "right"})
    assert await keys.upstream_key("upstream") == "right"
    assert len(logs.events("key.missing")) == 1


async def test_a_rotation_during_the_first_read_fails_no_turn(
    secrets: FakeSecrets, clock: FakeClock, logs: Logged
) -> None:
    """If both versions read are the mistake, another read finds the key."""
    secrets.put(UPSTREAM_SECRET, '{"upstream')
    read = secrets.get_secret_value

    def rotated_between(**kwargs: str) -> Mapping[str, Any]:
        if kwargs.get("VersionStage") and secrets.reads == [UPSTREAM_SECRET]:
            secrets.put(UPSTREAM_SECRET, {"upstream": "right"})
        return read(**kwargs)

    secrets.get_secret_value = rotated_between  # type: ignore[method-assign]
    assert await new_keys(secrets, clock).upstream_key("upstream") == "right"
    assert "key.missing" not in logs.text


async def test_a_missing_key_causes_few_reads(keys: Keys, secrets: FakeSecrets) -> None:
    """Turns share the reads that look for it, and in an outage one read is enough."""
    secrets.only(UPSTREAM_SECRET, "{}")
    await asyncio.gather(*(keys.upstream_key("upstream") for _ in range(9)), return_exceptions=True)
    assert len(secrets.reads) == 3
    secrets.failure = OUTAGE
    for _ in range(9):
        with pytest.raises(KeyUnavailable):
            await keys.upstream_key("upstream")
    assert len(secrets.reads) == 4


async def test_a_fallbacks_key_may_be_removed(
    keys: Keys, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """A version without it is no mistake, and the old key is no longer used."""
    assert await keys.upstream_key("fallback")
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    clock.now += TTL_S
    await keys.upstream_key("upstream")
    await keys.wait_for_reads()
    assert await keys.upstream_key("upstream") == "newer"
    with pytest.raises(KeyUnavailable):
        await keys.upstream_key("fallback")


async def test_a_refused_key_is_read_again(keys: Keys, secrets: FakeSecrets) -> None:
    """After a 401 the secret is read again, and the refused key is not returned."""
    await keys.upstream_key("upstream")
    assert await keys.newer_upstream_key("upstream", refused=UPSTREAM_KEY) is None
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    assert await keys.newer_upstream_key("upstream", refused=UPSTREAM_KEY) == "newer"
    secrets.failure = OUTAGE
    assert await keys.newer_upstream_key("upstream", refused="newer") is None


async def test_turns_that_are_refused_together_read_once(keys: Keys, secrets: FakeSecrets) -> None:
    """A turn refused after the new key was read takes it without another read."""
    await keys.upstream_key("upstream")
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer", "fallback": "newer-2"})
    found = await asyncio.gather(
        *(keys.newer_upstream_key("upstream", UPSTREAM_KEY) for _ in range(9))
    )
    found.append(await keys.newer_upstream_key("upstream", UPSTREAM_KEY))
    assert set(found) == {"newer"}
    assert await keys.newer_upstream_key("fallback", UPSTREAM_KEY + "-2") == "newer-2"
    assert len(secrets.reads) == 2


# -- before a freeze, after a restore


async def test_no_read_is_left_to_be_frozen(
    keys: Keys, secrets: FakeSecrets, clock: FakeClock
) -> None:
    """`wait_for_reads` returns once both secrets have been read."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.upstream_key("upstream")
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    clock.now += TTL_S
    secrets.open.clear()
    await keys.caller_key_version(CALLER_KEY)
    await keys.upstream_key("upstream")
    waiting = asyncio.create_task(keys.wait_for_reads())
    await asyncio.sleep(0)
    assert not waiting.done()
    secrets.open.set()
    await waiting
    secrets.open.clear()
    assert await keys.upstream_key("upstream") == "newer"
    assert sorted(secrets.reads) == [CALLER_SECRET] * 2 + [UPSTREAM_SECRET] * 2


async def test_an_outage_does_not_hold_up_an_invocation(
    keys: Keys, secrets: FakeSecrets, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that hangs delays the environment's next turn only briefly."""
    monkeypatch.setattr(keys_module, "READS_WAIT_LIMIT_S", 0.01)
    await keys.upstream_key("upstream")
    clock.now += TTL_S
    secrets.open.clear()
    await keys.upstream_key("upstream")
    async with asyncio.timeout(LIMIT_S / 2):
        await keys.wait_for_reads()
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY


async def test_forget_drops_keys_and_client(keys: Keys, secrets: FakeSecrets) -> None:
    """After a restore from a snapshot both secrets are read again, by a new client."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    secrets.only(CALLER_SECRET, '{"key": "newer"}')
    secrets.only(UPSTREAM_SECRET, '{"upstream": "newer too"}')
    keys.forget()
    assert await keys.caller_key_version("newer") == "current"
    assert await keys.upstream_key("upstream") == "newer too"
    assert secrets.connects == 2


# -- the log


async def test_no_key_is_ever_logged(
    keys: Keys, secrets: FakeSecrets, clock: FakeClock, logs: Logged, capfd: Any
) -> None:
    """No valid, wrong or refused key appears in the log, the output or an error."""
    await keys.caller_key_version(CALLER_KEY)
    clock.now += 10
    await keys.caller_key_version("a-wrong-key-of-a-caller")
    await keys.newer_upstream_key("upstream", refused=UPSTREAM_KEY)
    for secret in (CALLER_SECRET, UPSTREAM_SECRET):
        secrets.only(secret, json.dumps({"oddly-named": f"{CALLER_KEY} {UPSTREAM_KEY}"}))
    keys.forget()
    said = []
    for ask in (
        keys.caller_key_version("a-wrong-key-of-a-caller"),
        keys.upstream_key("upstream"),
    ):
        with pytest.raises(KeyUnavailable) as caught:
            await ask
        said.append(f"{caught.value!r} {caught.value.body()}")
    out = capfd.readouterr()
    everything = "\n".join([logs.text, out.out, out.err, *said])
    assert "key.missing" in everything
    for key in (CALLER_KEY, UPSTREAM_KEY, "a-wrong-key-of-a-caller"):
        assert key not in everything
