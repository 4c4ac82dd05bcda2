"""One secret, cached: stale while it is renewed, read once at a time, bridged when a read fails.

A secret is read on first use, never at import, and its current version is used as soon as it is
there. Once it is older than `ttl_s` it is used stale while a thread renews it, so no turn waits for
Secrets Manager twice. The last good value is used until a better one can be read: neither an outage
nor a mistake in the secret costs a turn.
Does not know who needs the secret (`keys`) or how it is read (`secret_reader`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from completions.errors import KeyUnavailable
from completions.keys.secret_reader import CachedSecret, SecretReader

RETRY_AFTER_S = 10
"""From a failed read to the next in the background; a turn without any key reads at once."""
LOOK_EVERY_S = 1.0
"""Between two looks for a newer value, however many unknown keys may be waiting for it."""
WAIT_LIMIT_S = 3.0
"""The longest wait for a read, from its start, or for a look: a caller waits on the phone."""
_TICKS = 12
READ_LIFE_S = 10.0
"""A read that began this long ago was frozen, since boto3 gives up sooner: stop waiting for it."""


class SecretCache:
    """One secret of this environment. Safe to share between concurrent turns of one loop."""

    def __init__(self, reader: SecretReader, *, ttl_s: float, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._ttl_s = ttl_s
        self._clock = clock
        self.cached: CachedSecret | None = None
        self.reading: asyncio.Task[CachedSecret] | None = None
        self._began_at = 0.0
        """When that read began (wall clock)."""
        self.waited_s = 0.0
        """How long the latest read has lasted, or did, while this process ran."""
        self._late: asyncio.Future[None] | None = None
        """Completes when the read exceeds its limit; None once the read has ended."""
        self._served: asyncio.Future[CachedSecret] | None = None
        """Done once the first read has brought the current version."""
        self.reads_begun = 0
        """The number of reads so far, which numbers the latest."""
        self._failed_at: float | None = None
        self._failed_read = 0
        """The number of the latest read that failed."""
        self._look: asyncio.Task[None] | None = None
        """Waits until the next look may begin, and begins it."""
        self._looked_at = -math.inf
        """When the latest look began (loop time)."""

    async def get(self) -> CachedSecret:
        """Return the secret, from the cache if it was ever read; renew an expired one meanwhile.

        During the first read, the previous version may still be missing.

        Raises:
            KeyUnavailable: Nothing is cached and the secret cannot be read.
        """
        secret = self.cached
        if secret is None:
            task = self._start()
            served = self._served
            await self._wait(task, served)
            return served.result() if served and served.done() else task.result()
        if self._is_past(secret.read_at, self._ttl_s) and self.may_retry():
            self._start()
        return secret

    def prefetch(self) -> None:
        """Start the first read, if there was none."""
        # Callers without a key get here, too, and must not each retry a failed secret.
        if self.cached is None and self.may_retry():
            self._start()

    async def read_until(
        self,
        wanted: Callable[[CachedSecret], bool],
        *,
        may_start: Callable[[], bool] = lambda: True,
    ) -> CachedSecret | None:
        """Read the secret again, at most twice; return it once it is `wanted`, else None.

        `may_start` is asked before starting a read, not before joining one under way.
        """
        # A read under way may have begun before the rotation, so one more follows it. That one
        # began after this call: two reads are enough, however many turns wait for them.
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
        """Return True if the moment is at least that long ago, or in the future.

        Wall clocks are set back, and a value read "in an hour" would count as new for that hour.
        """
        return moment is None or not 0 <= self._clock() - moment < after_s

    async def look(
        self, wanted: Callable[[CachedSecret], bool], *, since: int, limit_s: float = WAIT_LIMIT_S
    ) -> CachedSecret | None:
        """Return the secret once it is `wanted`, or the result of a read after number `since`.

        Return None if that read failed or took longer than `limit_s`. All waiting requests share
        one read every `LOOK_EVERY_S`: many unknown keys neither exhaust Secrets Manager nor keep
        each other from seeing a rotation.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while True:
                    secret = self.cached
                    if secret is not None and (
                        (secret.number > since and secret.settled) or wanted(secret)
                    ):
                        return secret
                    if self._failed_read > since:
                        break
                    # Not awaited: one caller's hang-up must not cancel it for the others.
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
        return self._reader.missing(field)

    def forget(self) -> None:
        """Drop everything. A read under way still serves those who wait for it, but nobody else."""
        self.cached = None
        self.reading = None
        self._failed_at = None
        self._reader.forget()
        self._looked_at = -math.inf

    async def _renew(self) -> CachedSecret:
        task = self._start()
        await self._wait(task)
        return task.result()

    async def _wait(
        self,
        task: asyncio.Task[CachedSecret],
        served: asyncio.Future[CachedSecret] | None = None,
    ) -> None:
        """Wait for a read, or for a part of it; a hang-up does not cancel it for others.

        Raises:
            KeyUnavailable: The read has lasted for `WAIT_LIMIT_S`, and nothing has come.
        """
        coming = {one for one in (task, served, self._late) if one is not None}
        await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
        if not (task.done() or (served is not None and served.done())):
            raise self._reader.late(WAIT_LIMIT_S)

    def _start(self, *, looking: bool = False) -> asyncio.Task[CachedSecret]:
        task = self._under_way()
        if task is None:
            loop = asyncio.get_running_loop()
            self.reads_begun += 1
            self._began_at = self._clock()
            self._served, self._late = loop.create_future(), loop.create_future()
            read = self._reader.read(
                self.reads_begun,
                self.cached,
                partial(self._serve, self._served),
                asks=partial(self._tick, self._late, _TICKS),
                looking=looking,
            )
            self.reading = task = asyncio.create_task(read)
            task.add_done_callback(partial(self._finish, self.reads_begun))
        return task

    def _tick(self, late: asyncio.Future[None], left: int) -> None:
        """Count how long a read lasts, by ticks: while this process is held up it does not age."""
        if left and self._late is late:
            self.waited_s = WAIT_LIMIT_S * (_TICKS - left) / _TICKS
            asyncio.get_running_loop().call_later(WAIT_LIMIT_S / _TICKS, self._tick, late, left - 1)
        elif not late.done():
            late.set_result(None)

    def _under_way(self) -> asyncio.Task[CachedSecret] | None:
        # NOTE: a finished task stays in `reading` until the loop runs its callback. Awaiting it
        # would not yield to the loop, so a turn that waits for news would wait forever.
        if self.reading is None or self.reading.done():
            return None
        return self.reading if 0 <= self._clock() - self._began_at < READ_LIFE_S else None

    def _finish(self, number: int, task: asyncio.Task[CachedSecret]) -> None:
        # Always retrieve the exception: a failed read that nobody waits for has been logged.
        succeeded = not task.cancelled() and task.exception() is None
        if self.reading is task:
            self.reading = self._late = None
            if succeeded:
                self.cached = task.result()
            else:
                self._failed_at = self._clock()
                self._failed_read = number

    def _serve(self, served: asyncio.Future[CachedSecret], secret: CachedSecret) -> None:
        """Publish what a read has brought so far, to those who wait for it and to all others."""
        served.set_result(secret)
        if self.reading is asyncio.current_task():
            self.cached = secret
