"""Keys: read late, kept for a while, renewed beside the work, never shown."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from completions.errors import KeyUnavailable
from completions.keys import keys as keys_module
from completions.keys.keys import Keys
from completions.keys.secret_cache import FORCED_READS_LIMIT
from completions.keys.secrets_manager import SecretsClient, secrets_client, warm
from tests.support.logs import Logged
from tests.support.secrets import (
    CALLER_KEY,
    CALLER_SECRET,
    UPSTREAM_KEY,
    UPSTREAM_SECRET,
    FakeSecrets,
    aws_error,
)

LIMIT_S = 20
TTL_S = 300
FUNCTIONS = Path(__file__).parents[4] / "functions"


class Clock:
    """The wall clock, in the test's hands."""

    def __init__(self) -> None:
        self.now = 1_795_338_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def secrets() -> FakeSecrets:
    """Secrets Manager."""
    return FakeSecrets()


@pytest.fixture
async def keys(secrets: FakeSecrets, clock: Clock) -> AsyncIterator[Keys]:
    """The keys of an environment."""
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=TTL_S, connect=secrets.connect, clock=clock)
    yield keys
    secrets.open.set()
    await keys.wait_for_reads()


@pytest.fixture
def aws() -> Iterator[Any]:
    """Secrets Manager as moto has it, with both secrets."""
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name=CALLER_SECRET, SecretString=json.dumps({"key": CALLER_KEY}))
        client.create_secret(
            Name=UPSTREAM_SECRET, SecretString=json.dumps({"upstream": UPSTREAM_KEY})
        )
        yield client


def _aws_keys() -> Keys:
    return Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=TTL_S)


# -- against AWS's own behaviour


async def test_both_secrets_are_read_from_secrets_manager(aws: Any) -> None:
    """A caller's key and the upstream's come from their secrets."""
    keys = _aws_keys()
    assert await keys.caller_key_version(CALLER_KEY)
    assert not await keys.caller_key_version("another")
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY


async def test_a_secret_is_found_by_its_arn(aws: Any) -> None:
    """The template hands over ARNs, not names."""
    arns = [aws.describe_secret(SecretId=name)["ARN"] for name in (CALLER_SECRET, UPSTREAM_SECRET)]
    keys = Keys(*arns, ttl_s=TTL_S)
    assert await keys.caller_key_version(CALLER_KEY)
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY


async def test_rotation_has_no_gap(aws: Any) -> None:
    """After a rotation the new key and the one before it open the door, an older one does not."""
    for number in (2, 3):
        aws.put_secret_value(
            SecretId=CALLER_SECRET, SecretString=json.dumps({"key": f"{CALLER_KEY}-{number}"})
        )
    keys = _aws_keys()
    accepted = [await keys.caller_key_version(CALLER_KEY + suffix) for suffix in ("-3", "-2", "")]
    assert accepted == ["current", "previous", ""]


async def test_a_secret_without_value_is_unavailable(aws: Any, logs: Logged) -> None:
    """A secret that CloudFormation made and nobody filled is a 503, and the log says what to do."""
    aws.create_secret(Name="empty")
    keys = Keys(CALLER_SECRET, "empty", ttl_s=TTL_S)
    with pytest.raises(KeyUnavailable) as caught:
        await keys.upstream_key("upstream")
    assert caught.value.status == 503
    event = logs.event("key.unavailable")
    assert (event["secret"], event["reason"]) == ("empty", "ResourceNotFoundException")
    assert "make upstream-key" in event["hint"]


async def test_the_client_is_impatient(aws: Any) -> None:
    """Secrets Manager gets seconds, not boto3's minutes, within a voice turn."""
    config = secrets_client().meta.config  # type: ignore[attr-defined] # boto3's, not the Protocol's
    assert config.connect_timeout + config.read_timeout <= 5
    assert config.retries["total_max_attempts"] <= 2


# -- when they are read


