"""Connections are kept between turns, but not over a freeze or a snapshot; certificates are."""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import botocore
import httpx2
import pytest
import truststore

from completions.upstream import connections
from completions.upstream.connections import Connections
from local.scripted.script import answer, refused
from local.scripted.upstream import ScriptedUpstream
from tests.support.authorities import load_verify_locations
from tests.support.deployment import CALM, ask, calling, deploy

BASE, OTHER = "https://api.example/v1", "https://fallback.example/v1"


@pytest.fixture
def certificates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moments at which the certificates of the public authorities were read."""
    reads: list[float] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        reads.append(time.monotonic())
        load(self, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    return reads


async def test_a_restore_keeps_a_prepared_client(certificates: list[float]) -> None:
    """A client that was never connected is as good after a restore as before the snapshot."""
    kept = Connections()
    warmed = kept.prepare(BASE)
    read = len(certificates)
    assert read
    kept.forget()
    assert kept.acquire(BASE) is warmed
    assert len(certificates) == read
    kept.release(warmed)
    await kept.close()


async def test_a_restore_keeps_no_connection(certificates: list[float]) -> None:
    """Connections from before the snapshot are closed; the certificates are not read again."""
    kept = Connections()
    old, unread = kept.acquire(BASE), kept.acquire(OTHER)
    read = len(certificates)
    kept.release(old)
    kept.forget()
    new, other = kept.acquire(BASE), kept.acquire(OTHER)
    assert new is not old
    assert other is not unread
    assert len(certificates) == read
    for pool in (new, unread, other):
        kept.release(pool)
    await kept.close()


@pytest.mark.parametrize("passed_s", [connections.KEEP_ALIVE_S + 1, -3600])
async def test_after_a_long_freeze_no_certificate_is_read(
    monkeypatch: pytest.MonkeyPatch, certificates: list[float], passed_s: float
) -> None:
    """A turn that finds its connections too old to trust pays only for new ones."""
    kept = Connections()
    old = kept.acquire(BASE)
    kept.release(old)
    read = len(certificates)
    thawed = time.time() + passed_s
    monkeypatch.setattr(time, "time", lambda: thawed)
    new = kept.acquire(BASE)
    assert new is not old
    assert len(certificates) == read
    kept.release(new)
    await kept.close()


@pytest.mark.parametrize("variable", ["", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_trusted_authorities(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    """They are the machine's or those that the environment names, as in httpx2."""
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load_verify_locations)
    authorities = Path(botocore.__file__).with_name("cacert.pem").read_text()
    (first,) = re.findall(r"-----BEGIN.*?-----END [^\n]*\n", authorities, re.DOTALL)[:1]
    (tmp_path / "one.pem").write_text(first)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        chosen = tmp_path / "one.pem" if variable == "SSL_CERT_FILE" else tmp_path
        monkeypatch.setenv(variable, str(chosen))
    ours, theirs = Connections().prepare(BASE).tls, httpx2.create_ssl_context()
    assert ours.get_ca_certs() == theirs.get_ca_certs()
    assert len(ours.get_ca_certs()) == 1 or variable != "SSL_CERT_FILE"
    assert (ours.verify_mode, ours.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (ours.verify_flags, ours.options) == (theirs.verify_flags, theirs.options)


@pytest.mark.parametrize("there", [True, False])
def test_elsewhere_the_systems_own_store_is_trusted(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Without `truststore` it is OpenSSL's; neither needs an HTTP library."""
    monkeypatch.setattr(sys, "platform", "darwin")
    for name in ("httpx", "httpx2", *(() if there else ("truststore",))):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    context = Connections().prepare(BASE).tls
    assert isinstance(context, truststore.SSLContext) is there
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request goes through the environment's proxy, with the proxy's password and our key."""
    requests: list[bytes] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://user:p%40ss@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "fallback.example")
        kept = Connections()
        pool = kept.acquire("http://api.example/v1")
        assert pool.session is not None
        headers = {"authorization": "Bearer ours"}
        async with pool.session.post("http://api.example/v1/x", headers=headers) as response:
            assert await response.read() == b"{}"
        kept.release(pool)
        await kept.close()
    assert requests[0].startswith(b"POST http://api.example/v1/x HTTP/1.1\r\n")
    lines = requests[0].lower().split(b"\r\n")
    assert b"authorization: bearer ours" in lines
    assert b"proxy-authorization: basic " + b64encode(b"user:p@ss").lower() in lines
    assert connections._proxy(OTHER) is None
    assert connections._proxy("http://fallback.example/v1") is None


@pytest.mark.parametrize("stream", [True, False])
async def test_connections_outlive_turns(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, stream: bool
) -> None:
    """The second turn uses the first one's connection: no handshake, no slow start."""
    for _ in range(3):
        assert (await ask(client, stream=stream)).status_code == 200
    assert [request.connection for request in upstream.requests] == [0, 0, 0]


async def test_a_refusal_keeps_the_connection(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """After an upstream's error the connection is used again."""
    upstream.plays(refused(429, retry_after_s=7), answer())
    assert (await ask(client, stream=True)).status_code == 429
    assert (await ask(client, stream=True)).status_code == 200
    assert {request.connection for request in upstream.requests} == {0}


async def test_a_connection_closed_while_idle_is_no_failure(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """Upstreams close idle connections; the next turn opens another and succeeds."""
    await ask(client, stream=True)
    upstream.drop_connections()
    await asyncio.sleep(0)
    assert (await ask(client, stream=True)).status_code == 200


async def test_a_frozen_environments_connections_are_not_used_again(
    monkeypatch: pytest.MonkeyPatch, upstream: ScriptedUpstream
) -> None:
    """After more than a minute by the wall clock every kept connection is considered dead."""
    async with calling(deploy(upstream.base_url, **CALM)) as client:
        await ask(client)
        thawed = time.time() + connections.KEEP_ALIVE_S + 1
        monkeypatch.setattr(time, "time", lambda: thawed)
        await ask(client)
    assert [request.connection for request in upstream.requests] == [0, 1]
