"""The keys of both doors, read from Secrets Manager: callers' keys and the upstream's.

A secret is read on first use, never at import, and kept for `key_ttl_s`. An expired one is served
stale while a thread renews it, so no turn waits for Secrets Manager twice; `settled` lets the
invocation end only when that thread is done, because nothing runs in a frozen environment.
Knows nothing of requests. Keys never reach a log or an error.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_core import from_json

from completions.errors import KeyUnavailable
from completions.observability import log

_UNSET = "set COMPLETIONS_CALLER_KEY_SECRET and COMPLETIONS_UPSTREAM_KEY_SECRET"
LOOK_AGAIN_S = 10
"""A secret that we have is read again at most this often, whoever presents what and whatever fails.

A caller's key that does not match makes us look for a newer one; so does the TTL's end.
"""


class SecretsClient(Protocol):
    """The part of boto3's Secrets Manager client that is used here."""

    def get_secret_value(self, **kwargs: str) -> Mapping[str, Any]:
        """AWS's GetSecretValue."""
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


@dataclass(frozen=True, slots=True)
class _Secret:
    value: Mapping[str, str]
    previous: Mapping[str, str]
    read_at: float


class Keys:
    """Both secrets of this environment. Safe to share between concurrent turns of one loop."""

    def __init__(
        self,
        caller_secret: str,
        upstream_secret: str,
        *,
        ttl_s: float,
        connect: Callable[[], SecretsClient] = secrets_client,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._caller_secret = caller_secret
        self._upstream_secret = upstream_secret
        self._ttl_s = ttl_s
        self._connect = connect
        # NOTE: wall clock, because a frozen or restored environment must see that time went by.
        self._clock = clock
        self._client: SecretsClient | None = None
        # boto3.client is not thread-safe, and the first two reads go side by side.
        self._connecting = threading.Lock()
        self._secrets: dict[str, _Secret] = {}
        self._reading: dict[str, asyncio.Task[_Secret]] = {}
        self._tried_at: dict[str, float] = {}

    async def accepts(self, presented: str) -> bool:
        """Whether a caller may come in with this key.

        The current and the previous version of the secret count, so a rotation has no gap.
        Every comparison takes the same time. Raises KeyUnavailable.
        """
        # The upstream's key will be needed next: both reads go side by side.
        self._prefetch(self._upstream_secret)
        secret = await self._read(self._caller_secret)
        if _matches(presented, secret):
            return True
        if self._may_look_again(self._caller_secret):
            with suppress(KeyUnavailable):
                secret = await self._renew(self._caller_secret)
        if not secret.value.get("key"):
            # Nobody's key is wrong when there is none to compare it with.
            log.error("key.missing", secret=self._caller_secret, field="key")
            raise KeyUnavailable('The caller secret has no "key". The operator puts one there.')
        return _matches(presented, secret)

    async def upstream(self, name: str) -> str:
        """The key for the upstream called `name`. Raises KeyUnavailable."""
        secret = await self._read(self._upstream_secret)
        if key := secret.value.get(name):
            return key
        log.error("key.missing", secret=self._upstream_secret, field=name)
        raise KeyUnavailable(
            f'The upstream secret has no "{name}" key. '
            "The operator sets it with `make upstream-key`."
        )

    async def renewed_upstream(self, name: str, refused: str) -> str | None:
        """Another key than the one just refused, if the secret holds one by now."""
        try:
            secret = await self._renew(self._upstream_secret)
        except KeyUnavailable:
            return None
        key = secret.value.get(name)
        return key if key != refused else None

    async def settled(self) -> None:
        """Returns when no read is under way."""
        while self._reading:
            await asyncio.wait(list(self._reading.values()))

    def forget(self) -> None:
        """Drops what was read and the client: after a restore from a snapshot all of it is old."""
        self._secrets.clear()
        # A read under way still serves those who wait for it, and nobody else.
        self._reading.clear()
        self._tried_at.clear()
        self._client = None

    def _prefetch(self, name: str) -> None:
        if name not in self._secrets:
            self._start(name)

    async def _read(self, name: str) -> _Secret:
        secret = self._secrets.get(name)
        if secret is None:
            return await self._renew(name)
        expired = self._clock() - secret.read_at >= self._ttl_s
        if expired and self._may_look_again(name):
            self._start(name)
        return secret

    def _may_look_again(self, name: str) -> bool:
        since_s = self._clock() - self._tried_at.get(name, 0.0)
        return name in self._reading or since_s >= LOOK_AGAIN_S

    async def _renew(self, name: str) -> _Secret:
        # Shielded: one caller's hang-up must not take the key from the others.
        return await asyncio.shield(self._start(name))

    def _start(self, name: str) -> asyncio.Task[_Secret]:
        task = self._reading.get(name)
        if task is None:
            task = asyncio.create_task(self._fetch(name))
            self._reading[name] = task
            self._tried_at[name] = self._clock()
            task.add_done_callback(lambda done: self._finish(name, done))
        return task

    def _finish(self, name: str, task: asyncio.Task[_Secret]) -> None:
        # Retrieved in any case: a failed read that nobody waited for has been logged.
        good = not task.cancelled() and task.exception() is None
        if self._reading.get(name) is task:
            del self._reading[name]
            if good:
                self._secrets[name] = task.result()

    async def _fetch(self, name: str) -> _Secret:
        if not name:
            log.error("key.unset", hint=_UNSET)
            raise KeyUnavailable("The deployment names no secret to read its keys from.")
        try:
            return await asyncio.to_thread(self._fetch_in_thread, name)
        except Exception as error:
            reason = _reason(error)
            hint = (
                "the secret has no value yet: run `make upstream-key`"
                if reason == "ResourceNotFoundException"
                else "see the error; the function's role needs secretsmanager:GetSecretValue"
            )
            log.error("key.unavailable", secret=name, reason=reason, hint=hint)
            raise KeyUnavailable(
                "A key of this deployment cannot be read from Secrets Manager. "
                "The operator finds the reason in the log, event key.unavailable."
            ) from error

    def _fetch_in_thread(self, name: str) -> _Secret:
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
            client = self._client
        value = _parse(client.get_secret_value(SecretId=name))
        previous: Mapping[str, str] = {}
        if name == self._caller_secret:
            try:
                previous = _parse(
                    client.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")
                )
            except Exception as error:
                # A secret that was never rotated has no previous version.
                if _reason(error) != "ResourceNotFoundException":
                    log.warning("key.previous_unavailable", secret=name, reason=_reason(error))
        return _Secret(value, previous, self._clock())


def _parse(answer: Mapping[str, Any]) -> Mapping[str, str]:
    """The secret's fields; a bare string is taken for the one field that is expected."""
    text = str(answer.get("SecretString", "")).strip()
    try:
        value = from_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        value = {"key": text, "upstream": text}
    return {str(name): key.strip() for name, key in value.items() if isinstance(key, str)}


def _matches(presented: str, secret: _Secret) -> bool:
    # NOTE: surrogates cannot come by HTTP, but they can by an event that somebody invokes us with.
    shown = presented.encode("utf-8", "surrogatepass")
    candidates = [version.get("key", "") for version in (secret.value, secret.previous)]
    # A list, not a generator: no early exit. An empty key opens nothing.
    matches = [
        hmac.compare_digest(shown, key.encode("utf-8", "surrogatepass")) and bool(key)
        for key in candidates
    ]
    return any(matches)


def _reason(error: Exception) -> str:
    """AWS's error code, else the exception's class."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or type(error).__name__)
