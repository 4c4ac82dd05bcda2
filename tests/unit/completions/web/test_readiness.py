"""What a turn waits for, begun together: keys and the model's connection, only for callers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fastapi import FastAPI

from completions.errors import KeyUnavailable, UpstreamUnavailable
from completions.keys.keys import Keys
from completions.settings import Candidate
from completions.upstream import connections
from completions.upstream.client import Upstream
from completions.upstream.preconnect import open_connection
from completions.web.readiness import Readiness
from local.scripted.script import Cut, answer
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import ANSWER_LIMIT_S, CALM, ask, calling, deploy, unused_port
from tests.support.logs import Logged
from tests.support.secrets import (
    CALLER_KEY,
    CALLER_SECRET,
    UPSTREAM_SECRET,
    FakeSecrets,
)


class HeldVersion(FakeSecrets):
    """Answers for all but one version of one secret, until released."""

    def __init__(self, name: str, stage: str) -> None:
        super().__init__()
        self.held = (name, stage)
        self.let_go = threading.Event()

    def get_secret_value(self, **kwargs: str) -> Mapping[str, Any]:
        """See `FakeSecrets`."""
        if (kwargs["SecretId"], kwargs.get("VersionStage", "AWSCURRENT")) == self.held:
            assert self.let_go.wait(ANSWER_LIMIT_S)
        return super().get_secret_value(**kwargs)


class Gate:
    """Lets connections open when a test says so."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.given_up = asyncio.Event()
        self.waiting = 0
        """How many connections have been requested."""
        self._really = open_connection

    async def __call__(self, *args: Any) -> None:
        """See `preconnect.open_connection`."""
        self.begun.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        await self._really(*args)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Hold every connection that is opened ahead of a request."""
    gate, opened = Gate(), connections.Pool.opened

    async def counted(self: connections.Pool) -> None:
        gate.waiting += 1
        await opened(self)

    monkeypatch.setattr(connections, "open_connection", gate)
    monkeypatch.setattr(connections.Pool, "opened", counted)
    return gate


@pytest.fixture
def app(upstream: ScriptedUpstream, secrets: FakeSecrets) -> FastAPI:
    """A deployment that has had no request yet."""
    return deploy(upstream.base_url, secrets, **CALM)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(ANSWER_LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


# -- what a first turn waits for


async def test_all_waits_begin_at_once(
    app: FastAPI, upstream: ScriptedUpstream, secrets: FakeSecrets
) -> None:
    """Both versions, both secrets and one connection are requested before anything has come."""
    secrets.open.clear()
    async with calling(app) as client:
        turn = asyncio.create_task(ask(client))
        await _until(lambda: upstream.connections == 1)
        await _until(lambda: len(secrets.reads) == 2 and secrets.previous_reads == 1)
        assert sorted(secrets.reads) == [CALLER_SECRET, UPSTREAM_SECRET]
        assert upstream.requests == []
        secrets.open.set()
        assert (await turn).status_code == 200
        assert (await ask(client)).status_code == 200
    assert upstream.connections == 1


async def test_the_current_key_does_not_wait_for_the_previous_one(
    upstream: ScriptedUpstream,
) -> None:
    """A caller with the current key is answered while the previous version is being read."""
    secrets = HeldVersion(CALLER_SECRET, "AWSPREVIOUS")
    async with calling(deploy(upstream.base_url, secrets, **CALM)) as client:
        turn = asyncio.create_task(ask(client))
        await _until(lambda: bool(upstream.requests))
        secrets.let_go.set()
        assert (await turn).status_code == 200


async def test_the_previous_key_is_good_in_the_first_turn(
    app: FastAPI, secrets: FakeSecrets
) -> None:
    """It waits for both versions, and for nothing else."""
    secrets.put(CALLER_SECRET, {"key": "newer"})
    async with calling(app) as client:
        assert (await ask(client)).status_code == 200
    assert secrets.reads.count(CALLER_SECRET) == 1


async def test_a_bad_request_does_not_wait_for_the_upstream_key(
    upstream: ScriptedUpstream,
) -> None:
    """Only a request to a model waits for that secret."""
    secrets = HeldVersion(UPSTREAM_SECRET, "AWSCURRENT")
    async with calling(deploy(upstream.base_url, secrets, **CALM)) as client:
        response = await client.post("/v1/chat/completions", content=b"no JSON")
        assert response.status_code == 400
        secrets.let_go.set()


async def test_a_request_uses_the_connection_being_opened(
    app: FastAPI, upstream: ScriptedUpstream, gate: Gate
) -> None:
    """Otherwise it would open a second one; of two requests the other opens its own."""
    async with calling(app) as client:
        turns = [asyncio.create_task(ask(client)) for _ in range(2)]
        await _until(lambda: gate.waiting == 2)
        assert upstream.connections == 0
        gate.open.set()
        assert {(await turn).status_code for turn in turns} == {200}
        assert sorted(request.connection for request in upstream.requests) == [0, 1]
        assert (await ask(client)).status_code == 200
    assert upstream.connections == 2


async def test_a_cooling_model_is_not_connected(upstream: ScriptedUpstream, gate: Gate) -> None:
    """The connection is for the candidate that is asked first, even if it is the fallback."""
    fallback = Candidate("fallback", upstream.base_url, "m")
    model = Upstream(_keys(FakeSecrets()))
    ready = _readiness(model, fallback)
    gate.open.set()
    assert await ready.caller_key_version(CALLER_KEY) == "current"
    await ready.connection()
    assert upstream.connections == 1
    await ready.settle()
    await model.close()


# -- strangers


async def test_strangers_open_one_connection_at_most(
    app: FastAPI, upstream: ScriptedUpstream, secrets: FakeSecrets, gate: Gate
) -> None:
    """While keys are unknown they share one; without a key, or later, they open none."""
    wrong = {"x-api-key": "wrong", "authorization": ""}
    async with calling(app) as client:
        for _ in range(3):
            refused = await client.post("/v1/chat/completions", headers={"authorization": ""})
            assert refused.status_code == 401
        assert not gate.begun.is_set()
        secrets.open.clear()
        strangers = [
            asyncio.create_task(client.post("/v1/chat/completions", headers=wrong))
            for _ in range(20)
        ]
        await gate.begun.wait()
        gate.open.set()
        await _until(lambda: upstream.connections == 1)
        secrets.open.set()
        assert {(await one).status_code for one in strangers} == {401}
        upstream.drop_connections()
        await upstream.deserted()
        gate.begun.clear()
        assert (await client.post("/v1/chat/completions", headers=wrong)).status_code == 401
        assert not gate.begun.is_set()
    assert upstream.connections == 1
    assert upstream.requests == []


# -- what goes wrong


async def test_a_connection_that_died_while_idle_costs_nothing(
    app: FastAPI, upstream: ScriptedUpstream, secrets: FakeSecrets, logs: Logged
) -> None:
    """Its first request counts as one on a kept connection, and is repeated once for free."""
    upstream.plays([Cut()], answer("Here I am."))
    async with calling(app) as client:
        assert "Here I am." in (await ask(client)).text
    assert [request.connection for request in upstream.requests] == [0, 1]
    assert logs.event("turn.finished")["upstream_requests"] == 1
    assert logs.event("upstream.reconnected")


async def test_a_model_that_refuses_connections_fails_as_usual(
    secrets: FakeSecrets, logs: Logged
) -> None:
    """The error comes from the turn's own request, not from the early connection."""
    with unused_port() as port:
        async with calling(deploy(f"http://127.0.0.1:{port}/v1", secrets, **CALM)) as client:
            assert (await ask(client)).status_code == 502
    assert logs.event("turn.finished")["upstream_requests"] == 3
    assert "Traceback" not in logs.text


