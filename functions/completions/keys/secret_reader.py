"""One read of a secret: which versions to request, and what to use if one is no good.

A first read has turns waiting for each version: they are read at the same time, and the current one
is handed out as soon as it is there. Does not know when a secret is read (`secret_cache`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from completions.errors import KeyUnavailable
from completions.immutable import immutable
from completions.keys.secrets_manager import NOT_FOUND, SecretsManager, error_code, error_hint
from completions.observability import count, log

_UNSET_HINT = "set COMPLETIONS_CALLER_KEY_SECRET and COMPLETIONS_UPSTREAM_KEY_SECRET"
WARN_AGAIN_S = 60
"""Between two `key.bridged` warnings about one secret."""


@immutable
class CachedSecret:
    """The keys in a secret by field name, before and after the last rotation."""

    current: Mapping[str, str]
    previous: Mapping[str, str]
    read_at: float
    number: int = 0
    """The number of the read that brought it: a higher number began later."""
    settled: bool = True
    """False if the previous version was not read after the current one: it may have changed."""


class SecretReader:
    """Reads one secret, and logs what is wrong with it.

    The secret must hold `field`; `remedy` is the log's advice if it does not. An `optional` secret
    may have no value, which then is not a failure.
    """

    def __init__(
        self,
        name: str,
        *,
        field: str,
        remedy: str,
        with_previous: bool,
        optional: bool = False,
        manager: SecretsManager,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._field = field
        self._remedy = remedy
        self._with_previous = with_previous
        self._optional = optional
        self._manager = manager
        self._clock = clock
        self._warned_at: float | None = None

    async def read(
        self,
        number: int,
        known: CachedSecret | None,
        serve: Callable[[CachedSecret], None],
        *,
        asks: Callable[[], None],
        looking: bool,
    ) -> CachedSecret:
        """Return the secret as read number `number` finds it, or else the `known` one, bridged.

        If nothing is known, `serve` gets the current version before the previous one is there.
        A read that is only `looking` for a newer version requests the others only if there is one.

        Raises:
            KeyUnavailable: The current version cannot be read; the log says why.
        """
        if not self._name:
            count("KeyFailures")
            log.error("key.unset", hint=_UNSET_HINT)
            raise KeyUnavailable("The deployment names no secret to read its keys from.")
        with suppress(Exception):  # What is wrong will be met again, and told, by the read.
            await asyncio.to_thread(self._manager.connect)
        asks()
        # An answer may come after a freeze: it is as old as the request.
        asked_at = self._clock()
        # NOTE: a version that was read at the same time as the current one may be two rotations
        # older, so it cannot prove a key wrong.
        beside = self._with_previous and known is None
        before = known or CachedSecret({}, {}, 0.0)
        coming = asyncio.create_task(self._previous()) if beside else None
        try:
            current = await self._current(bridged=known is not None)
            usable = bool(current.get(self._field))
            if beside and usable:
                serve(CachedSecret(current, {}, asked_at, settled=False))
            no_news = looking and before.settled and current == before.current
            previous = None
            if (self._with_previous and not no_news) or not (usable or self._optional):
                previous = await (coming or self._previous())
        finally:
            if coming is not None:
                coming.cancel()
        if isinstance(previous, Exception):
            # The current version is enough.
            reason = error_code(previous)
            log.warning("key.previous_unavailable", secret=self._name, reason=reason)
            previous = None
        if previous is None:
            previous = before.previous if current == before.current else before.current
        if not usable and not self._optional:
            count("KeyFailures")
            # Somebody stored a mistake: the previous version is better than none.
            for older in (before.current, previous):
                if older.get(self._field):
                    current = older
                    self._warn(f'the newest version has no "{self._field}"', self._remedy)
                    break
        return CachedSecret(current, previous, asked_at, number, settled=not beside)

    def missing(self, field: str) -> KeyUnavailable:
        """Log that the secret has no such field, and return the error to raise."""
        count("KeyFailures")
        log.error("key.missing", secret=self._name, field=field, hint=self._remedy)
        return KeyUnavailable(f'The secret has no "{field}" key. What helps: {self._remedy}.')

    def late(self, limit_s: float) -> KeyUnavailable:
        """Log that a read took too long, and return the error to raise."""
        self._log_failure(TimeoutError(), bridged=False)
        return KeyUnavailable(
            f"Secrets Manager has not answered within {limit_s:g} seconds, so a key of this "
            "deployment is not known yet. Ask again in a moment.",
            headers={"retry-after": "1"},
        )

    def forget(self) -> None:
        """Warn again: after a restore from a snapshot this is another environment."""
        self._warned_at = None

    async def _current(self, *, bridged: bool) -> Mapping[str, str]:
        try:
            return await asyncio.to_thread(self._manager.current, self._name)
        except Exception as error:  # Whatever boto3 raises, the cached value is used.
            if self._optional and error_code(error) == NOT_FOUND:
                return {}
            self._log_failure(error, bridged=bridged)
            raise KeyUnavailable(
                "A key of this deployment cannot be read from Secrets Manager. "
                "The operator finds the reason in the log, event key.unavailable."
            ) from error

    async def _previous(self) -> Mapping[str, str] | Exception:
        try:
            return await asyncio.to_thread(self._manager.previous, self._name)
        except Exception as error:
            return error

    def _log_failure(self, error: Exception, *, bridged: bool) -> None:
        count("KeyFailures")
        code, advice = error_code(error), error_hint(error)
        if bridged:
            self._warn(code, advice)
            return
        if code == NOT_FOUND:
            advice = f"{advice}: {self._remedy}"
        log.error("key.unavailable", secret=self._name, reason=code, hint=advice)

    def _warn(self, why: str, advice: str) -> None:
        """Log that a known key is used because no newer one could be read."""
        # The clock may have been set back.
        if self._warned_at is None or not 0 <= self._clock() - self._warned_at < WARN_AGAIN_S:
            self._warned_at = self._clock()
            log.warning("key.bridged", secret=self._name, reason=why, hint=advice)
