"""Bedrock keys made from the role, compared with AWS's own generator and verified."""

from __future__ import annotations

import time

import aws_bedrock_token_generator
import botocore.auth
import pytest
from botocore.credentials import Credentials

from completions.errors import KeyUnavailable
from completions.keys import bedrock
from completions.keys.bedrock import RENEW_AFTER_S, TOKEN_LIFE_S, RoleKeys, region_of
from tests.support.bedrock import Role, verdict
from tests.support.clock import FakeClock
from tests.support.logs import Logged

REGION = "us-east-1"


@pytest.fixture
def role() -> Role:
    return Role()


@pytest.fixture
def keys(role: Role, clock: FakeClock) -> RoleKeys:
    return RoleKeys(role.connect, clock)


@pytest.mark.parametrize(
    ("base_url", "region"),
    [
        ("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", "us-east-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/openai/v1", "us-gov-west-1"),
        ("https://bedrock-mantle.eu-central-1.api.aws/v1", "eu-central-1"),
        ("https://vpce-1.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com/v1", "ap-southeast-2"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com", "us-east-1"),
        ("https://Bedrock-Runtime.US-East-1.AmazonAWS.com/openai/v1", "us-east-1"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com.example.org/v1", None),
        ("https://example.org/bedrock-runtime.us-east-1.amazonaws.com/v1", None),
        ("https://bedrock-agent.us-east-1.amazonaws.com/v1", None),
        ("https://api.openai.com/v1", None),
    ],
)
def test_the_host_tells_the_region(base_url: str, region: str | None) -> None:
    """A host that only looks like Bedrock's never gets one of the role's keys."""
    assert region_of(base_url) == region


async def test_a_key_equals_that_of_awss_own_generator(
    keys: RoleKeys, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are the same bytes for the same second and lifetime."""
    now = botocore.auth.get_current_datetime()
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: now)
    frozen = role.frozen
    theirs = aws_bedrock_token_generator.BedrockTokenGenerator().get_token(
        Credentials(frozen.access_key, frozen.secret_key, frozen.token), REGION
    )
    monkeypatch.setattr(bedrock, "TOKEN_LIFE_S", 43200)
    assert await keys.key(REGION) == theirs


async def test_a_key_is_valid_for_its_region_lifetime_and_credentials(
    keys: RoleKeys, role: Role
) -> None:
    """Elsewhere, later, or after the role's credentials change it is refused."""
    key, now = await keys.key(REGION), time.time()
    assert verdict(key, role.frozen, REGION, now) == ""
    assert verdict(key, role.frozen, "us-west-2", now) == "another Region"
    assert verdict(key, role.frozen, REGION, now + TOKEN_LIFE_S + 2) == "expired"
    role.rotate()
    assert verdict(key, role.frozen, REGION, now) == "other credentials"


async def test_a_key_is_reused_and_renewed_long_before_it_expires(
    keys: RoleKeys, role: Role, clock: FakeClock
) -> None:
    """The next one uses the newest credentials; each Region has its own."""
    first = await keys.key(REGION)
    role.rotate()
    clock.now += RENEW_AFTER_S - 1
    assert await keys.key(REGION) == first
    assert await keys.key("us-west-2") != first
    clock.now += 1
    assert verdict(await keys.key(REGION), role.frozen, REGION, time.time()) == ""
    clock.now -= 3600
    role.rotate()
    assert verdict(await keys.key(REGION), role.frozen, REGION, time.time()) == ""
    assert role.connects == 1
    assert RENEW_AFTER_S < TOKEN_LIFE_S


async def test_nothing_is_kept_over_a_restore(keys: RoleKeys, role: Role) -> None:
    """The credentials from before the snapshot are void."""
    await keys.key(REGION)
    role.rotate()
    keys.forget()
    assert verdict(await keys.key(REGION), role.frozen, REGION, time.time()) == ""
    assert role.connects == 2


async def test_a_refused_key_is_replaced_if_a_new_one_may_help(
    keys: RoleKeys, role: Role, clock: FakeClock
) -> None:
    """It may if the key is old or the credentials changed; otherwise a permission is missing."""
    refused = await keys.key(REGION)
    assert await keys.newer_key(REGION, refused) is None
    role.rotate()
    newer = await keys.newer_key(REGION, refused)
    assert newer is not None
    assert verdict(newer, role.frozen, REGION, time.time()) == ""
    assert await keys.newer_key(REGION, refused) == newer
    clock.now += 60
    assert await keys.newer_key(REGION, newer) is not None


async def test_without_a_role_the_log_says_what_to_do(
    keys: RoleKeys, role: Role, logs: Logged
) -> None:
    """Outside AWS there are no credentials, but a Bedrock key can be stored."""
    role.none = True
    with pytest.raises(KeyUnavailable, match="Bedrock"):
        await keys.key(REGION)
    assert "store a Bedrock API key" in logs.event("key.unavailable")["hint"]
