"""Keys of upstreams on Amazon Bedrock: made from the role, or stored."""

from __future__ import annotations

import asyncio
import time

import pytest

from completions.errors import KeyUnavailable
from completions.keys.bedrock import RoleKeys
from completions.keys.keys import Keys
from tests.support.bedrock import BASE_URL, Role, verdict
from tests.support.clock import FakeClock
from tests.support.logs import Logged
from tests.support.secrets import (
    CALLER_KEY,
    CALLER_SECRET,
    UPSTREAM_KEY,
    UPSTREAM_SECRET,
    FakeSecrets,
)
from tests.unit.completions.keys.conftest import LIMIT_S, OUTAGE, TTL_S

OPENAI = "https://api.openai.com/v1"


def _keys_of(role: Role, secrets: FakeSecrets, clock: FakeClock, **base_urls: str) -> Keys:
    return Keys(
        CALLER_SECRET,
        UPSTREAM_SECRET,
        base_urls=base_urls,
        ttl_s=TTL_S,
        connect=secrets.connect,
        role_keys=RoleKeys(role.connect, clock),
        clock=clock,
    )


async def test_bedrock_needs_no_secret(
    secrets: FakeSecrets, clock: FakeClock, logs: Logged
) -> None:
    """The role makes the key, and an empty secret is neither an error nor read in each turn."""
    del secrets.versions[UPSTREAM_SECRET, "AWSCURRENT"]
    role = Role()
    keys = _keys_of(role, secrets, clock, upstream=BASE_URL)
    for _ in range(3):
        key = await keys.upstream_key("upstream")
    assert verdict(key, role.frozen, "us-east-1", time.time()) == ""
    assert secrets.reads.count(UPSTREAM_SECRET) == 1
    assert not logs.text


async def test_credentials_and_secrets_are_read_at_the_same_time(
    secrets: FakeSecrets, clock: FakeClock
) -> None:
    """A first turn with a model on Bedrock waits for all of them together."""
    role = Role()
    keys = _keys_of(role, secrets, clock, upstream=BASE_URL)
    secrets.open.clear()
    asking = asyncio.create_task(keys.caller_key_version(CALLER_KEY))
    async with asyncio.timeout(LIMIT_S):
        while not role.connects or len(secrets.reads) < 2:
            await asyncio.sleep(0.001)
    secrets.open.set()
    assert await asking == "current"
    await keys.wait_for_reads()
    await keys.caller_key_version("wrong")
    await keys.upstream_key("upstream")
    assert role.connects == 1


async def test_a_stored_key_wins(secrets: FakeSecrets, clock: FakeClock) -> None:
    """An owner may prefer a Bedrock API key; after a rotation it is found like any other."""
    keys = _keys_of(Role(), secrets, clock, upstream=BASE_URL)
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    assert await keys.newer_upstream_key("upstream", UPSTREAM_KEY) == "newer"


async def test_bedrock_may_be_one_of_two(secrets: FakeSecrets, clock: FakeClock) -> None:
    """Each candidate has its own key, one stored and one made from the role."""
    secrets.put(UPSTREAM_SECRET, {"upstream": UPSTREAM_KEY})
    role = Role()
    keys = _keys_of(role, secrets, clock, upstream=OPENAI, fallback=BASE_URL)
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY
    assert verdict(await keys.upstream_key("fallback"), role.frozen, "us-east-1", time.time()) == ""
    keys = _keys_of(role, secrets, clock, upstream=BASE_URL, fallback=OPENAI)
    with pytest.raises(KeyUnavailable, match="fallback"):
        await keys.upstream_key("fallback")


async def test_an_outage_of_secrets_manager_does_not_touch_bedrock(
    secrets: FakeSecrets, clock: FakeClock
) -> None:
    """The role's key needs no secret."""
    secrets.failure = OUTAGE
    role = Role()
    keys = _keys_of(role, secrets, clock, upstream=BASE_URL)
    assert verdict(await keys.upstream_key("upstream"), role.frozen, "us-east-1", time.time()) == ""


async def test_bedrocks_403_may_be_a_stale_key(secrets: FakeSecrets, clock: FakeClock) -> None:
    """Its runtime answers 403 where others answer 401; another API's 403 is about permissions."""
    role = Role()
    keys = _keys_of(role, secrets, clock, upstream=OPENAI, fallback=BASE_URL)
    assert [keys.may_be_stale("upstream", status) for status in (401, 403)] == [True, False]
    assert [keys.may_be_stale("fallback", status) for status in (401, 403, 429)] == [
        *(True, True, False)
    ]
    secrets.put(UPSTREAM_SECRET, {"upstream": UPSTREAM_KEY})
    refused = await keys.upstream_key("fallback")
    role.rotate()
    newer = await keys.newer_upstream_key("fallback", refused)
    assert newer is not None
    assert verdict(newer, role.frozen, "us-east-1", time.time()) == ""


async def test_a_restore_forgets_the_roles_credentials(
    secrets: FakeSecrets, clock: FakeClock
) -> None:
    """Credentials from before the snapshot would be refused."""
    del secrets.versions[UPSTREAM_SECRET, "AWSCURRENT"]
    role = Role()
    keys = _keys_of(role, secrets, clock, upstream=BASE_URL)
    await keys.upstream_key("upstream")
    role.rotate()
    keys.forget()
    assert verdict(await keys.upstream_key("upstream"), role.frozen, "us-east-1", time.time()) == ""
