"""Which keys are good: the caller's, in two versions, and the upstream's.

`secret_cache` keeps both secrets. Lambda may freeze the environment as soon as an invocation ends,
so each one ends with `wait_for_reads`: a read that is frozen half-way would cost the next turn a
timeout. Keys never reach a log or an error. Does not know requests.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from completions.errors import KeyUnavailable
from completions.keys import bedrock, secrets_manager
from completions.keys.bedrock import RoleKeys
from completions.keys.secret_cache import WAIT_LIMIT_S, SecretCache
from completions.keys.secret_reader import CachedSecret, SecretReader
from completions.keys.secrets_manager import SecretsClient, SecretsManager, secrets_client

READS_WAIT_LIMIT_S = 0.25
"""How long reads under way may delay the end of an invocation."""


class Keys:
    """Both secrets of this environment. Safe to share between concurrent turns of one loop.

    `base_urls` are those of the upstreams, by the name of their key. For one on Amazon Bedrock the
    role makes the key if none is stored; if all are on Bedrock, the secret may be empty.
    """

    def __init__(
        self,
        caller_secret: str,
        upstream_secret: str,
        *,
        ttl_s: float,
        base_urls: Mapping[str, str] | None = None,
        connect: Callable[[], SecretsClient] = secrets_client,
        role_keys: RoleKeys | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        regions = {name: bedrock.region_of(url) for name, url in (base_urls or {}).items()}
        self._bedrock_regions = {name: region for name, region in regions.items() if region}
        self._role_keys = role_keys or RoleKeys(clock=clock)
        # NOTE: wall clock, because a frozen or restored environment must see that time has passed.
        self._manager = SecretsManager(connect)
        caller = SecretReader(
            caller_secret,
            field="key",
            remedy='put a value {"key": "…"} into it',
            with_previous=True,
            manager=self._manager,
            clock=clock,
        )
        upstream = SecretReader(
            upstream_secret,
            field="upstream",
            remedy="run `make upstream-key`",
            with_previous=False,
            optional=bool(regions) and len(self._bedrock_regions) == len(regions),
            manager=self._manager,
            clock=clock,
        )
        self._caller = SecretCache(caller, ttl_s=ttl_s, clock=clock)
        self._upstream = SecretCache(upstream, ttl_s=ttl_s, clock=clock)

    @property
    def known(self) -> bool:
        """True once the caller's key has been read, so that strangers can be told apart."""
        return self._caller.cached is not None

    async def caller_key_version(self, presented: str) -> str:
        """Return which version of the caller key this is: `current`, `previous`, or empty.

        Both versions are accepted, so a rotation has no gap. An unknown key may be newer than the
        cached secret: it is wrong only if a read that began after its arrival does not have it.
        Every comparison takes the same time.

        Raises:
            KeyUnavailable: There is no key to compare with, or it may be out of date.
        """
        # The upstream's key is needed next, so both secrets are read at the same time.
        self._upstream.prefetch()
        if self._bedrock_regions and not self.known:
            self._role_keys.prefetch()
        since, first = self._caller.reads_begun, not self.known
        secret = await self._caller.get()
        if version := _matching_version(presented, secret):
            return version
        newer = await self._caller.look(
            lambda found: bool(_matching_version(presented, found)),
            since=since,
            limit_s=WAIT_LIMIT_S - (self._caller.waited_s if first else 0),
        )
        if newer is not None and (version := _matching_version(presented, newer)):
            return version
        if not (newer or secret).current.get("key"):
            # A key cannot be wrong while there is none to compare it with.
            raise self._caller.missing("key")
        if newer is None:
            # It may be a newer key, so it cannot be called wrong.
            raise KeyUnavailable(
                "The key matches none we know, and Secrets Manager cannot be asked for a "
                "newer one. The operator finds the reason in the log, event key.bridged."
            )
        return ""

    async def upstream_key(self, name: str) -> str:
        """Return the key for the upstream called `name`.

        Raises:
            KeyUnavailable: The secret cannot be read, or does not hold that key.
        """
        if region := self._bedrock_regions.get(name):
            return await self._stored(name) or await self._role_keys.key(region)
        secret: CachedSecret | None = await self._upstream.get()
        if secret and not secret.current.get(name):
            # A rotation may have come between the two versions' reads, or a mistake been corrected.
            # Without a key the turn is lost, so it can wait for one more read.
            secret = await self._upstream.read_until(
                lambda newer: bool(newer.current.get(name)), may_start=self._upstream.may_retry
            )
        if secret is None:
            raise self._upstream.missing(name)
        return secret.current[name]

    async def _stored(self, name: str) -> str | None:
        """Return the key for `name` if the secret can be read and has one."""
        with suppress(KeyUnavailable):
            return (await self._upstream.get()).current.get(name) or None
        return None

    def may_be_stale(self, name: str, status: int) -> bool:
        """Return whether a model API that answers `status` may take a newer key.

        Bedrock's runtime answers 403 to an expired key, where others answer 401.
        """
        return status == 401 or (status == 403 and name in self._bedrock_regions)

    async def newer_upstream_key(self, name: str, refused: str) -> str | None:
        """Return the key for `name` if it is no longer `refused`, else None."""
        if (region := self._bedrock_regions.get(name)) and await self._stored(name) != refused:
            return await self._role_keys.newer_key(region, refused)

        def another(secret: CachedSecret) -> bool:
            return secret.current.get(name, refused) != refused

        # If many turns are refused at once, one reads the secret and the others use its result.
        secret = self._upstream.cached
        if secret is None or not another(secret):
            secret = await self._upstream.read_until(another)
        return secret.current[name] if secret else None

    async def wait_for_reads(self) -> None:
        """Return once no read is under way, or after `READS_WAIT_LIMIT_S`.

        Only an outage takes longer. It must not keep this environment from its next turn, since a
        new environment would know no key at all.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(READS_WAIT_LIMIT_S):
                while reads := self._reads():
                    await asyncio.wait(reads)

    def _reads(self) -> list[asyncio.Task[Any]]:
        reads = (self._caller.reading, self._upstream.reading, self._role_keys.finding)
        return [read for read in reads if read is not None]

    def warm(self) -> None:
        """Load the code that reads secrets and makes keys, without any request."""
        secrets_manager.warm()
        if self._bedrock_regions:
            bedrock.warm()

    def forget(self) -> None:
        """Drop the secrets and the client, which are old after a restore from a snapshot."""
        self._caller.forget()
        self._upstream.forget()
        self._manager.forget()
        self._role_keys.forget()


def _matching_version(presented: str, secret: CachedSecret) -> str:
    # NOTE: HTTP cannot carry surrogates, but a hand-made invocation event can.
    shown = presented.encode("utf-8", "surrogatepass")
    candidates = {
        "current": secret.current.get("key", ""),
        "previous": secret.previous.get("key", ""),
    }
    # A list, not a generator: no early exit. An empty key matches nothing.
    matches = [
        version
        for version, key in candidates.items()
        if hmac.compare_digest(shown, key.encode("utf-8", "surrogatepass")) and key
    ]
    return matches[0] if matches else ""
