"""Broken, lying or endless upstreams: what they cost at most, and what of their data gets out.

The claims are those of docs/threat-model.md, which names these tests.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import tracemalloc
from collections.abc import Iterator

import httpx2
import pytest

from completions import sse
from completions.tools import held_calls
from completions.upstream import limits, refusals
from local.scripted.script import (
    At,
    CallPiece,
    Comment,
    Finish,
    Head,
    Hold,
    Raw,
    Reply,
    Role,
    Say,
    Script,
    Step,
    Think,
    answer,
    refused,
)
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM, ask, calling, chat, deploy, spoken
from tests.support.logs import Logged
from tests.support.secrets import CALLER_KEY, UPSTREAM_KEY, FakeSecrets

CHAT = "/v1/chat/completions"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits, small enough to be reached quickly."""
    monkeypatch.setattr(limits, "ANSWER_LIMIT_BYTES", 64 * 1024)
    monkeypatch.setattr(limits, "EVENTS_LIMIT", 500)
    monkeypatch.setattr(sse, "EVENT_LIMIT_BYTES", 32 * 1024)
    monkeypatch.setattr(refusals, "REFUSAL_LIMIT_BYTES", 16 * 1024)
    monkeypatch.setattr(held_calls, "ARGUMENTS_LIMIT_CHARS", 8 * 1024)


