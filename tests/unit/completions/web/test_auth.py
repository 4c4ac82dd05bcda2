"""Who may call: two headers, one key, and a log that says what was wrong with it."""

from __future__ import annotations

import pytest
from fastapi import Request

from completions.errors import KeyUnavailable, Unauthorized
from completions.keys.keys import Keys
from completions.web.auth import authorise
from tests.support.logs import Logged
from tests.support.secrets import (
    CALLER_KEY,
    CALLER_SECRET,
    UPSTREAM_SECRET,
    FakeSecrets,
    aws_error,
)


@pytest.fixture
def secrets() -> FakeSecrets:
    """Secrets Manager."""
    return FakeSecrets()


@pytest.fixture
def keys(secrets: FakeSecrets) -> Keys:
    """The environment's keys."""
    return Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=300, connect=secrets.connect)


def _request(**headers: str) -> Request:
    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    return Request({"type": "http", "method": "POST", "path": "/v1/x", "headers": raw})


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {CALLER_KEY}"},
        {"authorization": f"bearer {CALLER_KEY}"},
        {"authorization": f"  BEARER   {CALLER_KEY}  "},
        {"x_api_key": CALLER_KEY},
        {"x_api_key": f" {CALLER_KEY} "},
        {"authorization": "Basic dXNlcjpwYXNz", "x_api_key": CALLER_KEY},
        {"authorization": "Bearer ", "x_api_key": CALLER_KEY},
        {"authorization": f"Bearer {CALLER_KEY}", "x_api_key": "wrong"},
    ],
)
async def test_a_good_key_opens(keys: Keys, headers: dict[str, str]) -> None:
    """Bearer in any case, or `x-api-key`; spaces around the key do not matter."""
    await authorise(_request(**headers), keys)
    await keys.wait_for_reads()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": CALLER_KEY},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"x_api_key": " "},
    ],
)
async def test_no_key_is_said_to_be_none(
    keys: Keys, secrets: FakeSecrets, logs: Logged, headers: dict[str, str]
) -> None:
    """Without a key the answer names both headers, and no secret is read for it."""
    with pytest.raises(Unauthorized, match=r"Bearer .*x-api-key"):
        await authorise(_request(**headers), keys)
    assert logs.event("auth.refused")["reason"] == "no key"
    assert secrets.reads == []


@pytest.mark.parametrize("presented", ["wrong", "w" * 9_000, CALLER_KEY[:-1], CALLER_KEY * 2, "é"])
async def test_a_wrong_key_is_refused(keys: Keys, logs: Logged, presented: str) -> None:
    """The caller learns where the right key is; the log shows its length, never the key."""
    with pytest.raises(Unauthorized, match="CallerKeySecretArn"):
        await authorise(_request(x_api_key=presented), keys)
    await keys.wait_for_reads()
    event = logs.event("auth.refused")
    assert (event["reason"], event["key_length"]) == ("wrong key", len(presented))
    assert presented not in logs.text.replace("wrong key", "")
    assert CALLER_KEY not in logs.text


async def test_without_secrets_nobody_is_judged(keys: Keys, secrets: FakeSecrets) -> None:
    """While the secret cannot be read the answer is 503, not 401."""
    secrets.failure = aws_error("AccessDeniedException")
    with pytest.raises(KeyUnavailable):
        await authorise(_request(x_api_key=CALLER_KEY), keys)
    await keys.wait_for_reads()
