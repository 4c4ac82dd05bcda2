"""Secrets Manager: versions, what people store in a secret, one client, and errors explained."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from completions.keys.secrets_manager import (
    NOT_FOUND,
    SecretsClient,
    SecretsManager,
    error_code,
    error_hint,
    secrets_client,
    warm,
)
from tests.support.secrets import (
    CALLER_KEY,
    CALLER_SECRET,
    UPSTREAM_KEY,
    UPSTREAM_SECRET,
    FakeSecrets,
    aws_error,
)
from tests.support.tls import make_certificate, server_context

LIMIT_S = 20


@pytest.fixture
def aws() -> Iterator[Any]:
    """A Secrets Manager of moto's with one secret."""
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name=CALLER_SECRET, SecretString=json.dumps({"key": "first"}))
        yield client


def _current(secrets: FakeSecrets, name: str = CALLER_SECRET) -> Mapping[str, str]:
    return SecretsManager(secrets.connect).current(name)


# -- versions


def test_a_secret_is_found_by_name_and_by_arn(aws: Any) -> None:
    """The template passes ARNs; an operator may set names."""
    arn = aws.describe_secret(SecretId=CALLER_SECRET)["ARN"]
    for name in (CALLER_SECRET, arn):
        assert SecretsManager().current(name) == {"key": "first"}


def test_a_rotated_secret_has_two_versions(aws: Any) -> None:
    """The value before the last rotation is read, too; before the first rotation it is empty."""
    manager = SecretsManager()
    assert manager.previous(CALLER_SECRET) == {}
    for key in ("second", "third"):
        aws.put_secret_value(SecretId=CALLER_SECRET, SecretString=json.dumps({"key": key}))
    assert manager.current(CALLER_SECRET) == {"key": "third"}
    assert manager.previous(CALLER_SECRET) == {"key": "second"}


def test_a_secret_without_a_value_is_not_found(aws: Any) -> None:
    """One that CloudFormation made and nobody filled raises ResourceNotFoundException."""
    aws.create_secret(Name="empty")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - AWS makes the class at run time
        SecretsManager().current("empty")
    assert error_code(caught.value) == NOT_FOUND


# -- what people store


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (json.dumps({"key": CALLER_KEY}), CALLER_KEY),
        (json.dumps({"key": f"  {CALLER_KEY}\n", "note": 1}), CALLER_KEY),
        (CALLER_KEY, CALLER_KEY),
        (f"{CALLER_KEY}\n", CALLER_KEY),
        (json.dumps(CALLER_KEY), CALLER_KEY),
        ("0123456789", "0123456789"),
        ("1234", "1234"),
    ],
)
def test_what_people_paste_is_understood(secrets: FakeSecrets, text: str, key: str) -> None:
    """It may be JSON or bare text, with or without spaces around the key."""
    secrets.put(CALLER_SECRET, text)
    assert _current(secrets)["key"] == key


def test_a_bare_text_is_the_upstreams_key(secrets: FakeSecrets) -> None:
    """A fallback needs a field of its own."""
    secrets.put(UPSTREAM_SECRET, "sk-bare\n")
    current = _current(secrets, UPSTREAM_SECRET)
    assert current["upstream"] == "sk-bare"
    assert "fallback" not in current


@pytest.mark.parametrize(
    "text",
    [
        '{"key": "sk-trunca',
        '["sk-in-a-list"]',
        '"sk-half-quoted',
        '{"Key": "sk-misspelt"}',
        '{"key": "sk-1\\nsk-2"}',
        '{"key": "ключ"}',
        '{"key": " "}',
        '{"key": ""}',
        '{"key": 5}',
        '{"key": null}',
        "{}",
        "null",
        "",
    ],
)
def test_a_mistake_holds_no_key(secrets: FakeSecrets, text: str) -> None:
    """Broken JSON, misspelt fields and keys that no header can carry do not count as keys."""
    secrets.put(CALLER_SECRET, text)
    assert not _current(secrets).get("key")


# -- the client


def test_parallel_reads_share_one_client() -> None:
    """Only one thread makes the client, because boto3's default session is not thread-safe."""
    both = threading.Barrier(2)

    class Slow(FakeSecrets):
        def connect(self) -> FakeSecrets:
            # Two threads in here would pass the barrier; a single one gives up waiting.
            try:
                both.wait(timeout=0.2)
            except threading.BrokenBarrierError:
                return super().connect()
            raise AssertionError("two clients are being made at once")

    secrets = Slow()
    manager = SecretsManager(secrets.connect)
    with ThreadPoolExecutor(2) as threads:
        caller, upstream = threads.map(manager.current, (CALLER_SECRET, UPSTREAM_SECRET))
    assert (caller["key"], upstream["upstream"]) == (CALLER_KEY, UPSTREAM_KEY)
    assert secrets.connects == 1