def test_import_asks_nobody() -> None:
    """Importing the app opens no socket and does not even import the AWS and OpenAI libraries."""
    program = """
import socket, sys
def refuse(*_): raise AssertionError("a connection at import")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import completions.app
heavy = {"boto3", "botocore.session", "openai", "httpx2", "aiohttp", "requests"} & set(sys.modules)
assert not heavy, heavy
"""
    environment = {
        "PYTHONPATH": str(FUNCTIONS),
        "COMPLETIONS_CALLER_KEY_SECRET": "c",
        "COMPLETIONS_UPSTREAM_KEY_SECRET": "u",
    }
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


async def test_nothing_is_read_before_the_first_use(keys: Keys, secrets: FakeSecrets) -> None:
    """Making the keys makes no client and reads no secret; the first caller causes both reads."""
    assert (secrets.connects, secrets.reads) == (0, [])
    assert await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    assert sorted(secrets.reads) == [CALLER_SECRET, UPSTREAM_SECRET]


async def test_one_client_for_both_reads(secrets: FakeSecrets, clock: Clock) -> None:
    """Two reads side by side share one client: boto3's default session is not thread-safe."""
    both = threading.Barrier(2)

    class Slow(FakeSecrets):
        def connect(self) -> FakeSecrets:
            # Two threads in here would pass the barrier; one alone gives up waiting.
            try:
                both.wait(timeout=0.2)
            except threading.BrokenBarrierError:
                return super().connect()
            raise AssertionError("two clients are being made at once")

    slow = Slow()
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=TTL_S, connect=slow.connect, clock=clock)
    assert await keys.caller_key_version(CALLER_KEY)
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY
    assert slow.connects == 1


async def test_a_key_is_kept(keys: Keys, secrets: FakeSecrets, clock: Clock) -> None:
    """Within the TTL nothing is read again."""
    for _ in range(3):
        assert await keys.caller_key_version(CALLER_KEY)
        assert await keys.upstream_key("upstream") == UPSTREAM_KEY
        clock.now += TTL_S / 4
    await keys.wait_for_reads()
    assert sorted(secrets.reads) == [CALLER_SECRET, UPSTREAM_SECRET]


async def test_an_expired_key_is_served_while_it_is_renewed(
    keys: Keys, secrets: FakeSecrets, clock: Clock
) -> None:
    """After the TTL no turn waits: the old key serves until the new one has been read."""
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    clock.now += TTL_S
    secrets.open.clear()
    async with asyncio.timeout(LIMIT_S):
        assert await keys.upstream_key("upstream") == UPSTREAM_KEY
    secrets.open.set()
    await keys.wait_for_reads()
    assert await keys.upstream_key("upstream") == "newer"
    assert len(secrets.reads) == 2


async def test_settled_waits_for_the_read(keys: Keys, secrets: FakeSecrets, clock: Clock) -> None:
    """An invocation that waits for `settled` leaves no thread behind to be frozen."""
    await keys.upstream_key("upstream")
    clock.now += TTL_S
    secrets.open.clear()
    await keys.upstream_key("upstream")
    settled = asyncio.create_task(keys.wait_for_reads())
    done, _ = await asyncio.wait({settled}, timeout=0.05)
    assert not done
    secrets.open.set()
    async with asyncio.timeout(LIMIT_S):
        await settled


