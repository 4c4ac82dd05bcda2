"""Connections that died while idle do not delay the next turn's first token."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.scripted.script import answer
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM, calling, chat, deploy, spoken
from tests.support.logs import Logged
from tests.support.tls import make_certificate, server_context

CHAT = "/v1/chat/completions"
PATIENT: dict[str, Any] = {**CALM, "first_token_timeout_ms": 8000}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key in one file."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "certificate.pem")


@pytest.fixture
async def upstream(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ScriptedUpstream]:
    """An upstream over TLS that the function trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = server_context(certificate)
    async with ScriptedUpstream(answer("Here I am."), tls=tls) as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the function over this upstream."""
    async with calling(deploy(upstream.base_url, **PATIENT)) as client:
        yield client


async def _turn(client: httpx2.AsyncClient) -> str:
    response = await client.post(CHAT, json=chat(stream=True))
    return spoken(response.content)


@pytest.mark.parametrize("goes", ["close_connections", "drop_connections"])
async def test_a_connection_that_was_closed_costs_nothing(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, logs: Logged, goes: str
) -> None:
    """If the upstream closed or reset an idle connection, it gets one request on a new one."""
    assert await _turn(client) == "Here I am."
    getattr(upstream, goes)()
    assert await _turn(client) == "Here I am."
    assert [request.connection for request in upstream.requests] == [0, 1]
    assert {event["outcome"] for event in logs.events("turn.finished")} == {"ok"}
    assert "candidate.late" not in logs.text


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT and BPF are Linux's")
async def test_a_connection_that_swallows_everything_is_noticed(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, logs: Logged
) -> None:
    """A peer that vanished silently costs neither an attempt nor the first-token timeout."""
    assert await _turn(client) == "Here I am."
    upstream.vanish()
    assert await _turn(client) == "Here I am."
    # The first connection's request never arrived.
    assert [request.connection for request in upstream.requests] == [0, 1]
    assert len(logs.events("upstream.reconnected")) == 1
    assert "candidate.late" not in logs.text
    assert [event["outcome"] for event in logs.events("turn.finished")] == ["ok", "ok"]