def _endless(*steps: Step, opening: Step | None = None) -> Script:
    """Send far more of this than the small limits allow, and keep the connection open."""
    return [opening or Head(), *steps * (2000 // len(steps)), Hold()]


ENDLESS = {
    "comments": _endless(Comment("x" * 100)),
    "reasoning": _endless(Think("and then " * 10)),
    "empty frames": _endless(Raw(b"data: {}\n\n")),
    "one frame": _endless(Raw(b"x" * 100), opening=Raw(b"data: ")),
    "lines without a blank one": _endless(Raw(b"data: " + b"x" * 100 + b"\n")),
    "tool arguments": _endless(
        CallPiece(0, '["again", ' * 10), opening=CallPiece(0, "", name="x", id="call_1")
    ),
    "tool calls": _endless(*(CallPiece(n, "{}", name="x", id=f"c{n}") for n in range(250))),
    "JSON": _endless(Raw(b'["again"], ' * 10), opening=Head(200, {"content-type": "text/json"})),
    "blanks": _endless(Raw(b" " * 100), opening=Head(200, {"content-type": "text/json"})),
    "an error": _endless(
        Raw(b'["again"], ' * 10), opening=Head(500, {"content-type": "text/json"})
    ),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("script", "stream"),
    [pytest.param(script, True, id=name) for name, script in ENDLESS.items()]
    + [
        pytest.param(ENDLESS[name], False, id=f"{name}, buffered")
        for name in ("one frame", "JSON", "blanks", "an error")
    ],
)
async def test_an_endless_answer_is_ended(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, script: Script, stream: bool
) -> None:
    """An endless answer of any kind is cut off at a limit, hung up on and reported as failed."""
    upstream.plays(script)
    tools = [{"type": "function", "function": {"name": "x", "parameters": {}}}]
    response = await ask(client, stream=stream, tools=tools)
    assert response.status_code in {500, 502}
    assert response.json()["error"]["code"] in {
        "upstream_unavailable",
        "upstream_500",
        "invalid_tool_call",
    }
    for request in upstream.requests:
        await request.hung_up.wait()


@pytest.mark.usefixtures("small")
async def test_endless_words_are_cut(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """The model is heard up to the limit, and its answer does not count as complete."""
    upstream.plays(_endless(Say("and on ")))
    response = await ask(client, stream=True)
    assert "and on and on" in spoken(response.content)
    assert b'"finish_reason":"stop"' not in response.content.replace(b" ", b"")
    await upstream.requests[0].hung_up.wait()


async def test_endless_headers_are_a_502() -> None:
    """The connection is closed after some kilobytes."""
    left = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while True:
                writer.write(b"x-more: " + b"y" * 1000 + b"\r\n")
                await writer.drain()
        except OSError:
            left.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0, family=socket.AF_INET)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with calling(deploy(f"http://127.0.0.1:{port}/v1", **CALM)) as client:
            response = await ask(client, stream=True)
        await left.wait()
    assert response.json()["error"]["code"] == "upstream_unavailable"


@pytest.mark.slow
async def test_the_memory_of_an_answer_is_bounded(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """At the real limits an answer of the smallest frames takes less than half of our memory."""
    upstream.plays([Head(), *[Raw(b"data: {}\n\n" * 20_000)] * 6, Hold()], refused(422))
    tracemalloc.start()
    try:
        response = await ask(client, stream=True)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status_code == 502
    assert upstream.requests
    assert peak_bytes < 512 * 1024 * 1024


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("stream", [True, False])
async def test_a_compression_bomb_is_cut_off(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, stream: bool
) -> None:
    """Unpacked bytes count as if they had been sent, and have the same limit."""
    bomb = gzip.compress(b" " * 10_000_000)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    upstream.plays([Reply(bomb, 200, headers)])
    tracemalloc.start()
    try:
        response = await ask(client, stream=stream)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status_code == 502
    assert peak_bytes < 8_000_000
    assert {request.header("accept-encoding") for request in upstream.requests} == {"identity"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirection_is_followed(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, status: int
) -> None:
    """Neither the key nor the conversation goes where an answer points, on whatever host."""
    async with ScriptedUpstream() as elsewhere:
        moved = {"location": f"{elsewhere.base_url}/chat/completions"}
        upstream.plays([Reply(b"", status, moved)])
        response = await ask(client, stream=True)
        assert elsewhere.requests == []
    assert response.status_code == 502
    assert "not followed" in response.json()["error"]["message"]


@pytest.mark.parametrize("value", ["caf\xe9", "7\x7f", "a\tb", "x" * 200, "1, 2\x80"], ids=ascii)
async def test_odd_headers_are_not_passed_on(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, value: str
) -> None:
    """Of an upstream's headers three reach the caller, and only as short, plain text."""
    headers = {"content-type": "application/json", "set-cookie": "a=b"}
    upstream.plays([Reply(b"{}", 422, {**headers, "retry-after": value, "x-request-id": value})])
    response = await ask(client, stream=True)
    assert response.status_code == 422
    assert response.headers.keys() == {"content-type", "content-length"}


async def test_plain_headers_are_passed_on(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """A request id and a Retry-After, in seconds or as a date, arrive unchanged."""
    kept = {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "x-request-id": "req_1-a.B"}
    upstream.plays([Reply(b"{}", 422, {"content-type": "application/json", **kept})])
    assert kept.items() <= dict((await ask(client, stream=True)).headers).items()


# -- keys


def _echo(status: int, key: str) -> Script:
    error = {"message": f"Bad header: Bearer {key}", "type": key, "code": key, "param": key}
    headers = {"content-type": "application/json", "x-request-id": key}
    return [Reply(json.dumps({"error": error}).encode(), status, headers)]


def _failures(key: str) -> Iterator[tuple[str, Script]]:
    for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529, 302, 999):
        yield str(status), _echo(status, key)
    echoed = json.dumps({"error": {"message": f"no {key}", "code": key, "param": key}}).encode()
    yield "a page", [Reply(f"<html>{key}</html>".encode(), 500, {"content-type": "text/html"})]
    yield "in the stream", [Head(), Raw(b"data: " + echoed + b"\n\n"), Hold()]
    yield "after words", [Role(), Say("Well, "), Raw(b"data: " + echoed + b"\n\n"), Hold()]
    yield "whole", [Reply(echoed)]
    yield "in words", [Reply(b'{"choices": [{"message": {"content": "%s"}}]}' % key.encode())]
    yield "spoken", answer(f"Your key is {key}.")
    yield "no JSON", [Reply(f"{key} is no JSON".encode())]
    yield "no frame", [Head(), Raw(f"data: {key}\n\n".encode())]
    yield "a name", [Role(), CallPiece(0, "{}", name=key, id=key), Finish("tool_calls")]
    yield "nothing", [Head(), At(10), Raw(b"data: [DONE]\n\n")]


@pytest.mark.parametrize("log_content", [False, True], ids=["no content", "content"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "buffered"])
@pytest.mark.parametrize(
    "script", [pytest.param(script, id=name) for name, script in _failures(UPSTREAM_KEY)]
)
async def test_no_key_gets_out(  # noqa: PLR0917 - by name
    upstream: ScriptedUpstream,
    logs: Logged,
    capfd: pytest.CaptureFixture[str],
    script: Script,
    stream: bool,
    log_content: bool,
) -> None:
    """Wherever an upstream repeats our key, it is in no answer, no header and no log."""
    upstream.plays(script)
    async with calling(deploy(upstream.base_url, log_content=log_content, **CALM)) as client:
        answers = [await ask(client, stream=stream)]
        answers.append(await client.post(CHAT, json=chat(stream=stream)))
    assert upstream.requests[0].header("authorization") == f"Bearer {UPSTREAM_KEY}"
    printed = "".join(capfd.readouterr())
    for told in (*(f"{one.headers} {one.text}" for one in answers), logs.text, printed):
        assert UPSTREAM_KEY not in told
        assert CALLER_KEY not in told


@pytest.mark.parametrize(
    "message", ["no", f"cannot read {CALLER_KEY} and {UPSTREAM_KEY}"], ids=["bare", "telling"]
)
async def test_an_unreadable_secret_reveals_no_key(
    upstream: ScriptedUpstream, logs: Logged, message: str
) -> None:
    """Whatever Secrets Manager fails with, neither the answer nor the log repeats it."""
    secrets = FakeSecrets()
    secrets.failure = RuntimeError(message)
    async with calling(deploy(upstream.base_url, secrets, **CALM)) as client:
        response = await ask(client, stream=True)
    assert response.status_code == 503
    assert "cannot read" not in logs.text + response.text
    assert CALLER_KEY not in logs.text + response.text