def test_no_read_keeps_a_connection(secrets: FakeSecrets) -> None:
    """The next read may come after a freeze, so sockets are closed at once, even on failure."""
    manager = SecretsManager(secrets.connect)
    manager.current(CALLER_SECRET)
    assert secrets.closes == 1
    secrets.failure = aws_error("InternalServiceError")
    with pytest.raises(type(secrets.failure)):
        manager.current(CALLER_SECRET)
    assert secrets.closes == 2


def test_a_read_does_not_close_another_ones_client() -> None:
    """Of two reads that share the client, the last one closes it, so the slower one succeeds."""
    slower_is_between, closed = threading.Event(), threading.Event()

    class SideBySide(FakeSecrets):
        def get_secret_value(self, **kwargs: str) -> Mapping[str, Any]:
            if kwargs["SecretId"] == UPSTREAM_SECRET:
                assert slower_is_between.wait(timeout=LIMIT_S)
            elif kwargs.get("VersionStage") == "AWSPREVIOUS":
                slower_is_between.set()
                # The other read ends here. If it closed the client, it would do so in this time.
                if closed.wait(timeout=0.3):
                    raise ConnectionError("Pool is closed.")
            return super().get_secret_value(**kwargs)

        def close(self) -> None:
            super().close()
            closed.set()

    secrets = SideBySide()
    secrets.put(CALLER_SECRET, {"key": "newer"})
    manager = SecretsManager(secrets.connect)
    with ThreadPoolExecutor(2) as threads:
        slower = threads.submit(manager.previous, CALLER_SECRET)
        faster = threads.submit(manager.current, UPSTREAM_SECRET)
        assert slower.result() == {"key": CALLER_KEY}
        assert faster.result()["upstream"] == UPSTREAM_KEY
    assert secrets.closes == 1


def test_forget_makes_a_new_client(secrets: FakeSecrets) -> None:
    """After a restore from a snapshot the old client's credentials are not trusted."""
    manager = SecretsManager(secrets.connect)
    for connects in (1, 1, 2):
        if connects == 2:
            manager.forget()
        manager.current(CALLER_SECRET)
        assert secrets.connects == connects


class _Answering(BaseHTTPRequestHandler):
    """Secrets Manager with one secret."""

    def do_POST(self) -> None:
        """Answer a GetSecretValue."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"SecretString": "over TLS"}')

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_certificate_authorities_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read before a snapshot, for all later connections."""
    certificate = make_certificate(tmp_path / "authority.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    server.socket = server_context(certificate).wrap_socket(server.socket, server_side=True)
    address = f"https://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", address)
    warm()
    reads: list[object] = []
    monkeypatch.setattr(
        ssl.SSLContext, "load_verify_locations", lambda *args, **_: reads.append(args)
    )
    with ThreadPoolExecutor(1) as threads:
        threads.submit(server.serve_forever)
        try:
            for _ in range(2):  # There is a restore between two clients.
                manager = SecretsManager()
                assert manager.current(CALLER_SECRET)["key"] == "over TLS"
                assert manager.previous(CALLER_SECRET)["key"] == "over TLS"
        finally:
            server.shutdown()
            server.server_close()
    assert reads == []


def test_the_client_has_short_timeouts(aws: Any) -> None:
    """Secrets Manager gets seconds within a voice turn, not boto3's minutes."""
    config = secrets_client().meta.config  # type: ignore[attr-defined] # boto3's, not the Protocol's
    assert config.connect_timeout + config.read_timeout <= 5
    assert config.retries["total_max_attempts"] <= 2


def test_boto3_has_what_the_protocol_asks_for(aws: Any) -> None:
    """The real client can be used in place of the fake."""
    client: SecretsClient = secrets_client()
    assert callable(client.get_secret_value)
    assert callable(client.close)


def test_warming_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no Region and no credentials either."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    def refuse(*_: Any) -> None:
        raise AssertionError("a connection before the snapshot")

    monkeypatch.setattr("socket.socket.connect", refuse)
    warm()


# -- errors


@pytest.mark.parametrize(
    ("error", "code", "hint"),
    [
        (
            aws_error("AccessDeniedException"),
            "AccessDeniedException",
            "secretsmanager:GetSecretValue",
        ),
        (aws_error("InvalidRequestException"), "InvalidRequestException", "marked for deletion"),
        (aws_error(NOT_FOUND), NOT_FOUND, "deleted"),
        (aws_error("DecryptionFailure"), "DecryptionFailure", "kms:Decrypt"),
        (aws_error("ThrottlingException"), "ThrottlingException", "cannot be reached"),
        (TimeoutError(), "TimeoutError", "cannot be reached"),
        (OSError("no route"), "OSError", "cannot be reached"),
        (ValueError("odd"), "ValueError", "cannot be reached"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_a_failed_read_is_explained(error: Exception, code: str, hint: str) -> None:
    """The error yields AWS's code or the exception's class, and a hint for the operator."""
    assert error_code(error) == code
    assert hint in error_hint(error)
