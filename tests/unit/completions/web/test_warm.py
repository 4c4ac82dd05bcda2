"""`POST …/warm`: it prepares what a first turn waits for, and always answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from completions.web import warm
from local.scripted.upstream import ScriptedUpstream
from local.wire import Exchange, Server
from tests.support.deployment import AUTHORIZED, CALM, calling, chat, deploy, unused_port
from tests.support.logs import Logged
from tests.support.mangum_client import MangumTransport
from tests.support.secrets import CALLER_KEY, UPSTREAM_SECRET, FakeSecrets, aws_error

WARM = "/v1/warm"
INITIATION = {"caller_id": "+1", "agent_id": "a", "called_number": "+2", "call_sid": "CA1"}
READY = ["upstream_key", "connection", "imports"]
CLIENT_DATA = {"type": "conversation_initiation_client_data", "dynamic_variables": {}}


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that no limit is reached, however busy the machine is."""
    monkeypatch.setattr(warm, "LIMIT_S", 60)
    monkeypatch.setattr(warm, "BODY_LIMIT_S", 60)


HURRIED_S = 0.2


async def test_a_first_turn_finds_everything_ready(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, secrets: FakeSecrets, logs: Logged
) -> None:
    """After it a turn reads no secret, opens no connection, and is not counted as a cold start."""
    response = await client.post(WARM)
    assert response.json() == {
        "status": "ready",
        "ready": READY,
        "starting": [],
        "failed": {},
    }
    read = list(secrets.reads)
    assert (upstream.connections, upstream.requests) == (1, [])
    await client.post("/v1/chat/completions", json=chat(stream=True))
    assert secrets.reads == read
    assert upstream.connections == 1
    assert logs.event("turn.finished")["cold_start"] is False


@pytest.mark.parametrize("path", ["/warm", "/v1/warm/", "/any/prefix/warm"])
async def test_any_path_that_ends_in_warm_works(client: httpx2.AsyncClient, path: str) -> None:
    """As with all routes, any prefix and trailing slash will do."""
    assert (await client.post(path)).json()["status"] == "ready"


async def test_a_webhook_gets_its_own_answer(client: httpx2.AsyncClient, logs: Logged) -> None:
    """The platform's webhook gets the answer that it expects, and the log has what was done."""
    response = await client.post(WARM, json=INITIATION)
    assert response.json() == CLIENT_DATA
    event = logs.event("environment.warmed")
    assert (event["platform"], event["ready"]) == ("elevenlabs", READY)
    assert "+1" not in logs.text
    assert "CA1" not in logs.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
async def test_an_unreadable_body_is_ignored(client: httpx2.AsyncClient, body: bytes) -> None:
    """Whatever the body, the environment is made ready."""
    assert (await client.post(WARM, content=body)).json()["status"] == "ready"