async def test_settled_does_not_wait_out_an_outage(
    keys: Keys, secrets: FakeSecrets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that hangs keeps an environment from its next turn for a moment only."""
    monkeypatch.setattr(keys_module, "READS_WAIT_LIMIT_S", 0.01)
    await keys.upstream_key("upstream")
    clock.now += TTL_S
    secrets.open.clear()
    await keys.upstream_key("upstream")
    async with asyncio.timeout(LIMIT_S / 2):
        await keys.wait_for_reads()
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY


async def test_an_answer_is_as_old_as_its_question(
    keys: Keys, secrets: FakeSecrets, clock: Clock
) -> None:
    """What was read across a freeze is not taken for news."""
    secrets.open.clear()
    asking = asyncio.create_task(keys.upstream_key("upstream"))
    while not secrets.reads:
        await asyncio.sleep(0.001)
    clock.now += TTL_S
    secrets.open.set()
    assert await asking == UPSTREAM_KEY
    await keys.upstream_key("upstream")
    await keys.wait_for_reads()
    assert len(secrets.reads) == 2


async def test_a_failed_renewal_leaves_the_old_key(
    keys: Keys, secrets: FakeSecrets, clock: Clock, logs: Logged
) -> None:
    """While Secrets Manager is down known keys go on working; a warning says so, no error."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    clock.now += TTL_S
    secrets.failure = aws_error("InternalServiceError")
    for _ in range(2):
        assert await keys.caller_key_version(CALLER_KEY)
        assert await keys.upstream_key("upstream") == UPSTREAM_KEY
        await keys.wait_for_reads()
    warned = logs.events("key.bridged")
    assert {event["secret"] for event in warned} == {CALLER_SECRET, UPSTREAM_SECRET}
    assert {(event["reason"], event["level"]) for event in warned} == {
        ("InternalServiceError", "WARNING")
    }
    assert "ERROR" not in logs.text


async def test_an_outage_is_told_of_once_a_minute(
    keys: Keys, secrets: FakeSecrets, clock: Clock, logs: Logged
) -> None:
    """However many turns an outage meets, the log is not flooded, nor does it fall silent."""
    await keys.upstream_key("upstream")
    secrets.failure = aws_error("InternalServiceError")
    clock.now += TTL_S
    for _ in range(121):
        await keys.upstream_key("upstream")
        await keys.wait_for_reads()
        clock.now += 1
    assert len(logs.events("key.bridged")) == 3


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AccessDeniedException", "secretsmanager:GetSecretValue"),
        ("InvalidRequestException", "marked for deletion"),
        ("ResourceNotFoundException", "deleted"),
        ("DecryptionFailure", "kms:Decrypt"),
        ("ThrottlingException", "cannot be reached"),
    ],
)
async def test_a_right_lost_or_a_secret_deleted_is_an_outage(  # noqa: PLR0917 - fixtures
    keys: Keys, secrets: FakeSecrets, clock: Clock, logs: Logged, code: str, hint: str
) -> None:
    """Whatever takes a secret away, what was known works on, and the warning says what it is."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    clock.now += TTL_S
    secrets.failure = aws_error(code)
    assert await keys.caller_key_version(CALLER_KEY)
    assert await keys.upstream_key("upstream") == UPSTREAM_KEY
    await keys.wait_for_reads()
    assert all(hint in event["hint"] for event in logs.events("key.bridged"))
    assert await keys.upstream_key("fallback") == UPSTREAM_KEY + "-2"


async def test_no_read_keeps_a_connection(keys: Keys, secrets: FakeSecrets) -> None:
    """The next read may be a freeze away: sockets to Secrets Manager are closed at once."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    closes = secrets.closes
    assert closes
    secrets.failure = aws_error("InternalServiceError")
    await keys.newer_upstream_key("upstream", refused=UPSTREAM_KEY)
    assert secrets.closes == closes + 1


async def test_nobody_closes_what_another_read_needs(clock: Clock) -> None:
    """Two reads share the client: the last one closes it, or the slower one would fail."""
    begun, closed = threading.Event(), threading.Event()

    class SideBySide(FakeSecrets):
        def get_secret_value(self, **kwargs: str) -> Mapping[str, Any]:
            if kwargs["SecretId"] == UPSTREAM_SECRET:
                assert begun.wait(timeout=LIMIT_S)
            elif kwargs.get("VersionStage") == "AWSPREVIOUS":
                begun.set()
                # Here the other read ends. One that closes behind itself does so in this time.
                if closed.wait(timeout=0.3):
                    raise ConnectionError("Pool is closed.")
            return super().get_secret_value(**kwargs)

        def close(self) -> None:
            super().close()
            closed.set()

    secrets = SideBySide()
    secrets.put(CALLER_SECRET, {"key": "newer"})
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=TTL_S, connect=secrets.connect, clock=clock)
    assert await keys.caller_key_version(CALLER_KEY) == "previous"
    await keys.wait_for_reads()
    assert secrets.closes == 1


async def test_strangers_do_not_ask_for_what_cannot_be_read(
    keys: Keys, secrets: FakeSecrets, clock: Clock
) -> None:
    """Before there is a key of the model's, a wrong key costs no read of it; a turn asks anew."""
    del secrets.versions[UPSTREAM_SECRET, "AWSCURRENT"]
    for _ in range(20):
        assert not await keys.caller_key_version("wrong")
        await keys.wait_for_reads()
    assert secrets.reads.count(UPSTREAM_SECRET) == 1
    secrets.put(UPSTREAM_SECRET, {"upstream": "stored"})
    assert await keys.upstream_key("upstream") == "stored"


