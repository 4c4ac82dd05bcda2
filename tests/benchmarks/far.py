"""Secrets and model behind TLS, each with a round trip of 30 ms.

Loopback with a delay: half a round trip in each direction, and another whole one before the first
bytes of a connection, for TCP's handshake, which loopback does at once. Of two relays the outer
one delays, the inner one ends TLS.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.benchmarks.bare import Side, relay
from tests.benchmarks.lambda_path import model
from tests.benchmarks.process import KEY, Caller, Pace
from tests.benchmarks.sandbox import Sandbox, sandbox
from tests.benchmarks.secret_values import SecretValues
from tests.support.tls import make_certificate, server_context

ROUND_TRIP_S = 0.03


class _FarSide(Side):
    """One end of a slow connection."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._connected_at = self._loop.time() + ROUND_TRIP_S

    def data_received(self, data: bytes) -> None:
        sent_at = max(self._loop.time(), self._connected_at)
        self._loop.call_at(sent_at + ROUND_TRIP_S / 2, self.other.send, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._loop.call_later(ROUND_TRIP_S / 2, self.other.close)


@dataclass(frozen=True, slots=True)
class Far:
    """The function with secrets and model far away, and their addresses for direct requests."""

    here: Sandbox
    secrets: str
    model: str
    tls: ssl.SSLContext

    async def secret_chain_ms(self) -> float:
        """Measure the minimum for a secret: connection, TLS, one request, three round trips."""
        url = urlsplit(self.secrets)
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=self.tls)
        name = self.here.ours.environment["COMPLETIONS_UPSTREAM_KEY_SECRET"]
        body = json.dumps({"SecretId": name}).encode()
        writer.write(
            f"POST / HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-length: {len(body)}\r\n"
            "content-type: application/x-amz-json-1.1\r\n"
            "x-amz-target: secretsmanager.GetSecretValue\r\n\r\n".encode()
            + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        taken_ms = (time.perf_counter() - began) * 1000
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"Secrets Manager: {head!r}")
        writer.close()
        return taken_ms

    async def model_ms(self, pace: Pace) -> tuple[float, float]:
        """Measure a connection to the model (two round trips) and a turn on it (one)."""
        began = time.perf_counter()
        async with Caller(self.model, tls=self.tls) as caller:
            connection_ms = (time.perf_counter() - began) * 1000
            return connection_ms, (await caller.ask(5, pace)).first_s * 1000


@asynccontextmanager
async def far(*, built: bool) -> AsyncIterator[Far]:
    """Set everything up. Raises CodeError."""
    async with AsyncExitStack() as stack:
        speaking = await stack.enter_async_context(model())
        here = await stack.enter_async_context(
            sandbox(speaking.url, built=built, parameters={"SnapStart": "On"})
        )
        certificate = make_certificate(here.folder / "certificate.pem")
        tls = server_context(certificate)
        names = here.ours.environment
        values = {
            names["COMPLETIONS_CALLER_KEY_SECRET"]: {"key": KEY},
            names["COMPLETIONS_UPSTREAM_KEY_SECRET"]: {"upstream": "upstream-key"},
        }
        stored = await stack.enter_async_context(SecretValues(values).server())
        secrets = await _behind_tls(f"http://127.0.0.1:{stored.port}", tls, stack)
        url = await _behind_tls(speaking.url, tls, stack)
        variables = {
            "SSL_CERT_FILE": str(certificate),
            "AWS_CA_BUNDLE": str(certificate),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets,
            "COMPLETIONS_UPSTREAM_BASE_URL": f"{url}/v1",
        }
        ours = here.ours.with_variables(variables)
        yield Far(
            dataclasses.replace(here, ours=ours),
            secrets,
            f"{url}/v1",
            ssl.create_default_context(cafile=str(certificate)),
        )


async def _behind_tls(url: str, tls: ssl.SSLContext, stack: AsyncExitStack) -> str:
    split = urlsplit(url)
    ends: list[Side] = []
    stack.push_async_callback(_drop, ends)

    def end(kind: type[Side]) -> Side:
        ends.append(kind())
        return ends[-1]

    inner = await relay(str(split.hostname), int(split.port or 80), lambda: end(Side), tls)
    outer = await relay("127.0.0.1", _port(inner), lambda: end(_FarSide))
    for server in (inner, outer):
        stack.callback(server.close)
    return f"https://127.0.0.1:{_port(outer)}"


async def _drop(ends: list[Side]) -> None:
    """Drop open connections, since delayed bytes would arrive after the loop's end."""
    for one in ends:
        one.abort()
    for _ in range(3):
        await asyncio.sleep(0)


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])
