"""Prepares what a turn needs before it can ask a model, everything at the same time.

That is both keys and a connection to the model that is asked first. A turn waits for each of them
where it needs it, an announced call (`warm`) for each by name. Strangers open nothing: once the
caller's key is known, only its holders open connections; before that, at most one is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from completions.keys.keys import Keys
from completions.settings import Candidate
from completions.upstream.client import Upstream


class Readiness:
    """Gets one environment ready. `first` returns the candidate that the next turn would ask."""

    def __init__(self, keys: Keys, upstream: Upstream, first: Callable[[], Candidate]) -> None:
        self._keys = keys
        self._upstream = upstream
        self._first = first

    async def caller_key_version(self, presented: str) -> str:
        """Return which version of the caller key this is, like `Keys`; begin everything else.

        Raises:
            KeyUnavailable: There is no key to compare with, or none in time.
        """
        if not self._keys.known:
            # After the reads have begun, because opening a connection may import modules first.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._open)
        version = await self._keys.caller_key_version(presented)
        if version and not self._upstream.has_idle:
            self._open()
        return version

    async def upstream_key(self) -> None:
        """Return once the key for the model that is asked first is known.

        Raises:
            KeyUnavailable: There is none.
        """
        await self._keys.upstream_key(self._first().key)

    async def connection(self) -> None:
        """Return once there is a connection to that model.

        Raises:
            CompletionsError: It cannot be opened.
        """
        await self._upstream.opened(self._first())

    async def settle(self) -> None:
        """Return once nothing is under way, because Lambda may then freeze the environment.

        A read or a connection that is frozen half-way would cost the next turn a time-out.
        """
        await self._keys.wait_for_reads()
        await self._upstream.end_openings()

    def _open(self) -> None:
        # The turn's own request will meet the same failure, and report it.
        with suppress(Exception):
            self._upstream.open(self._first())