async def test_a_failed_renewal_is_not_repeated_by_every_turn(
    keys: Keys, secrets: FakeSecrets, clock: Clock
) -> None:
    """While Secrets Manager is down it is asked every ten seconds, not by each turn anew."""
    await keys.upstream_key("upstream")
    secrets.failure = aws_error("InternalServiceError")
    clock.now += TTL_S
    for _ in range(20):
        await keys.upstream_key("upstream")
        await keys.wait_for_reads()
        clock.now += 1
    assert len(secrets.reads) == 1 + 2


async def test_concurrent_turns_share_one_read(keys: Keys, secrets: FakeSecrets) -> None:
    """However many turns begin at once, each secret is read once."""
    async with asyncio.timeout(LIMIT_S):
        accepted = await asyncio.gather(*(keys.caller_key_version(CALLER_KEY) for _ in range(20)))
        await asyncio.gather(*(keys.upstream_key("upstream") for _ in range(20)))
    assert all(accepted)
    assert sorted(secrets.reads) == [CALLER_SECRET, UPSTREAM_SECRET]


async def test_a_hang_up_does_not_cancel_the_read(keys: Keys, secrets: FakeSecrets) -> None:
    """Of two turns that wait for one read, the one that is cancelled leaves the other alone."""
    secrets.open.clear()
    first, second = (asyncio.create_task(keys.upstream_key("upstream")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    secrets.open.set()
    async with asyncio.timeout(LIMIT_S):
        assert await second == UPSTREAM_KEY
    assert secrets.reads == [UPSTREAM_SECRET]


async def test_a_failed_first_read_is_tried_again(keys: Keys, secrets: FakeSecrets) -> None:
    """A failure is not remembered when there is nothing to serve instead."""
    secrets.failure = aws_error("InternalServiceError")
    with pytest.raises(KeyUnavailable):
        await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    secrets.failure = None
    assert await keys.caller_key_version(CALLER_KEY)


async def test_forget_reads_anew(keys: Keys, secrets: FakeSecrets) -> None:
    """After a restore from a snapshot neither the keys nor the client are trusted."""
    assert await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    secrets.put(CALLER_SECRET, {"key": "newer"})
    keys.forget()
    assert await keys.caller_key_version("newer")
    await keys.wait_for_reads()
    assert secrets.connects == 2


async def test_forget_outruns_a_read_under_way(keys: Keys, secrets: FakeSecrets) -> None:
    """What was asked for before the snapshot is not taken for news after it."""
    secrets.open.clear()
    early = asyncio.create_task(keys.upstream_key("upstream"))
    await asyncio.sleep(0)
    keys.forget()
    secrets.open.set()
    await early
    await keys.wait_for_reads()
    await keys.upstream_key("upstream")
    assert len(secrets.reads) == 2


# -- callers' keys


async def test_unknown_keys_ask_for_news_now_and_then(
    keys: Keys, secrets: FakeSecrets, clock: Clock
) -> None:
    """Wrong keys, however many, make us look for a new version at most thrice in ten seconds."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    secrets.reads.clear()
    for _ in range(40):
        for _ in range(3):
            assert not await keys.caller_key_version("wrong")
        clock.now += 1
    assert len(secrets.reads) == 4 * FORCED_READS_LIMIT


async def test_a_wrong_key_hides_no_rotation(keys: Keys, secrets: FakeSecrets) -> None:
    """Somebody with an old key does not use up the look that a new key needs."""
    await keys.caller_key_version(CALLER_KEY)
    assert not await keys.caller_key_version("older than the previous one")
    secrets.put(CALLER_SECRET, {"key": "newer"})
    assert await keys.caller_key_version("newer")


async def test_wrong_keys_do_not_hammer_a_broken_secrets_manager(
    keys: Keys, secrets: FakeSecrets, clock: Clock
) -> None:
    """The limit holds for looks that fail, too, and nobody's key is called wrong by them."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    secrets.reads.clear()
    secrets.failure = aws_error("InternalServiceError")
    clock.now += 1
    for _ in range(40):
        with pytest.raises(KeyUnavailable, match="newer one"):
            await keys.caller_key_version("wrong or new")
        assert await keys.caller_key_version(CALLER_KEY)
        clock.now += 1
    assert len(secrets.reads) == 4 * FORCED_READS_LIMIT
    clock.now += 10
    secrets.failure = None
    assert not await keys.caller_key_version("wrong or new")


async def test_newcomers_share_one_look(keys: Keys, secrets: FakeSecrets, clock: Clock) -> None:
    """Callers who arrive with a new key at the same time are all let in by one read."""
    await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    secrets.put(CALLER_SECRET, {"key": "newer"})
    clock.now += 10
    async with asyncio.timeout(LIMIT_S):
        assert all(await asyncio.gather(*(keys.caller_key_version("newer") for _ in range(5))))
    assert secrets.reads.count(CALLER_SECRET) == 2


async def test_a_rotated_key_works_at_once(keys: Keys, secrets: FakeSecrets) -> None:
    """A new key that no environment has read yet is accepted, a moment after the last read."""
    await keys.caller_key_version(CALLER_KEY)
    secrets.put(CALLER_SECRET, {"key": "newer"})
    assert await keys.caller_key_version("newer")
    assert await keys.caller_key_version(CALLER_KEY)


async def test_a_read_older_than_the_rotation_is_not_the_last_word(
    secrets: FakeSecrets, clock: Clock
) -> None:
    """Who meets a read that began before the rotation waits for one that began after it."""
    answered = threading.Event()

    class Late(FakeSecrets):
        def get_secret_value(self, **kwargs: str) -> Any:
            answer = super().get_secret_value(**kwargs)
            assert answered.wait(LIMIT_S)
            return answer

    late = Late()
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=TTL_S, connect=late.connect, clock=clock)
    answered.set()
    assert await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    answered.clear()
    early = [
        asyncio.create_task(keys.caller_key_version("wrong")),
        asyncio.create_task(keys.newer_upstream_key("upstream", UPSTREAM_KEY)),
    ]
    while len(late.reads) < 4:
        await asyncio.sleep(0.001)
    late.put(CALLER_SECRET, {"key": "newer"})
    late.put(UPSTREAM_SECRET, {"upstream": "newer-too"})
    caller = asyncio.create_task(keys.caller_key_version("newer"))
    upstream = asyncio.create_task(keys.newer_upstream_key("upstream", UPSTREAM_KEY))
    await asyncio.sleep(0.01)
    answered.set()
    async with asyncio.timeout(LIMIT_S):
        assert await caller
        assert await upstream == "newer-too"
        await asyncio.gather(*early)
        await keys.wait_for_reads()


async def test_a_broken_previous_version_harms_nobody(
    keys: Keys, secrets: FakeSecrets, logs: Logged
) -> None:
    """When the previous version cannot be read, the current one still opens the door."""
    read = secrets.get_secret_value

    def denied(**kwargs: str) -> Any:
        if "VersionStage" in kwargs:
            raise aws_error("AccessDeniedException")
        return read(**kwargs)

    secrets.get_secret_value = denied  # type: ignore[method-assign]
    assert await keys.caller_key_version(CALLER_KEY)
    assert logs.event("key.previous_unavailable")["reason"] == "AccessDeniedException"


async def test_the_key_before_a_rotation_is_remembered(keys: Keys, secrets: FakeSecrets) -> None:
    """When the previous version cannot be read, the key that was current until now still counts."""
    await keys.caller_key_version(CALLER_KEY)
    read = secrets.get_secret_value

    def denied(**kwargs: str) -> Any:
        if "VersionStage" in kwargs:
            raise aws_error("InternalServiceError")
        return read(**kwargs)

    secrets.get_secret_value = denied  # type: ignore[method-assign]
    secrets.put(CALLER_SECRET, {"key": "newer"})
    for key in ("newer", CALLER_KEY, "unknown", CALLER_KEY, "newer"):
        assert bool(await keys.caller_key_version(key)) is (key != "unknown")


@pytest.mark.parametrize("presented", ["", " ", "x" * 10_000, "ключ", "\udcff", CALLER_KEY + " "])
async def test_odd_keys_open_nothing(keys: Keys, presented: str) -> None:
    """Whatever is presented, it is compared and refused, never a crash."""
    assert not await keys.caller_key_version(presented)


@pytest.mark.parametrize("value", [{"key": ""}, {}, {"key": 5}, {"other": "x"}, ""])
async def test_a_caller_secret_without_key_is_the_operators_fault(
    keys: Keys, secrets: FakeSecrets, logs: Logged, value: Any
) -> None:
    """When the secret holds no key, nobody is told that theirs is wrong: 503 and a log line."""
    secrets.only(CALLER_SECRET, value if isinstance(value, str) else json.dumps(value))
    for presented in ("anything", ""):
        with pytest.raises(KeyUnavailable):
            await keys.caller_key_version(presented)
    assert logs.events("key.missing")[0]["field"] == "key"


@pytest.mark.parametrize(
    "value",
    [
        json.dumps({"key": CALLER_KEY}),
        json.dumps({"key": f"  {CALLER_KEY}\n", "note": 1}),
        CALLER_KEY,
        f"{CALLER_KEY}\n",
    ],
)
async def test_a_secret_may_be_text_and_may_have_spaces(
    keys: Keys, secrets: FakeSecrets, value: str
) -> None:
    """What people paste into the console is understood: bare text, and spaces around it."""
    secrets.put(CALLER_SECRET, value)
    assert await keys.caller_key_version(CALLER_KEY)


# -- the upstream's keys


async def test_a_bare_upstream_key_is_the_first_candidates(
    keys: Keys, secrets: FakeSecrets
) -> None:
    """A secret that is just the key serves the upstream; the fallback has none."""
    secrets.put(UPSTREAM_SECRET, "sk-bare\n")
    assert await keys.upstream_key("upstream") == "sk-bare"
    with pytest.raises(KeyUnavailable):
        await keys.upstream_key("fallback")


async def test_each_candidate_has_a_key(keys: Keys) -> None:
    """The fallback's key lies in the upstream secret."""
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


MISTAKES = [
    '{"upstream": "sk-trunca',
    '["sk-in-a-list"]',
    '"sk-half-quoted',
    '{"Upstream": "sk-misspelt", "Key": "misspelt"}',
    '{"upstream": "sk-1\\nsk-2", "key": "1\\n2"}',
    '{"upstream": "ключ", "key": "ключ"}',
    '{"upstream": " ", "key": ""}',
    "null",
    "",
]


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_stored_is_no_rotation(  # noqa: PLR0917 - fixtures
    keys: Keys, secrets: FakeSecrets, clock: Clock, logs: Logged, mistake: str, warm: bool
) -> None:
    """A new version without a usable key leaves the one before it in use, and warns."""
    if warm:
        await keys.caller_key_version(CALLER_KEY)
        await keys.wait_for_reads()
        clock.now += TTL_S
    for secret in (CALLER_SECRET, UPSTREAM_SECRET):
        secrets.put(secret, mistake)
    for _ in range(2):
        assert await keys.caller_key_version(CALLER_KEY)
        assert not await keys.caller_key_version("sk-trunca")
        assert await keys.upstream_key("upstream") == UPSTREAM_KEY
        await keys.wait_for_reads()
    hints = {event["secret"]: event["hint"] for event in logs.events("key.bridged")}
    assert hints.keys() == {CALLER_SECRET, UPSTREAM_SECRET}
    assert "make upstream-key" in hints[UPSTREAM_SECRET]
    assert "ERROR" not in logs.text


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_and_nothing_else_is_a_503(
    keys: Keys, secrets: FakeSecrets, logs: Logged, mistake: str
) -> None:
    """Without any version that holds a key the log says what to do, and garbage is sent nowhere."""
    for secret in (CALLER_SECRET, UPSTREAM_SECRET):
        secrets.only(secret, mistake)
    with pytest.raises(KeyUnavailable):
        await keys.caller_key_version(CALLER_KEY)
    with pytest.raises(KeyUnavailable):
        await keys.upstream_key("upstream")
    assert {event["field"] for event in logs.events("key.missing")} == {"key", "upstream"}


async def test_a_mistake_put_right_counts_at_once(
    keys: Keys, secrets: FakeSecrets, logs: Logged
) -> None:
    """The turn after the operator stored the missing key has it; no time has to go by."""
    secrets.only(UPSTREAM_SECRET, "{}")
    with pytest.raises(KeyUnavailable):
        await keys.upstream_key("upstream")
    secrets.put(UPSTREAM_SECRET, {"upstream": "right"})
    assert await keys.upstream_key("upstream") == "right"
    assert len(logs.events("key.missing")) == 1


async def test_a_first_read_around_a_rotation_costs_no_turn(
    secrets: FakeSecrets, clock: Clock, logs: Logged
) -> None:
    """Where the mistake is read as current and again as previous, the key between is found."""
    secrets.put(UPSTREAM_SECRET, '{"upstream')
    read = secrets.get_secret_value

    def rotated_between(**kwargs: str) -> Mapping[str, Any]:
        if kwargs.get("VersionStage") and secrets.reads == [UPSTREAM_SECRET]:
            secrets.put(UPSTREAM_SECRET, {"upstream": "right"})
        return read(**kwargs)

    secrets.get_secret_value = rotated_between  # type: ignore[method-assign]
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=TTL_S, connect=secrets.connect, clock=clock)
    assert await keys.upstream_key("upstream") == "right"
    assert "key.missing" not in logs.text


