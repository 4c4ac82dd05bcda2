"""One secret, cached: stale while it is renewed, read once at a time, bridged when a read fails.

A secret is read on first use, never at import. Once it is older than `ttl_s` it is served stale
while a thread renews it, so no turn waits for Secrets Manager twice. The last good value serves
for as long as nothing better can be read: an outage, or a mistake somebody stored, costs no turn.
Knows neither who needs the secret (`keys`) nor how AWS is asked (`secrets_manager`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from completions.errors import KeyUnavailable
from completions.keys.secrets_manager import NOT_FOUND, SecretsManager, error_code, error_hint
from completions.observability import count, log

_UNSET_HINT = "set COMPLETIONS_CALLER_KEY_SECRET and COMPLETIONS_UPSTREAM_KEY_SECRET"
RETRY_AFTER_S = 10
"""After a failed read, the next one in the background; a turn that has nothing reads at once."""
LOOK_EVERY_S = 1.0
"""Between two looks for a value that unknown keys may be waiting for, however many they are."""
LOOK_WAIT_LIMIT_S = 3.0
"""The longest wait for such a look and its answer: whoever waits is on the telephone."""
WARN_AGAIN_S = 60
"""Between two `key.bridged` warnings about one secret."""


@dataclass(frozen=True, slots=True)
class CachedSecret:
    """The keys in a secret by field name, before and after the last rotation."""

    current: Mapping[str, str]
    previous: Mapping[str, str]
    read_at: float
    number: int = 0
    """Which read brought it: a read of a higher number began later."""


class SecretCache:
    """One secret of this environment. Safe to share between concurrent turns of one loop.

    `field` is the field that the secret must hold, `remedy` what the log advises if it does not. An
    `optional` secret may have no value, which is then no failure.
    """

    def __init__(
        self,
        name: str,
        *,
        field: str,
        remedy: str,
        with_previous: bool,
        optional: bool = False,
        ttl_s: float,
        manager: SecretsManager,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._field = field
        self._remedy = remedy
        self._with_previous = with_previous
        self._optional = optional
        self._ttl_s = ttl_s
        self._manager = manager
        self._clock = clock
        self.cached: CachedSecret | None = None
        self.reading: asyncio.Task[CachedSecret] | None = None
        self.reads_begun = 0
        """How many reads there were: the number of the latest."""
        self._failed_at: float | None = None
        self._failed_read = 0
        """The number of the latest read that failed."""
        self._look: asyncio.Task[None] | None = None
        """Waits until the next look may begin, and begins it."""
        self._looked_at = -math.inf
        """When the latest look began (loop time)."""
        self._warned_at: float | None = None

    async def get(self) -> CachedSecret:
        """Return the secret, from the cache if it was ever read; renew an expired one behind it.

        Raises:
            KeyUnavailable: nothing is cached and the secret cannot be read.
        """
        secret = self.cached
        if secret is None:
            return await self._renew()
        if self._is_past(secret.read_at, self._ttl_s) and self.may_retry():
            self._start()
        return secret

    def prefetch(self) -> None:
        """Start the first read, if there was none."""
        # Callers without a key get here, too: they must not each retry a secret that failed.
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
        return self._is_past(self._failed_at, RETRY_AFTER_S)

    def _is_past(self, moment: float | None, after_s: float) -> bool:
        """Return True if the moment is at least that long ago, or lies in the future.

        Wall clocks are set back, and what was read "in an hour" would be new for that hour.
        """
        return moment is None or not 0 <= self._clock() - moment < after_s

    async def look(
        self, wanted: Callable[[CachedSecret], bool], *, since: int
    ) -> CachedSecret | None:
        """Return the secret once it is `wanted`, or as a later read than number `since` found it.

        Return None if that read failed or took longer than `LOOK_WAIT_LIMIT_S`. All waiting
        requests share one read every `LOOK_EVERY_S`: many unknown keys neither exhaust Secrets
        Manager nor keep each other from seeing a rotation.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_WAIT_LIMIT_S):
                while True:
                    secret = self.cached
                    if secret is not None and (secret.number > since or wanted(secret)):
                        return secret
                    if self._failed_read > since:
                        break
                    # Not awaited: one caller's hang-up must not take it from the others.
                    coming = self.reading or self._next_look()
                    await (asyncio.sleep(0) if coming.done() else asyncio.wait({coming}))
        return None

    def _next_look(self) -> asyncio.Task[None]:
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_when_due())
        return self._look

    async def _look_when_due(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._looked_at + LOOK_EVERY_S - loop.time())
        if self._under_way() is None:
            self._looked_at = loop.time()
            self._start(looking=True)

    def missing(self, field: str) -> KeyUnavailable:
        """Log that the secret has no such field, and return the error to raise."""
        count("KeyFailures")
        log.error("key.missing", secret=self._name, field=field, hint=self._remedy)
        return KeyUnavailable(f'The secret has no "{field}" key. What helps: {self._remedy}.')

    def forget(self) -> None:
        """Drop everything. A read under way still serves those who wait for it, nobody else."""
        self.cached = None
        self.reading = None
        self._failed_at = self._warned_at = None
        self._looked_at = -math.inf

    async def _renew(self) -> CachedSecret:
        # Shielded: one caller's hang-up must not take the key from the others.
        return await asyncio.shield(self._start())

    def _start(self, *, looking: bool = False) -> asyncio.Task[CachedSecret]:
        task = self._under_way()
        if task is None:
            self.reads_begun += 1
            self.reading = task = asyncio.create_task(self._read(self.reads_begun, looking))
            task.add_done_callback(partial(self._finish, self.reads_begun))
        return task

    def _under_way(self) -> asyncio.Task[CachedSecret] | None:
        # NOTE: a task that is done stays in `reading` until the loop runs its callback. Awaiting it
        # would not yield to the loop, so whoever waits for news would wait forever.
        return None if self.reading is None or self.reading.done() else self.reading

    def _finish(self, number: int, task: asyncio.Task[CachedSecret]) -> None:
        # Retrieve the exception in any case: a failed read that nobody waits for has been logged.
        succeeded = not task.cancelled() and task.exception() is None
        if self.reading is task:
            self.reading = None
            if succeeded:
                self.cached = task.result()
            else:
                self._failed_at = self._clock()
                self._failed_read = number

    async def _read(self, number: int, looking: bool) -> CachedSecret:
        if not self._name:
            count("KeyFailures")
            log.error("key.unset", hint=_UNSET_HINT)
            raise KeyUnavailable("The deployment names no secret to read its keys from.")
        # An answer may come after a freeze: it is as old as the question.
        asked_at = self._clock()
        known = self.cached or CachedSecret({}, {}, 0.0)
        try:
            read = await asyncio.to_thread(
                self._manager.read,
                self._name,
                field=self._field,
                with_previous=self._with_previous,
                # A look is for a newer version: while there is none it is one request, not two.
                unless=known.current if looking else None,
            )
        except Exception as error:  # Whatever boto3 raises, the cached value serves.
            if self._optional and error_code(error) == NOT_FOUND:
                return CachedSecret({}, {}, asked_at, number)
            self._log_failure(error)
            raise KeyUnavailable(
                "A key of this deployment cannot be read from Secrets Manager. "
                "The operator finds the reason in the log, event key.unavailable."
            ) from error
        current, previous = read.current, read.previous
        if previous is None:
            previous = known.previous if current == known.current else known.current
        if not current.get(self._field) and not self._optional:
            count("KeyFailures")
            # Somebody stored a mistake: the version before it is better than none.
            for older in (known.current, previous):
                if older.get(self._field):
                    current = older
                    self._warn(f'the newest version has no "{self._field}"', self._remedy)
                    break
        return CachedSecret(current, previous, asked_at, number)

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
        if self._is_past(self._warned_at, WARN_AGAIN_S):
            self._warned_at = self._clock()
            log.warning("key.bridged", secret=self._name, reason=why, hint=advice)
