"""AWS Secrets Manager: both versions of a secret, what people store in it, why a read failed.

The only module that knows boto3. Knows no policy: `secret_reader` decides which version
to read, and what to use while it cannot be read.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Protocol

from pydantic_core import from_json

NOT_FOUND = "ResourceNotFoundException"
"""AWS's code for a secret, or a version of it, that has no value or does not exist."""
_HINTS = {
    NOT_FOUND: "the secret has no value, or was deleted",
    "InvalidRequestException": "the secret is marked for deletion: restore it",
    "AccessDeniedException": "the function's role needs secretsmanager:GetSecretValue",
    "DecryptionFailure": "the function's role needs kms:Decrypt on the secret's KMS key",
}


class SecretsClient(Protocol):
    """The part of boto3's Secrets Manager client that is used here."""

    def get_secret_value(self, **kwargs: str) -> Mapping[str, Any]:
        """Call AWS's GetSecretValue."""
        ...

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        ...


def secrets_client() -> SecretsClient:
    """Return boto3's client, with timeouts that fit into a voice turn."""
    import boto3
    from botocore.config import Config

    # A hanging request is retried once within the time that a caller waits (`secret_cache`).
    limits = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})
    client: SecretsClient = boto3.client("secretsmanager", config=limits)
    _share_authorities(client)
    return client


def warm() -> None:
    """Load boto3, its description of Secrets Manager and its authorities: most of a first read."""
    import boto3
    from botocore.httpsession import get_cert_path

    # This client is thrown away, so it needs no real region or credentials, and no network.
    client = boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        aws_access_key_id="-",
        aws_secret_access_key="-",  # noqa: S106 - not one
    )
    if (verify := _share_authorities(client)) is not None:
        _authorities().load_verify_locations(get_cert_path(verify))


class _Authorities(ssl.SSLContext):
    """Trusts the authorities of a file that it reads only once.

    urllib3 reads the file for every connection, which takes 18 ms of processor time each (measured
    2026-11-28), and three connections are opened at the same time.
    """

    def __init__(self, _: int) -> None:
        self.hostname_checks_common_name = False  # The same signature as in urllib3.
        self._reading = threading.Lock()
        self._read: set[object] = set()

    def load_verify_locations(
        self, cafile: Any = None, capath: Any = None, cadata: Any = None
    ) -> None:
        """Trust these authorities, too."""
        with self._reading:
            if (cafile, capath, cadata) not in self._read:
                super().load_verify_locations(cafile, capath, cadata)
                self._read.add((cafile, capath, cadata))


@cache
def _authorities() -> _Authorities:
    return _Authorities(ssl.PROTOCOL_TLS_CLIENT)


def _share_authorities(client: Any) -> Any:
    """Let all of a client's connections use one TLS context; return the value for `verify`.

    NOTE: botocore has no public name for this. If the private one disappears, reads take longer.
    """
    with suppress(AttributeError):
        http = client._endpoint.http_session  # noqa: SLF001
        http._manager.connection_pool_kw["ssl_context"] = _authorities()  # noqa: SLF001
        return http._verify  # noqa: SLF001
    return None


class SecretsManager:
    """Reads secrets through one client. Safe to use from several threads at once."""

    def __init__(self, connect: Callable[[], SecretsClient] = secrets_client) -> None:
        self._connect = connect
        self._client: SecretsClient | None = None
        self._readers = 0
        # The first reads run at the same time, and boto3.client is not thread-safe.
        self._lock = threading.Lock()

    def connect(self) -> SecretsClient:
        """Return the client; making it is work of this process, without network. Blocks.

        Raises:
            Exception: As `current` does.
        """
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def current(self, name: str) -> Mapping[str, str]:
        """Return the keys in the secret called `name`, by field name. Blocks.

        Raises:
            Exception: Anything that boto3 raises; `error_code` and `error_hint` explain it.
        """
        with self._using() as client:
            return _keys_in(client.get_secret_value(SecretId=name))

    def previous(self, name: str) -> Mapping[str, str]:
        """Return what the secret held before its last rotation; empty if it had none. Blocks.

        Raises:
            Exception: As in `current`.
        """
        with self._using() as client:
            try:
                return _keys_in(client.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS"))
            except Exception as error:
                if error_code(error) == NOT_FOUND:
                    return {}  # The secret was never rotated.
                raise

    @contextmanager
    def _using(self) -> Iterator[SecretsClient]:
        client = self.connect()
        with self._lock:
            self._readers += 1
        try:
            yield client
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    # The next read may come after a freeze, and must not wait on a dead socket. Not
                    # earlier: urllib3 raises ClosedPoolError for a request that is about to start.
                    client.close()

    def forget(self) -> None:
        """Drop the client, whose credentials are old after a restore from a snapshot."""
        self._client = None


def _keys_in(answer: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the usable keys in a secret's text; a bare text counts as the expected key."""
    text = str(answer.get("SecretString", "")).strip()
    try:
        value = from_json(text)
    except ValueError:
        # Text that begins like JSON but does not parse is a mistake, not a key.
        value = "" if text.startswith(("{", "[", '"')) else text
    if not isinstance(value, dict):
        bare = value if isinstance(value, str) else text if text.isdigit() else ""
        value = {"key": bare, "upstream": bare}
    keys = {name: key.strip() for name, key in value.items() if isinstance(key, str)}
    # Text that no header can carry (two lines, another script) is a mistake as well.
    return {name: key for name, key in keys.items() if key.isascii() and key.isprintable()}


def error_code(error: Exception) -> str:
    """Return AWS's code for a failed read, or the name of the exception's class."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or type(error).__name__)


def error_hint(error: Exception) -> str:
    """Return what a failed read means, for an operator."""
    return _HINTS.get(error_code(error), "Secrets Manager failed or cannot be reached")