async def test_a_missing_key_is_not_asked_for_by_every_turn_of_an_outage(
    keys: Keys, secrets: FakeSecrets
) -> None:
    """However many turns lack a key, few reads look for it, none while Secrets Manager fails."""
    secrets.only(UPSTREAM_SECRET, "{}")
    await asyncio.gather(*(keys.upstream_key("upstream") for _ in range(9)), return_exceptions=True)
    assert len(secrets.reads) == 3
    secrets.failure = aws_error("InternalServiceError")
    for _ in range(9):
        with pytest.raises(KeyUnavailable):
            await keys.upstream_key("upstream")
    assert len(secrets.reads) == 4


async def test_a_fallbacks_key_may_be_taken_away(
    keys: Keys, secrets: FakeSecrets, clock: Clock
) -> None:
    """A version without the fallback's key is no mistake: that key is used no more."""
    assert await keys.upstream_key("fallback")
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    clock.now += TTL_S
    await keys.upstream_key("upstream")
    await keys.wait_for_reads()
    assert await keys.upstream_key("upstream") == "newer"
    with pytest.raises(KeyUnavailable):
        await keys.upstream_key("fallback")


async def test_a_refused_key_is_looked_up_again(keys: Keys, secrets: FakeSecrets) -> None:
    """After a 401 the secret is read anew; a key that is the refused one is none."""
    await keys.upstream_key("upstream")
    assert await keys.newer_upstream_key("upstream", refused=UPSTREAM_KEY) is None
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    assert await keys.newer_upstream_key("upstream", refused=UPSTREAM_KEY) == "newer"
    secrets.failure = aws_error("InternalServiceError")
    assert await keys.newer_upstream_key("upstream", refused="newer") is None


