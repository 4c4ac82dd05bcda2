"""The actors of a key rotation: callers who never stop, and a provider that changes its keys."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import httpx2

from local.scripted.script import Script, answer, refused
from local.scripted.script_player import RecordedRequest
from tests.support.deployment import chat, spoken

WORDS = "Good morning."
LIMIT_S = 120


class Provider:
    """A scene for a scripted upstream: answers requests with an accepted key."""

    def __init__(self, *keys: str) -> None:
        self.accepts = set(keys)
        self.refused = 0
        self.shown: list[str] = []

    def __call__(self, request: RecordedRequest) -> Script:
        key = request.header("authorization").removeprefix("Bearer ")
        self.shown.append(key)
        if key in self.accepts:
            return answer(WORDS)
        self.refused += 1
        return refused(401, message="Incorrect API key provided.")


class Callers(AbstractAsyncContextManager["Callers"]):
    """So many callers, each with one turn after another, until the context ends.

    They share the keys in turn, which can be changed at any time.
    """

    def __init__(self, client: httpx2.AsyncClient, number: int, *keys: str) -> None:
        self.keys = keys
        self.turns = 0
        self.failed: list[str] = []
        """Status and body of every turn that failed."""
        self._client = client
        self._number = number
        self._stopping = False
        self._turned = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(self._number)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def more(self, turns: int) -> None:
        """Wait until so many more turns have begun and ended."""
        goal = self.turns + turns + self._number  # Some have already begun.
        async with self._turned:
            await self._turned.wait_for(lambda: self.turns >= goal)

    async def _call(self, number: int) -> None:
        while not self._stopping:
            key = self.keys[number % len(self.keys)]
            response = await self._client.post(
                "/v1/chat/completions",
                json=chat(stream=True),
                headers={
                    "authorization": f"Bearer {key}",
                    # A failed turn must show in its status.
                    "x-completions-on-failure": "error",
                },
                timeout=LIMIT_S,
            )
            if response.status_code != 200 or spoken(response.content) != WORDS:
                self.failed.append(f"{response.status_code} {response.text}")
            async with self._turned:
                self.turns += 1
                self._turned.notify_all()
