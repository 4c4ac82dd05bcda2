"""Who may call: three headers, one key, and a log line that says what was wrong with it."""

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
        {"api_key": CALLER_KEY},
        {"x_api_key": " ", "api_key": CALLER_KEY},
        {"authorization": "Basic dXNlcjpwYXNz", "api_key": CALLER_KEY},
        {"authorization": "Basic dXNlcjpwYXNz", "x_api_key": CALLER_KEY},
        {"authorization": "Bearer ", "x_api_key": CALLER_KEY},
        {"authorization": f"Bearer {CALLER_KEY}", "x_api_key": "wrong"},
    ],
)
async def test_a_good_key_is_accepted(keys: Keys, headers: dict[str, str]) -> None:
    """Bearer in any case, `x-api-key` or `api-key`; spaces around the key do not matter."""
    assert await authorise(_request(**headers), keys) == "current"
    await keys.wait_for_reads()


async def test_the_keys_version_is_returned(keys: Keys, secrets: FakeSecrets) -> None:
    """During a rotation the log shows which callers still send the previous key."""
    secrets.put(CALLER_SECRET, {"key": "newer"})
    assert await authorise(_request(x_api_key="newer"), keys) == "current"
    assert await authorise(_request(x_api_key=CALLER_KEY), keys) == "previous"
    await keys.wait_for_reads()


@pytest.mark.parametrize(
    ("headers", "shape"),
    [
        ({}, "absent"),
        ({"authorization": ""}, "absent"),
        ({"x_api_key": " "}, "absent"),
        ({"authorization": "Bearer"}, "Bearer and nothing"),
        ({"authorization": "Bearer "}, "Bearer and nothing"),
        ({"authorization": CALLER_KEY}, "not Bearer and a key"),
        ({"authorization": "Basic dXNlcjpwYXNz"}, "not Bearer and a key"),
    ],
)
async def test_a_request_without_a_key_is_refused(
    keys: Keys, secrets: FakeSecrets, logs: Logged, headers: dict[str, str], shape: str
) -> None:
    """The answer names both headers, the log the form of the one sent; no secret is read."""
    with pytest.raises(Unauthorized, match=r"Bearer .*x-api-key"):
        await authorise(_request(**headers), keys)
    event = logs.event("auth.refused")
    assert (event["reason"], event["authorization"]) == ("no key", shape)
    assert "x-api-key" in event["expected"]
    assert CALLER_KEY not in logs.text
    assert secrets.reads == []


@pytest.mark.parametrize("presented", ["wrong", "w" * 9_000, CALLER_KEY[:-1], CALLER_KEY * 2, "é"])
async def test_a_wrong_key_is_refused(keys: Keys, logs: Logged, presented: str) -> None:
    """The answer says where the right key is; the log has the wrong key's length, never the key."""
    with pytest.raises(Unauthorized, match="CallerKeySecretArn"):
        await authorise(_request(x_api_key=presented), keys)
    await keys.wait_for_reads()
    event = logs.event("auth.refused")
    assert (event["reason"], event["key_length"]) == ("wrong key", len(presented))
    assert "CallerKeySecretArn" in event["expected"]
    assert presented not in logs.text.replace("wrong key", "")
    assert CALLER_KEY not in logs.text


async def test_every_refusal_is_counted(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    """An alarm can use the metric."""
    for request in (_request(), _request(x_api_key="wrong")):
        with pytest.raises(Unauthorized):
            await authorise(request, keys)
    await keys.wait_for_reads()
    assert capsys.readouterr().out.count('"AuthFailures":[1.0]') == 2


async def test_without_secrets_no_key_is_refused(keys: Keys, secrets: FakeSecrets) -> None:
    """While the secret cannot be read the answer is 503, not 401."""
    secrets.failure = aws_error("AccessDeniedException")
    with pytest.raises(KeyUnavailable):
        await authorise(_request(x_api_key=CALLER_KEY), keys)
    await keys.wait_for_reads()