async def test_turns_that_are_refused_together_look_once(keys: Keys, secrets: FakeSecrets) -> None:
    """Who comes back with a refusal after the new key was read takes it without another read."""
    await keys.upstream_key("upstream")
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer", "fallback": "newer-2"})
    found = await asyncio.gather(
        *(keys.newer_upstream_key("upstream", UPSTREAM_KEY) for _ in range(9))
    )
    found.append(await keys.newer_upstream_key("upstream", UPSTREAM_KEY))
    assert set(found) == {"newer"}
    assert await keys.newer_upstream_key("fallback", UPSTREAM_KEY + "-2") == "newer-2"
    assert len(secrets.reads) == 2


# -- what is said about it


@pytest.mark.parametrize(
    "failure",
    [aws_error("AccessDeniedException"), TimeoutError(), OSError("no route"), ValueError("odd")],
    ids=lambda failure: type(failure).__name__,
)
async def test_an_unreadable_secret_is_a_503(
    keys: Keys, secrets: FakeSecrets, logs: Logged, failure: Exception
) -> None:
    """Whatever AWS does, the caller learns where to look and the log has the reason."""
    secrets.failure = failure
    with pytest.raises(KeyUnavailable, match=r"key\.unavailable") as caught:
        await keys.caller_key_version(CALLER_KEY)
    await keys.wait_for_reads()
    assert caught.value.status == 503
    reasons = {event["reason"] for event in logs.events("key.unavailable")}
    assert reasons == {
        getattr(failure, "response", {}).get("Error", {}).get("Code") or type(failure).__name__
    }
    hints = {event["secret"]: event["hint"] for event in logs.events("key.unavailable")}
    assert hints.keys() == {CALLER_SECRET, UPSTREAM_SECRET}
    assert all("secretsmanager:" in hint or "reached" in hint for hint in hints.values())


