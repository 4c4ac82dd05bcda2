"""What an environment does outside its turns: before a snapshot, after it, and before a freeze."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpx2
import pytest
import snapshot_restore_py

from completions.app import create_app
from completions.errors import KeyUnavailable
from completions.keys import secrets_manager
from completions.keys.keys import Keys
from completions.settings import Candidate, Settings
from completions.tools import schemas
from completions.upstream.client import Upstream
from tests.support.deployment import chat
from tests.support.logs import Logged


class SpiedKeys(Keys):
    """Keys that record what is done with them."""

    def __init__(self, done: list[str]) -> None:
        super().__init__("", "", ttl_s=1)
        self.waited_for = asyncio.Event()
        self.done = done
        self.settles = asyncio.Event()
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.accepted = "current"

    async def caller_key_version(self, presented: str) -> str:
        """Return the version that the test has set."""
        self.asked.set()
        await self.answers.wait()
        return self.accepted

    async def wait_for_reads(self) -> None:
        """Take as long as the test wants."""
        self.waited_for.set()
        await self.settles.wait()

    def forget(self) -> None:
        """Record it."""
        self.done.append("keys.forget")


class SpiedUpstream(Upstream):
    """An upstream that records what is done with it."""

    def __init__(self, keys: Keys, done: list[str]) -> None:
        super().__init__(keys)
        self.done = done

    def warm(self, candidates: Iterable[Candidate]) -> None:
        """Record it."""
        self.done.append(f"upstream.warm {len(list(candidates))}")

    def forget(self) -> None:
        """Record it."""
        self.done.append("upstream.forget")


async def test_the_hooks_do_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries are loaded before the snapshot; keys, connections and randomness are new after."""
    done: list[str] = []
    hooks: dict[str, Callable[[], None]] = {}

    def noted(what: str) -> Callable[..., None]:
        return lambda *_: done.append(what)

    monkeypatch.setattr(
        snapshot_restore_py, "register_before_snapshot", lambda hook: hooks.update(before=hook)
    )
    monkeypatch.setattr(
        snapshot_restore_py, "register_after_restore", lambda hook: hooks.update(after=hook)
    )
    for module in (secrets_manager, schemas):
        monkeypatch.setattr(module, "warm", noted(f"{module.__name__.rpartition('.')[2]}.warm"))
    monkeypatch.setattr(random, "seed", noted("random.seed"))
    monkeypatch.setattr(ssl, "RAND_add", noted("ssl.RAND_add"))
    keys = SpiedKeys(done)
    create_app(Settings(), keys, SpiedUpstream(keys, done))
    hooks["before"]()
    assert sorted(done) == ["schemas.warm", "secrets_manager.warm", "upstream.warm 1"]
    done.clear()
    hooks["after"]()
    assert sorted(done) == ["keys.forget", "random.seed", "ssl.RAND_add", "upstream.forget"]


def _client(app: Any) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(
        transport=transport, base_url="http://test", headers={"x-api-key": "k"}
    )


async def test_no_request_ends_while_keys_are_read() -> None:
    """Otherwise a freeze could interrupt the read, and the next turn would pay with a time-out."""
    keys = SpiedKeys([])
    async with _client(create_app(Settings(), keys)) as client:
        health = asyncio.create_task(client.get("/health"))
        await keys.waited_for.wait()
        assert not health.done()
        keys.settles.set()
        assert (await health).status_code == 200


async def test_a_turn_stopped_before_it_begins_is_logged(logs: Logged) -> None:
    """With slow keys the layer may stop a request shortly before the deadline."""
    keys = SpiedKeys([])
    keys.settles.set()
    async with _client(create_app(Settings(), keys)) as client:
        turn = asyncio.create_task(client.post("/v1/chat/completions", json=chat()))
        await keys.asked.wait()
        turn.cancel()
        await asyncio.wait({turn})
    assert turn.cancelled()
    event = logs.event("turn.finished")
    assert (event["outcome"], event["error.type"]) == ("error", KeyUnavailable("").code)


async def test_a_request_with_a_wrong_key_is_no_cold_start(logs: Logged) -> None:
    """The first turn is the cold one, whatever requests came before."""
    keys = SpiedKeys([])
    keys.settles.set()
    keys.answers.set()
    keys.accepted = ""
    async with _client(create_app(Settings(), keys)) as client:
        stranger = await client.post("/v1/chat/completions", json=chat())
        assert stranger.status_code == 401
        keys.accepted = "current"
        for _ in range(2):
            await client.post("/v1/chat/completions", content=b"no JSON")
    assert [event["cold_start"] for event in logs.events("turn.finished")] == [True, False]
