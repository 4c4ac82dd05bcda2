"""One round of waits: keys and the model's connection together, for callers and for no stranger."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
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
    """Answers for all but one version of one secret, until it is let go."""

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
    """Lets connections be opened when a test wants it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.given_up = asyncio.Event()
        self.waiting = 0
        """How many requests have come to it."""
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
    """Hold every connection that is opened before there is a request for it."""
    gate, opened = Gate(), connections.Pool.opened

    async def counted(self: connections.Pool) -> None:
        gate.waiting += 1
        await opened(self)

    monkeypatch.setattr(connections, "open_connection", gate)
    monkeypatch.setattr(connections.Pool, "opened", counted)
    return gate


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """The model."""
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def secrets() -> FakeSecrets:
    """Secrets Manager."""
    return FakeSecrets()


@pytest.fixture
def app(upstream: ScriptedUpstream, secrets: FakeSecrets) -> FastAPI:
    """A deployment that has not seen a request yet."""
    return deploy(upstream.base_url, secrets, **CALM)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(ANSWER_LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


# -- what a first turn waits for


async def test_all_is_asked_for_before_anything_has_come(
    app: FastAPI, upstream: ScriptedUpstream, secrets: FakeSecrets
) -> None:
    """Both versions, both secrets and the connection are under way at once; one is enough."""
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


async def test_the_current_key_waits_for_no_other_version(upstream: ScriptedUpstream) -> None:
    """While the previous version is on its way, a caller with the current one is answered."""
    secrets = HeldVersion(CALLER_SECRET, "AWSPREVIOUS")
    async with calling(deploy(upstream.base_url, secrets, **CALM)) as client:
        turn = asyncio.create_task(ask(client))
        await _until(lambda: bool(upstream.requests))
        secrets.let_go.set()
        assert (await turn).status_code == 200


async def test_the_previous_key_is_good_in_the_first_turn(
    app: FastAPI, secrets: FakeSecrets
) -> None:
    """It waits until both versions are there, and for nothing more."""
    secrets.put(CALLER_SECRET, {"key": "newer"})
    async with calling(app) as client:
        assert (await ask(client)).status_code == 200
    assert secrets.reads.count(CALLER_SECRET) == 1


async def test_what_is_wrong_with_a_request_waits_for_no_upstream_key(
    upstream: ScriptedUpstream,
) -> None:
    """Only a request to a model waits for that secret."""
    secrets = HeldVersion(UPSTREAM_SECRET, "AWSCURRENT")
    async with calling(deploy(upstream.base_url, secrets, **CALM)) as client:
        response = await client.post("/v1/chat/completions", content=b"no JSON")
        assert response.status_code == 400
        secrets.let_go.set()


async def test_a_request_awaits_the_connection_under_way(
    app: FastAPI, upstream: ScriptedUpstream, gate: Gate
) -> None:
    """One that did not would open a second one; of two requests the other opens its own."""
    async with calling(app) as client:
        turns = [asyncio.create_task(ask(client)) for _ in range(2)]
        await _until(lambda: gate.waiting == 2)
        assert upstream.connections == 0
        gate.open.set()
        assert {(await turn).status_code for turn in turns} == {200}
        assert sorted(request.connection for request in upstream.requests) == [0, 1]
        assert (await ask(client)).status_code == 200
    assert upstream.connections == 2


async def test_who_cools_is_not_connected(upstream: ScriptedUpstream, gate: Gate) -> None:
    """The connection is for the candidate that is asked first, be it the fallback."""
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
    """Before the keys are known all share one; without a key there is none, and later neither."""
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


async def test_a_connection_that_died_meanwhile_costs_nothing(
    app: FastAPI, upstream: ScriptedUpstream, secrets: FakeSecrets, logs: Logged
) -> None:
    """Its first request counts as one on a kept connection, and is repeated once for free."""
    upstream.plays([Cut()], answer("Here I am."))
    async with calling(app) as client:
        assert "Here I am." in (await ask(client)).text
    assert [request.connection for request in upstream.requests] == [0, 1]
    assert logs.event("turn.finished")["upstream_requests"] == 1
    assert logs.event("upstream.reconnected")


async def test_a_model_that_refuses_connections_fails_as_ever(
    secrets: FakeSecrets, logs: Logged
) -> None:
    """What is wrong is told by the turn's own request, not by the one before it."""
    with unused_port() as port:
        async with calling(deploy(f"http://127.0.0.1:{port}/v1", secrets, **CALM)) as client:
            assert (await ask(client)).status_code == 502
    assert logs.event("turn.finished")["upstream_requests"] == 3
    assert "Traceback" not in logs.text


async def test_a_hang_up_leaves_nothing_behind(
    app: FastAPI, upstream: ScriptedUpstream, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that nobody waits for any more is given up at the request's end."""
    monkeypatch.setattr(connections, "OPENING_WAIT_LIMIT_S", 0.0)
    async with calling(app) as client:
        refused = await client.post("/v1/chat/completions", headers={"authorization": "Bearer no"})
        assert refused.status_code == 401
        assert gate.given_up.is_set()
        gate.open.set()
        assert (await ask(client)).status_code == 200
    assert upstream.connections == 1


async def test_the_end_of_a_request_waits_for_a_connection_in_a_hurry(
    app: FastAPI, upstream: ScriptedUpstream, gate: Gate
) -> None:
    """One that is there in a moment serves the next turn."""
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


async def test_a_restore_uses_no_connection_of_before(upstream: ScriptedUpstream) -> None:
    """Also one that has never carried a request is old then."""
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


# -- all of it at once


def _keys(secrets: FakeSecrets) -> Keys:
    return Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=300, connect=secrets.connect)


def _readiness(model: Upstream, first: Candidate, keys: Keys | None = None) -> Readiness:
    return Readiness(keys or _keys(FakeSecrets()), model, lambda: first)


async def test_what_is_ready_is_not_made_again(
    upstream: ScriptedUpstream, secrets: FakeSecrets
) -> None:
    """Asked for again, key and connection open and read nothing more."""
    keys = _keys(secrets)
    model = Upstream(keys)
    ready = _readiness(model, Candidate("upstream", upstream.base_url, "m"), keys)
    for _ in range(2):
        await ready.upstream_key()
        await ready.connection()
    assert (upstream.connections, secrets.reads) == (1, [UPSTREAM_SECRET])
    await model.close()


async def test_what_is_not_to_be_had_is_raised(secrets: FakeSecrets) -> None:
    """A key that is not stored and a model that is not there are errors that may be shown."""
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
