"""Ready for a turn: what it waits for before a model can be asked, all begun together.

That is both keys and a connection to the model that is asked first. A turn waits for each where it
needs it, whoever announces a call (`warm`) for each by name. Strangers open nothing: while the
caller's key is known a connection is opened for those who have it; before, at most one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from completions.keys.keys import Keys
from completions.settings import Candidate
from completions.upstream.client import Upstream


class Readiness:
    """Gets one environment ready. `first` tells which candidate the next turn would ask."""

    def __init__(self, keys: Keys, upstream: Upstream, first: Callable[[], Candidate]) -> None:
        self._keys = keys
        self._upstream = upstream
        self._first = first

    async def caller_key_version(self, presented: str) -> str:
        """Return which version of the caller key this is, as `Keys` does; begin all the rest.

        Raises:
            KeyUnavailable: there is no key to compare with, or none in time.
        """
        if not self._keys.known:
            # After the reads have begun: what opens a connection may have to be imported.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._open)
        version = await self._keys.caller_key_version(presented)
        if version:
            self._open()
        return version

    async def upstream_key(self) -> None:
        """Return when the key for the model that is asked first is known.

        Raises:
            KeyUnavailable: there is none.
        """
        await self._keys.upstream_key(self._first().key)

    async def connection(self) -> None:
        """Return when there is a connection to that model.

        Raises:
            CompletionsError: there is none to be had.
        """
        await self._upstream.opened(self._first())

    async def settle(self) -> None:
        """Return once nothing is under way, because Lambda may then freeze the environment.

        A read or a connection frozen half-way would cost the next turn a time-out.
        """
        await self._keys.wait_for_reads()
        await self._upstream.end_openings()

    def _open(self) -> None:
        # The turn's own request will meet what is wrong here, and tell.
        with suppress(Exception):
            self._upstream.open(self._first())