@pytest.mark.parametrize(
    ("case", "failures"),
    [("unset", 1), ("unreadable", 1), ("no key in it", 3), ("mistake bridged", 1), ("good", 0)],
)
async def test_every_failure_to_have_a_key_is_counted(
    secrets: FakeSecrets,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    case: str,
    failures: int,
) -> None:
    """The alarm on keys hears of each kind; of a key that is missing twice, as it is read twice."""
    if case == "unreadable":
        secrets.failure = aws_error("AccessDeniedException")
    elif case == "no key in it":
        secrets.only(UPSTREAM_SECRET, "{}")
    elif case == "mistake bridged":
        secrets.put(UPSTREAM_SECRET, "{}")
    name = "" if case == "unset" else UPSTREAM_SECRET
    keys = Keys(CALLER_SECRET, name, ttl_s=TTL_S, connect=secrets.connect, clock=clock)
    with suppress(KeyUnavailable):
        await keys.upstream_key("upstream")
    assert capsys.readouterr().out.count('"KeyFailures":[1.0]') == failures


async def test_a_deployment_without_secrets_says_so(logs: Logged) -> None:
    """Without the two variables the answer is a 503 that names the cause."""
    keys = Keys("", "", ttl_s=TTL_S, connect=FakeSecrets().connect)
    with pytest.raises(KeyUnavailable, match="names no secret"):
        await keys.caller_key_version("x")
    with pytest.raises(KeyUnavailable, match="names no secret"):
        await keys.upstream_key("upstream")
    await keys.wait_for_reads()
    hints = {event["hint"] for event in logs.events("key.unset")}
    assert any("COMPLETIONS_CALLER_KEY_SECRET" in hint for hint in hints)


