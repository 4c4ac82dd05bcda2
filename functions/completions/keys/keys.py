"""The keys of both doors, read from Secrets Manager: callers' keys and the upstream's.

A secret is read on first use, never at import, and kept for `key_ttl_s`. An expired one is served
stale while a thread renews it, so no turn waits for Secrets Manager twice; `settled` lets the
invocation end only when that thread is done, because nothing runs in a frozen environment. What
was known stays in use for as long as nothing better can be read: an outage of Secrets Manager, or
a mistake stored in it, costs no turn.
Knows nothing of requests. Keys never reach a log or an error.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from completions.errors import KeyUnavailable
from completions.keys.secrets_manager import (
    NO_VALUE,
    SecretsClient,
    SecretsManager,
    hint,
    reason,
    secrets_client,
)
from completions.observability import count, log

_UNSET = "set COMPLETIONS_CALLER_KEY_SECRET and COMPLETIONS_UPSTREAM_KEY_SECRET"
LOOK_AGAIN_S = 10
"""A secret that cannot be read is tried again this often, unless a turn waits for it."""
LOOKS = 3
"""Unknown callers' keys, however many, make us look for a newer version so often in that time.

More than one, because a wrong key that somebody keeps sending must not hide a rotation.
"""
SETTLE_S = 0.25
WARN_AGAIN_S = 60
"""That a known key is served for want of a newer one is told once in this time."""


@dataclass(frozen=True, slots=True)
class _Known:
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
        self._manager = SecretsManager(connect)
        # NOTE: wall clock, because a frozen or restored environment must see that time went by.
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._reading: dict[str, asyncio.Task[_Known]] = {}
        self._failed_at: dict[str, float] = {}
        self._looks: deque[float] = deque(maxlen=LOOKS)
        self._warned_at: dict[str, float] = {}

    async def accepts(self, presented: str) -> str:
        """Which version of the callers' key this is: `current`, `previous`, or empty for neither.

        The current and the previous version of the secret count, so a rotation has no gap.
        Every comparison takes the same time. Raises KeyUnavailable.
        """
        # The upstream's key will be needed next: both reads go side by side.
        self._prefetch(self._upstream_secret)
        secret = await self._read(self._caller_secret)
        if version := _version(presented, secret):
            return version
        newer = await self._look(
            self._caller_secret, lambda newer: bool(_version(presented, newer)), self._may_look
        )
        if newer is None and not secret.value.get("key"):
            # Nobody's key is wrong when there is none to compare it with.
            raise self._missing(self._caller_secret, "key")
        if newer is None and self._is_out(self._caller_secret):
            # It may be a new one: nobody is told that theirs is wrong who cannot know.
            raise KeyUnavailable(
                "This is none of the keys known here, and Secrets Manager cannot be asked for a "
                "newer one. The operator finds the reason in the log, event key.bridged."
            )
        return _version(presented, newer) if newer else ""

    async def upstream(self, name: str) -> str:
        """The key for the upstream called `name`. Raises KeyUnavailable."""
        secret: _Known | None = await self._read(self._upstream_secret)
        if secret and not secret.value.get(name):
            # The two versions may have been read around a rotation, or a mistake put right since:
            # without a key the turn is lost, so it may as well wait for one more read.
            secret = await self._look(
                self._upstream_secret,
                lambda newer: bool(newer.value.get(name)),
                lambda: self._is_due(self._upstream_secret),
            )
        if secret is None:
            raise self._missing(self._upstream_secret, name)
        return secret.value[name]

    async def renewed_upstream(self, name: str, refused: str) -> str | None:
        """Another key than the one just refused, if the secret holds one by now."""

        def another(secret: _Known) -> bool:
            return secret.value.get(name, refused) != refused

        # Of many turns that are refused at once, one looks and the others use what it found.
        known = self._known.get(self._upstream_secret)
        if known is None or not another(known):
            known = await self._look(self._upstream_secret, another)
        return known.value[name] if known else None

    async def settled(self) -> None:
        """Returns when no read is under way, or after a while.

        Only an outage takes longer. It must not keep this environment from its next turn, because
        another one might not know any key.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while self._reading:
                    await asyncio.wait(list(self._reading.values()))

    def forget(self) -> None:
        """Drops what was read and the client: after a restore from a snapshot all of it is old."""
        self._known.clear()
        # A read under way still serves those who wait for it, and nobody else.
        self._reading.clear()
        self._failed_at.clear()
        self._looks.clear()
        self._warned_at.clear()
        self._manager.forget()

    def _prefetch(self, name: str) -> None:
        # Strangers come this far: what cannot be read is not asked for by each of them.
        if name not in self._known and self._is_due(name):
            self._start(name)

    async def _read(self, name: str) -> _Known:
        secret = self._known.get(name)
        if secret is None:
            return await self._renew(name)
        if self._clock() - secret.read_at >= self._ttl_s and self._is_due(name):
            self._start(name)
        return secret

    def _is_due(self, name: str) -> bool:
        """Whether the last failure, if any, was long enough ago."""
        return self._clock() - self._failed_at.get(name, 0.0) >= LOOK_AGAIN_S

    def _is_out(self, name: str) -> bool:
        """Whether the last read of a known secret failed."""
        known = self._known.get(name)
        return known is not None and self._failed_at.get(name, 0.0) > known.read_at

    async def _look(
        self,
        name: str,
        wanted: Callable[[_Known], bool],
        may_start: Callable[[], bool] = lambda: True,
    ) -> _Known | None:
        """The secret, read anew, if it is what is wanted."""
        # A read that is under way may have begun before the rotation: one more after it. That one
        # has begun since, whoever began it, so however many wait for news, two reads are enough.
        for last in (self._under_way(name) is None, True):
            if self._under_way(name) is None and not may_start():
                return None
            try:
                secret = await self._renew(name)
            except KeyUnavailable:
                return None
            if wanted(secret):
                return secret
            if last:
                break
        return None

    def _may_look(self) -> bool:
        now = self._clock()
        if len(self._looks) == LOOKS and now - self._looks[0] < LOOK_AGAIN_S:
            return False
        self._looks.append(now)
        return True

    async def _renew(self, name: str) -> _Known:
        # Shielded: one caller's hang-up must not take the key from the others.
        return await asyncio.shield(self._start(name))

    def _start(self, name: str) -> asyncio.Task[_Known]:
        task = self._under_way(name)
        if task is None:
            task = asyncio.create_task(self._fetch(name))
            self._reading[name] = task
            task.add_done_callback(lambda done: self._finish(name, done))
        return task

    def _under_way(self, name: str) -> asyncio.Task[_Known] | None:
        task = self._reading.get(name)
        # NOTE: one that is done stays there until the loop has run its callback. Awaited, it would
        # not yield to the loop, and who waits for news would wait forever.
        return None if task is None or task.done() else task

    def _finish(self, name: str, task: asyncio.Task[_Known]) -> None:
        # Retrieved in any case: a failed read that nobody waited for has been logged.
        good = not task.cancelled() and task.exception() is None
        if self._reading.get(name) is task:
            del self._reading[name]
            if good:
                self._known[name] = task.result()
            else:
                self._failed_at[name] = self._clock()

    async def _fetch(self, name: str) -> _Known:
        if not name:
            count("KeyFailures")
            log.error("key.unset", hint=_UNSET)
            raise KeyUnavailable("The deployment names no secret to read its keys from.")
        field = self._field(name)
        asked_at = self._clock()  # An answer may come after a freeze: it is as old as the question.
        try:
            read = await asyncio.to_thread(
                self._manager.read, name, field=field, both=name == self._caller_secret
            )
        except Exception as error:
            count("KeyFailures")
            if name in self._known:
                self._bridge(name, reason(error), hint(error))
            else:
                what = hint(error)
                if reason(error) == NO_VALUE:
                    what = f"{what}: {self._remedy(name)}"
                log.error("key.unavailable", secret=name, reason=reason(error), hint=what)
            raise KeyUnavailable(
                "A key of this deployment cannot be read from Secrets Manager. "
                "The operator finds the reason in the log, event key.unavailable."
            ) from error
        known = self._known.get(name, _Known({}, {}, 0.0))
        value, previous = read.value, read.previous
        if previous is None:
            previous = known.previous if value == known.value else known.value
        if not value.get(field):
            count("KeyFailures")
            # Somebody stored a mistake: the version before it is better than none.
            for older in (known.value, previous):
                if older.get(field):
                    value = older
                    self._bridge(name, f'the newest version has no "{field}"', self._remedy(name))
                    break
        return _Known(value, previous, asked_at)

    def _field(self, name: str) -> str:
        """The field that the secret is there for."""
        return "key" if name == self._caller_secret else "upstream"

    def _remedy(self, name: str) -> str:
        if name == self._caller_secret:
            return 'put a value {"key": "…"} into it'
        return "run `make upstream-key`"

    def _bridge(self, name: str, why: str, what_to_do: str) -> None:
        """Tells that a known key is served for want of a newer one."""
        now = self._clock()
        if now - self._warned_at.get(name, 0.0) >= WARN_AGAIN_S:
            self._warned_at[name] = now
            log.warning("key.bridged", secret=name, reason=why, hint=what_to_do)

    def _missing(self, name: str, field: str) -> KeyUnavailable:
        remedy = self._remedy(name)
        count("KeyFailures")
        log.error("key.missing", secret=name, field=field, hint=remedy)
        return KeyUnavailable(f'The secret has no "{field}" key. What helps: {remedy}.')


def _version(presented: str, secret: _Known) -> str:
    # NOTE: surrogates cannot come by HTTP, but they can by an event that somebody invokes us with.
    shown = presented.encode("utf-8", "surrogatepass")
    candidates = {
        "current": secret.value.get("key", ""),
        "previous": secret.previous.get("key", ""),
    }
    # A list, not a generator: no early exit. An empty key opens nothing.
    matches = [
        version
        for version, key in candidates.items()
        if hmac.compare_digest(shown, key.encode("utf-8", "surrogatepass")) and key
    ]
    return matches[0] if matches else ""
