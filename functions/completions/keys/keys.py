"""Which keys are good: a caller's, compared with two versions, and the upstream's.

Both secrets are cached (`secret_cache`). Nothing runs in a frozen environment, so an invocation
may end only once `settled` returns: no read is left half-way then.
Knows nothing of requests. Keys never reach a log or an error.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from contextlib import suppress

from completions.errors import KeyUnavailable
from completions.keys.secret_cache import CachedSecret, SecretCache
from completions.keys.secrets_manager import SecretsClient, SecretsManager, secrets_client

SETTLE_S = 0.25
"""The longest that a read may keep an invocation from its end."""


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
        # NOTE: wall clock, because a frozen or restored environment must see that time went by.
        self._manager = SecretsManager(connect)
        self._caller = SecretCache(
            caller_secret,
            field="key",
            remedy='put a value {"key": "…"} into it',
            with_previous=True,
            ttl_s=ttl_s,
            manager=self._manager,
            clock=clock,
        )
        self._upstream = SecretCache(
            upstream_secret,
            field="upstream",
            remedy="run `make upstream-key`",
            with_previous=False,
            ttl_s=ttl_s,
            manager=self._manager,
            clock=clock,
        )

    async def accepts(self, presented: str) -> str:
        """Return which caller key this is: `current`, `previous`, or empty for neither.

        The current and the previous version of the secret count, so a rotation has no gap.
        Every comparison takes the same time.

        Raises:
            KeyUnavailable: there is no key to compare with, or it may be out of date.
        """
        # The upstream's key will be needed next: both reads go side by side.
        self._upstream.prefetch()
        secret = await self._caller.get()
        if version := _version(presented, secret):
            return version
        newer = await self._caller.read_until(
            lambda newer: bool(_version(presented, newer)),
            may_start=self._caller.allow_forced_read,
        )
        if newer is not None:
            return _version(presented, newer)
        if not secret.current.get("key"):
            # Nobody's key is wrong when there is none to compare it with.
            raise self._caller.missing("key")
        if self._caller.is_bridging():
            # It may be a newer key, so it cannot be called wrong.
            raise KeyUnavailable(
                "This is none of the keys known here, and Secrets Manager cannot be asked for a "
                "newer one. The operator finds the reason in the log, event key.bridged."
            )
        return ""

    async def upstream(self, name: str) -> str:
        """Return the key for the upstream called `name`.

        Raises:
            KeyUnavailable: the secret cannot be read, or does not hold that key.
        """
        secret: CachedSecret | None = await self._upstream.get()
        if secret and not secret.current.get(name):
            # The two versions may have been read around a rotation, or a mistake put right since:
            # without a key the turn is lost, so it may as well wait for one more read.
            secret = await self._upstream.read_until(
                lambda newer: bool(newer.current.get(name)), may_start=self._upstream.may_retry
            )
        if secret is None:
            raise self._upstream.missing(name)
        return secret.current[name]

    async def renewed_upstream(self, name: str, refused: str) -> str | None:
        """Return another key than the one just refused, if the secret holds one by now."""

        def another(secret: CachedSecret) -> bool:
            return secret.current.get(name, refused) != refused

        # Of many turns that are refused at once, one reads and the others use what it found.
        secret = self._upstream.cached
        if secret is None or not another(secret):
            secret = await self._upstream.read_until(another)
        return secret.current[name] if secret else None

    async def settled(self) -> None:
        """Return once no read is under way, or after `SETTLE_S`.

        Only an outage takes longer. It must not keep this environment from its next turn, because
        another one might not know any key.
        """
        secrets = (self._caller, self._upstream)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while reads := [secret.reading for secret in secrets if secret.reading]:
                    await asyncio.wait(reads)

    def forget(self) -> None:
        """Drop the secrets and the client: after a restore from a snapshot all of it is old."""
        self._caller.forget()
        self._upstream.forget()
        self._manager.forget()


def _version(presented: str, secret: CachedSecret) -> str:
    # NOTE: surrogates cannot come by HTTP, but they can in an event that somebody invokes us with.
    shown = presented.encode("utf-8", "surrogatepass")
    candidates = {
        "current": secret.current.get("key", ""),
        "previous": secret.previous.get("key", ""),
    }
    # A list, not a generator: no early exit. An empty key opens nothing.
    matches = [
        version
        for version, key in candidates.items()
        if hmac.compare_digest(shown, key.encode("utf-8", "surrogatepass")) and key
    ]
    return matches[0] if matches else ""