async def test_no_key_is_ever_logged(
    keys: Keys, secrets: FakeSecrets, clock: Clock, logs: Logged, capfd: Any
) -> None:
    """Good keys, wrong keys, refused keys and failures: no key comes out anywhere."""
    await keys.caller_key_version(CALLER_KEY)
    clock.now += 10
    await keys.caller_key_version("a-wrong-key-of-a-caller")
    await keys.newer_upstream_key("upstream", refused=UPSTREAM_KEY)
    for secret in (CALLER_SECRET, UPSTREAM_SECRET):
        secrets.only(secret, json.dumps({"oddly-named": f"{CALLER_KEY} {UPSTREAM_KEY}"}))
    keys.forget()
    said = []
    for ask in (keys.caller_key_version("a-wrong-key-of-a-caller"), keys.upstream_key("upstream")):
        try:
            await ask
        except KeyUnavailable as error:
            said.append(f"{error!r} {error.body()}")
    out = capfd.readouterr()
    everything = "\n".join([logs.text, out.out, out.err, *said])
    assert "key.missing" in everything
    for key in (CALLER_KEY, UPSTREAM_KEY, "a-wrong-key-of-a-caller"):
        assert key not in everything


def test_warming_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work before a snapshot needs no region, no credentials and no network."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    def refuse(*_: Any) -> None:
        raise AssertionError("a connection before the snapshot")

    monkeypatch.setattr("socket.socket.connect", refuse)
    warm()


def test_the_real_client_fits() -> None:
    """boto3's client has what the Protocol asks for."""
    with mock_aws():
        client: SecretsClient = secrets_client()
    assert callable(client.get_secret_value)
