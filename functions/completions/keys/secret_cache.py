"""One secret, cached: stale while it is renewed, read once at a time, bridged when a read fails.

A secret is read on first use, never at import. Once it is older than `ttl_s` it is served stale
while a thread renews it, so no turn waits for Secrets Manager twice. The last good value serves
for as long as nothing better can be read: an outage, or a mistake somebody stored, costs no turn.
Knows neither who needs the secret (`keys`) nor how AWS is asked (`secrets_manager`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from completions.errors import KeyUnavailable
from completions.keys.secrets_manager import NOT_FOUND, SecretsManager, error_code, error_hint
from completions.observability import count, log

_UNSET_HINT = "set COMPLETIONS_CALLER_KEY_SECRET and COMPLETIONS_UPSTREAM_KEY_SECRET"
RETRY_AFTER_S = 10
"""After a failed read, the next one in the background; a turn that has nothing reads at once."""
FORCED_READS_LIMIT = 3
"""Reads that unknown caller keys may force in `FORCED_READS_WINDOW_S`, however many they are.

More than one, because a wrong key that somebody keeps sending must not hide a rotation.
"""
FORCED_READS_WINDOW_S = 10
WARN_AGAIN_S = 60
"""Between two `key.bridged` warnings about one secret."""


@dataclass(frozen=True, slots=True)
class CachedSecret:
    """The keys in a secret by field name, before and after the last rotation."""

    current: Mapping[str, str]
    previous: Mapping[str, str]
    read_at: float


class SecretCache:
    """One secret of this environment. Safe to share between concurrent turns of one loop.

    `field` is the field that the secret must hold, `remedy` what the log advises if it does not.
    """

    def __init__(
        self,
        name: str,
        *,
        field: str,
        remedy: str,
        with_previous: bool,
        ttl_s: float,
        manager: SecretsManager,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._field = field
        self._remedy = remedy
        self._with_previous = with_previous
        self._ttl_s = ttl_s
        self._manager = manager
        self._clock = clock
        self.cached: CachedSecret | None = None
        self.reading: asyncio.Task[CachedSecret] | None = None
        self._failed_at = 0.0
        self._forced_at: deque[float] = deque(maxlen=FORCED_READS_LIMIT)
        self._warned_at = 0.0

    async def get(self) -> CachedSecret:
        """Return the secret, from the cache if it was ever read; renew an expired one behind it.

        Raises:
            KeyUnavailable: nothing is cached and the secret cannot be read.
        """
        secret = self.cached
        if secret is None:
            return await self._renew()
        if self._clock() - secret.read_at >= self._ttl_s and self.may_retry():
            self._start()
        return secret

    def prefetch(self) -> None:
        """Start the first read, if there was none."""
        # Strangers come this far: a secret that cannot be read is not asked for by each of them.
        if self.cached is None and self.may_retry():
            self._start()

    async def read_until(
        self,
        wanted: Callable[[CachedSecret], bool],
        *,
        may_start: Callable[[], bool] = lambda: True,
    ) -> CachedSecret | None:
        """Read the secret anew, at most twice; return it once it is `wanted`, else None.

        `may_start` is asked before a read is started, not before one under way is joined.
        """
        # A read under way may have begun before the rotation, so one more follows it. That one
        # began after this call, whoever started it: however many wait for news, two are enough.
        for _ in range(1 if self._under_way() is None else 2):
            if self._under_way() is None and not may_start():
                return None
            try:
                secret = await self._renew()
            except KeyUnavailable:
                return None
            if wanted(secret):
                return secret
        return None

    def may_retry(self) -> bool:
        """Return whether the last failure, if any, is `RETRY_AFTER_S` ago."""
        return self._clock() - self._failed_at >= RETRY_AFTER_S

    def allow_forced_read(self) -> bool:
        """Count one more forced read; return False if the limit leaves no room for it."""
        now = self._clock()
        forced_at = self._forced_at
        if len(forced_at) == FORCED_READS_LIMIT and now - forced_at[0] < FORCED_READS_WINDOW_S:
            return False
        forced_at.append(now)
        return True

    def is_bridging(self) -> bool:
        """Return whether a cached secret serves because the last read of it failed."""
        return self.cached is not None and self._failed_at > self.cached.read_at

    def missing(self, field: str) -> KeyUnavailable:
        """Log that the secret has no such field, and return the error to raise."""
        count("KeyFailures")
        log.error("key.missing", secret=self._name, field=field, hint=self._remedy)
        return KeyUnavailable(f'The secret has no "{field}" key. What helps: {self._remedy}.')

    def forget(self) -> None:
        """Drop everything. A read under way still serves those who wait for it, nobody else."""
        self.cached = None
        self.reading = None
        self._failed_at = 0.0
        self._forced_at.clear()
        self._warned_at = 0.0

    async def _renew(self) -> CachedSecret:
        # Shielded: one caller's hang-up must not take the key from the others.
        return await asyncio.shield(self._start())

    def _start(self) -> asyncio.Task[CachedSecret]:
        task = self._under_way()
        if task is None:
            self.reading = task = asyncio.create_task(self._read())
            task.add_done_callback(self._finish)
        return task

    def _under_way(self) -> asyncio.Task[CachedSecret] | None:
        # NOTE: a task that is done stays in `reading` until the loop runs its callback. Awaiting it
        # would not yield to the loop, so whoever waits for news would wait forever.
        return None if self.reading is None or self.reading.done() else self.reading

    def _finish(self, task: asyncio.Task[CachedSecret]) -> None:
        # Retrieve the exception in any case: a failed read that nobody waits for has been logged.
        succeeded = not task.cancelled() and task.exception() is None
        if self.reading is task:
            self.reading = None
            if succeeded:
                self.cached = task.result()
            else:
                self._failed_at = self._clock()

    async def _read(self) -> CachedSecret:
        if not self._name:
            count("KeyFailures")
            log.error("key.unset", hint=_UNSET_HINT)
            raise KeyUnavailable("The deployment names no secret to read its keys from.")
        # An answer may come after a freeze: it is as old as the question.
        asked_at = self._clock()
        try:
            read = await asyncio.to_thread(
                self._manager.read,
                self._name,
                field=self._field,
                with_previous=self._with_previous,
            )
        except Exception as error:  # Whatever boto3 raises, the cached value serves.
            self._log_failure(error)
            raise KeyUnavailable(
                "A key of this deployment cannot be read from Secrets Manager. "
                "The operator finds the reason in the log, event key.unavailable."
            ) from error
        known = self.cached or CachedSecret({}, {}, 0.0)
        current, previous = read.current, read.previous
        if previous is None:
            previous = known.previous if current == known.current else known.current
        if not current.get(self._field):
            count("KeyFailures")
            # Somebody stored a mistake: the version before it is better than none.
            for older in (known.current, previous):
                if older.get(self._field):
                    current = older
                    self._warn(f'the newest version has no "{self._field}"', self._remedy)
                    break
        return CachedSecret(current, previous, asked_at)

    def _log_failure(self, error: Exception) -> None:
        count("KeyFailures")
        code, advice = error_code(error), error_hint(error)
        if self.cached is not None:
            self._warn(code, advice)
            return
        if code == NOT_FOUND:
            advice = f"{advice}: {self._remedy}"
        log.error("key.unavailable", secret=self._name, reason=code, hint=advice)

    def _warn(self, why: str, advice: str) -> None:
        """Log that a known key serves for want of a newer one."""
        now = self._clock()
        if now - self._warned_at >= WARN_AGAIN_S:
            self._warned_at = now
            log.warning("key.bridged", secret=self._name, reason=why, hint=advice)