async def test_only_callers_with_a_key_are_answered(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """A wrong key is a 401, as everywhere, and no request reaches the model."""
    for key in ("", "Bearer wrong"):
        assert (await client.post(WARM, headers={"authorization": key})).status_code == 401
    assert upstream.requests == []


async def test_a_failure_is_reported(
    client: httpx2.AsyncClient, secrets: FakeSecrets, logs: Logged
) -> None:
    """A missing key appears in the answer, which is a 200, and in the log."""
    del secrets.versions[UPSTREAM_SECRET, "AWSCURRENT"]
    response = await client.post(WARM)
    assert response.status_code == 200
    told = response.json()
    assert told["status"] == "not_ready"
    assert list(told["failed"]) == ["upstream_key"]
    event = logs.event("environment.warmed")
    assert (event["level"], event["failed"]) == ("WARNING", ["upstream_key"])
    await client.post("/v1/chat/completions", json=chat(stream=True))
    assert logs.event("turn.finished")["cold_start"] is True


async def test_no_work_is_done_for_an_unverified_caller(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, secrets: FakeSecrets
) -> None:
    """If the caller key cannot be read, the 200 says so, and nothing else is done."""
    secrets.failure = aws_error("AccessDeniedException")
    response = await client.post(WARM, params={"environments": "3"})
    assert response.status_code == 200
    assert list(response.json()["failed"]) == ["caller_key"]
    assert response.json()["ready"] == []
    assert upstream.requests == []


async def test_a_call_starts_before_any_key_is_known(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, secrets: FakeSecrets, logs: Logged
) -> None:
    """A webhook gets the answer that its call needs, and the log has what failed."""
    secrets.failure = aws_error("ThrottlingException")
    response = await client.post(WARM, json=INITIATION)
    assert (response.status_code, response.json()) == (200, CLIENT_DATA)
    assert upstream.requests == []
    event = logs.event("environment.warmed")
    assert (event["platform"], event["failed"]) == ("elevenlabs", ["caller_key"])


async def test_a_body_that_never_comes_delays_nothing_for_long(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that streams bodies may wait for one; the environment is made ready without it."""
    monkeypatch.setattr(warm, "BODY_LIMIT_S", 0)

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with calling(deploy(upstream.base_url, **CALM)) as client:
        response = await client.post(WARM, content=never())
    assert response.json()["status"] == "ready"


async def test_a_secret_that_never_comes_delays_nothing_for_long(
    client: httpx2.AsyncClient, secrets: FakeSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes when its time is up, even if Secrets Manager has not answered."""
    monkeypatch.setattr(warm, "LIMIT_S", HURRIED_S)
    secrets.open.clear()
    try:
        response = await client.post(WARM, json={})
    finally:
        secrets.open.set()
    assert list(response.json()["failed"]) == ["caller_key"]


class _Url:
    """The function's own URL: it records requests and answers them."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.asked: list[Exchange] = []
        self.all_there = asyncio.Event()
        self.expected = 1

    async def handle(self, exchange: Exchange) -> None:
        await exchange.body(100)
        self.asked.append(exchange)
        if len(self.asked) == self.expected:
            self.all_there.set()
        # All at once, or one environment might serve them all.
        await self.all_there.wait()
        await exchange.answer(self.status, b"{}", "application/json")


def _environment(upstream: ScriptedUpstream, domain: str) -> httpx2.AsyncClient:
    """An environment behind a Function URL of this name, called by another name."""
    transport = MangumTransport(deploy(upstream.base_url, **CALM), domain)
    return httpx2.AsyncClient(
        transport=transport, base_url="http://evil.example", headers=AUTHORIZED
    )


async def test_other_environments_are_warmed_too(upstream: ScriptedUpstream) -> None:
    """Two more are reached by the own URL, at once, with the caller's key."""
    url = _Url()
    url.expected = 2
    async with (
        Server(url.handle) as server,
        _environment(upstream, f"127.0.0.1:{server.port}") as client,
    ):
        response = await client.post("/any/warm", params={"environments": "3"})
    assert response.json() == {
        "status": "ready",
        "ready": ["environment 2", "environment 3", *READY],
        "starting": [],
        "failed": {},
    }
    assert [(one.method, one.target) for one in url.asked] == [("POST", WARM)] * 2
    for one in url.asked:
        assert one.header("x-api-key") == CALLER_KEY
        assert one.header(warm.BESIDE_HEADER) == "1"


async def test_an_asked_environment_asks_no_other(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of our own starts no further ones, whatever its query says."""
    monkeypatch.setattr(warm, "STAY_S", 0)
    url = _Url()
    async with (
        Server(url.handle) as server,
        _environment(upstream, f"127.0.0.1:{server.port}") as client,
    ):
        headers = {warm.BESIDE_HEADER: "1"}
        response = await client.post(WARM, params={"environments": "5"}, headers=headers)
    assert response.json()["ready"] == [*READY, "stay"]
    assert url.asked == []


async def test_an_asked_environment_stays_busy_for_a_moment(
    client: httpx2.AsyncClient, logs: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests made at the same moment thus reach other environments."""
    monkeypatch.setattr(warm, "STAY_S", 0.1)
    assert (await client.post(WARM, headers={warm.BESIDE_HEADER: "1"})).json()["failed"] == {}
    assert logs.event("environment.warmed")["warm_ms"] >= 95


async def test_one_environments_failure_is_reported(upstream: ScriptedUpstream) -> None:
    """An answer other than 200 is reported with its status; the rest is ready."""
    url = _Url(429)
    async with (
        Server(url.handle) as server,
        _environment(upstream, f"127.0.0.1:{server.port}") as client,
    ):
        told = (await client.post(WARM, params={"environments": "2"})).json()
    assert "429" in told["failed"]["environment 2"]
    assert told["ready"] == READY


async def test_a_slow_environment_has_not_failed(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it has not answered yet, it is reported as starting and not waited for."""
    url = _Url()
    url.expected = 2
    async with (
        Server(url.handle) as server,
        _environment(upstream, f"127.0.0.1:{server.port}") as client,
    ):
        # The keys are known then, so only the other environment is waited for.
        await client.post(WARM)
        monkeypatch.setattr(warm, "LIMIT_S", HURRIED_S)
        told = (await client.post(WARM, params={"environments": "2"})).json()
        url.all_there.set()
    assert told["starting"] == ["environment 2"]
    assert "environment 2" not in told["failed"]


async def test_an_unreachable_environment_is_reported(upstream: ScriptedUpstream) -> None:
    """It is a failure like any other, not a crash."""
    with unused_port() as port:
        async with _environment(upstream, f"127.0.0.1:{port}") as client:
            response = await client.post(WARM, params={"environments": "2"})
    told = response.json()
    assert list(told["failed"]) == ["environment 2"]


async def test_no_key_is_sent_to_a_host_that_a_caller_chose(upstream: ScriptedUpstream) -> None:
    """The request's Host is never used: only Lambda says which URL is ours."""
    async with _environment(upstream, "evil.example") as client:
        told = (await client.post(WARM, params={"environments": "2"})).json()
    assert told["failed"] == {"environment 2": "Only a Function URL has other environments."}


@pytest.mark.parametrize("text", ["0", "6", "-1", "two", "", "99999999999", "\u0662"])
async def test_an_invalid_number_is_reported(client: httpx2.AsyncClient, text: str) -> None:
    """Too many, too few or no number at all leave one environment, with an error."""
    told = (await client.post(WARM, params={"environments": text})).json()
    assert list(told["failed"]) == ["environments"]
    assert told["ready"] == READY


async def test_each_warm_request_is_counted(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It adds one to the metric."""
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Test")
    await client.post(WARM)
    assert '"Warmups":[1.0]' in capsys.readouterr().out