async def test_an_unneeded_connection_is_given_up(
    app: FastAPI, upstream: ScriptedUpstream, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens at the end of the request."""
    monkeypatch.setattr(connections, "OPENING_WAIT_LIMIT_S", 0.0)
    async with calling(app) as client:
        refused = await client.post("/v1/chat/completions", headers={"authorization": "Bearer no"})
        assert refused.status_code == 401
        assert gate.given_up.is_set()
        gate.open.set()
        assert (await ask(client)).status_code == 200
    assert upstream.connections == 1


async def test_the_end_of_a_request_waits_briefly_for_a_connection(
    app: FastAPI, upstream: ScriptedUpstream, gate: Gate
) -> None:
    """One that opens in a moment serves the next turn."""
    async with calling(app) as client:
        stranger = asyncio.create_task(
            client.post("/v1/chat/completions", headers={"authorization": "Bearer no"})
        )
        await gate.begun.wait()
        gate.open.set()
        assert (await stranger).status_code == 401
        assert (await ask(client)).status_code == 200
    assert upstream.connections == 1
    assert not gate.given_up.is_set()


async def test_a_restore_uses_no_earlier_connection(upstream: ScriptedUpstream) -> None:
    """One that has never carried a request is too old by then, too."""
    model = Upstream(_keys(FakeSecrets()))
    candidate = Candidate("upstream", upstream.base_url, "m")
    await model.opened(candidate)
    await _until(lambda: upstream.connections == 1)
    model.forget()
    await model.opened(candidate)
    await model.get(candidate, "/models")
    assert upstream.connections == 2
    assert [request.connection for request in upstream.requests] == [1]
    await model.close()


# -- everything at once


def _keys(secrets: FakeSecrets) -> Keys:
    return Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=300, connect=secrets.connect)


def _readiness(model: Upstream, first: Candidate, keys: Keys | None = None) -> Readiness:
    return Readiness(keys or _keys(FakeSecrets()), model, lambda: first)


async def test_ready_things_are_not_made_again(
    upstream: ScriptedUpstream, secrets: FakeSecrets
) -> None:
    """A second call reads and opens nothing more."""
    keys = _keys(secrets)
    model = Upstream(keys)
    ready = _readiness(model, Candidate("upstream", upstream.base_url, "m"), keys)
    for _ in range(2):
        await ready.upstream_key()
        await ready.connection()
    assert (upstream.connections, secrets.reads) == (1, [UPSTREAM_SECRET])
    await model.close()


async def test_a_missing_key_or_model_raises(secrets: FakeSecrets) -> None:
    """Both errors may be shown to the caller."""
    secrets.only(UPSTREAM_SECRET, "{}")
    keys = _keys(secrets)
    model = Upstream(keys)
    with unused_port() as port:
        nobody = Candidate("upstream", f"http://127.0.0.1:{port}/v1", "m")
        ready = _readiness(model, nobody, keys)
        with pytest.raises(KeyUnavailable):
            await ready.upstream_key()
        with pytest.raises(UpstreamUnavailable):
            await ready.connection()
    await model.close()
