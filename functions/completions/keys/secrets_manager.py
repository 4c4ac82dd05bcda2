"""Secrets Manager: both versions of a secret, what people put into it, why a read failed.

The only module that knows boto3. Knows no policy: when a secret is read, and what serves while it
cannot be, is `credentials`'.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_core import from_json

from completions.observability import log

NO_VALUE = "ResourceNotFoundException"
_HINTS = {
    NO_VALUE: "the secret has no value, or was deleted",
    "InvalidRequestException": "the secret is marked for deletion: restore it",
    "AccessDeniedException": "the function's role needs secretsmanager:GetSecretValue",
    "DecryptionFailure": "the function's role needs kms:Decrypt on the secret's KMS key",
}


@dataclass(frozen=True, slots=True)
class Secret:
    """The keys in a secret by the names of their fields, now and before the last rotation."""

    value: Mapping[str, str]
    previous: Mapping[str, str] | None
    """None if it was not wanted or cannot be read; empty if there is none."""


class SecretsClient(Protocol):
    """The part of boto3's Secrets Manager client that is used here."""

    def get_secret_value(self, **kwargs: str) -> Mapping[str, Any]:
        """AWS's GetSecretValue."""
        ...

    def close(self) -> None:
        """Closes the connections; the next call opens new ones."""
        ...


def secrets_client() -> SecretsClient:
    """boto3's client, with time limits that fit into a voice turn."""
    import boto3
    from botocore.config import Config

    limits = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2})
    client: SecretsClient = boto3.client("secretsmanager", config=limits)
    return client


def warm() -> None:
    """Loads boto3 and its description of Secrets Manager: most of what a first read costs."""
    import boto3

    # A client that nobody will use: no region, credentials or network are asked for.
    boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        aws_access_key_id="-",
        aws_secret_access_key="-",  # noqa: S106 - not one
    )


class SecretsManager:
    """Reads secrets; from threads of anybody's."""

    def __init__(self, connect: Callable[[], SecretsClient] = secrets_client) -> None:
        self._connect = connect
        self._client: SecretsClient | None = None
        self._readers = 0
        # The first two reads go side by side: boto3.client is not thread-safe.
        self._lock = threading.Lock()

    def read(self, name: str, *, field: str, both: bool) -> Secret:
        """The secret, which is there for `field`. Blocks; raises what boto3 raises.

        The previous version is read if `both` are wanted, or if the current one lacks the field.
        """
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            client = self._client
            self._readers += 1
        try:
            value = _fields(client.get_secret_value(SecretId=name))
            wanted = both or not value.get(field)
            return Secret(value, _previous(client, name) if wanted else None)
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    # The next read may be a freeze away, and must not wait on a socket that died in
                    # it. Not sooner: urllib3 raises ClosedPoolError at whoever is about to ask.
                    client.close()

    def forget(self) -> None:
        """Drops the client: after a restore from a snapshot its credentials are old."""
        self._client = None


def _previous(client: SecretsClient, name: str) -> Mapping[str, str] | None:
    try:
        return _fields(client.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS"))
    except Exception as error:
        if reason(error) == NO_VALUE:
            return {}  # Never rotated.
        log.warning("key.previous_unavailable", secret=name, reason=reason(error))
        return None


def _fields(answer: Mapping[str, Any]) -> Mapping[str, str]:
    """The keys in a secret's text; a bare one is taken for the one that is expected."""
    text = str(answer.get("SecretString", "")).strip()
    try:
        value = from_json(text)
    except ValueError:
        # What begins like JSON and is none is a mistake, not a key.
        value = "" if text.startswith(("{", "[", '"')) else text
    if not isinstance(value, dict):
        bare = value if isinstance(value, str) else text if text.isdigit() else ""
        value = {"key": bare, "upstream": bare}
    keys = {name: key.strip() for name, key in value.items() if isinstance(key, str)}
    # What no header can carry (two lines, another script) is a mistake as well.
    return {name: key for name, key in keys.items() if key.isascii() and key.isprintable()}


def reason(error: Exception) -> str:
    """AWS's error code, else the exception's class."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or type(error).__name__)


def hint(error: Exception) -> str:
    """What it means, for an operator."""
    return _HINTS.get(reason(error), "Secrets Manager failed or cannot be reached")
