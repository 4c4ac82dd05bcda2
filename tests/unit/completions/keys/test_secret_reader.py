"""A secret that cannot be read, or whose newest version has no key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from completions.errors import KeyUnavailable
from completions.keys.secret_cache import RETRY_AFTER_S, SecretCache
from completions.keys.secrets_manager import NOT_FOUND
from tests.support.clock import FakeClock
from tests.support.logs import Logged
from tests.support.secrets import UPSTREAM_KEY, UPSTREAM_SECRET, FakeSecrets, aws_error
from tests.unit.completions.keys.conftest import (
    OUTAGE,
    REMEDY,
    TTL_S,
    changed,
    new_cache,
    served_key,
)

# -- outages


@pytest.mark.parametrize("code", ["InternalServiceError", "AccessDeniedException", NOT_FOUND])
async def test_the_last_value_bridges_an_outage(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock, logs: Logged, code: str
) -> None:
    """It serves whatever the cause, and the log has a warning but no error."""
    await cache.get()
    clock.now += TTL_S
    secrets.failure = aws_error(code)
    for _ in range(2):
        assert await served_key(cache) == UPSTREAM_KEY
    event = logs.event("key.bridged")
    assert (event["secret"], event["reason"]) == (UPSTREAM_SECRET, code)
    assert event["level"] == "WARNING"
    assert event["hint"]
    assert "ERROR" not in logs.text
    secrets.failure = None
    clock.now += RETRY_AFTER_S
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    await served_key(cache)
    assert await served_key(cache) == "newer"


async def test_an_outage_is_logged_once_a_minute(
    cache: SecretCache, secrets: FakeSecrets, clock: FakeClock, logs: Logged
) -> None:
    """However many turns it affects, the log is neither flooded nor silent."""
    await cache.get()
    secrets.failure = OUTAGE
    clock.now += TTL_S
    for _ in range(121):
        await served_key(cache)
        clock.now += 1
    assert len(logs.events("key.bridged")) == 3


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


async def test_a_deployment_without_a_secrets_name_is_a_503(
    secrets: FakeSecrets, clock: FakeClock, logs: Logged
) -> None:
    """The log line names both variables."""
    with pytest.raises(KeyUnavailable, match="names no secret"):
        await new_cache(secrets, clock, "").get()
    hint = logs.event("key.unset")["hint"]
    assert "COMPLETIONS_CALLER_KEY_SECRET" in hint
    assert "COMPLETIONS_UPSTREAM_KEY_SECRET" in hint


# -- mistakes


@pytest.mark.parametrize("known", [True, False], ids=["known", "first read"])
@pytest.mark.parametrize("mistake", ['{"upstream": "sk-trunca', '{"Upstream": "misspelt"}', ""])
async def test_a_stored_mistake_does_not_replace_the_key(  # noqa: PLR0917 - fixtures
    cache: SecretCache,
    secrets: FakeSecrets,
    clock: FakeClock,
    logs: Logged,
    mistake: str,
    known: bool,
) -> None:
    """A version without a usable key leaves the last valid one in use, and the log warns."""
    if known:
        await cache.get()
        clock.now += TTL_S
        secrets.put(UPSTREAM_SECRET, "{}")  # Another mistake, which replaces the previous version.
    secrets.put(UPSTREAM_SECRET, mistake)
    for _ in range(2):
        assert await served_key(cache) == UPSTREAM_KEY
    event = logs.event("key.bridged")
    assert (event["reason"], event["hint"]) == ('the newest version has no "upstream"', REMEDY)
    assert "ERROR" not in logs.text


async def test_a_secret_with_only_a_mistake_has_no_key(
    cache: SecretCache, secrets: FakeSecrets, logs: Logged
) -> None:
    """The log reports the missing key and what to do."""
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
    """If the previous version cannot be read, it is the value that was current until now."""
    cache = new_cache(secrets, clock, with_previous=True)
    before = (await cache.get()).current
    read = secrets.get_secret_value

    def denied(**kwargs: str) -> Mapping[str, Any]:
        if "VersionStage" in kwargs:
            raise OUTAGE
        return read(**kwargs)

    secrets.get_secret_value = denied  # type: ignore[method-assign]
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    for _ in range(2):
        secret = await cache.read_until(changed)
        assert secret is not None
        assert (secret.current, secret.previous) == ({"upstream": "newer"}, before)


@pytest.mark.parametrize(
    ("case", "failures"),
    [("unset", 1), ("unreadable", 1), ("missing", 2), ("mistake bridged", 1), ("good", 0)],
)
async def test_every_missing_key_is_counted(
    secrets: FakeSecrets,
    clock: FakeClock,
    capsys: pytest.CaptureFixture[str],
    case: str,
    failures: int,
) -> None:
    """The alarm sees each kind; a missing key counts when it is read and when it is needed."""
    if case == "unreadable":
        secrets.failure = aws_error("AccessDeniedException")
    elif case == "missing":
        secrets.only(UPSTREAM_SECRET, "{}")
    elif case == "mistake bridged":
        secrets.put(UPSTREAM_SECRET, "{}")
    cache = new_cache(secrets, clock, "" if case == "unset" else UPSTREAM_SECRET)
    try:
        if not (await cache.get()).current:
            cache.missing("upstream")
    except KeyUnavailable:
        assert case in {"unset", "unreadable"}
    assert capsys.readouterr().out.count('"KeyFailures":[1.0]') == failures
