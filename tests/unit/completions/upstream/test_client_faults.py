"""An upstream's faults: cuts, silence, bytes that are not HTTP, events of odd shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from completions.errors import CompletionsError, UpstreamUnavailable
from completions.keys.keys import Keys
from completions.settings import Candidate
from completions.upstream import connections, refusals
from completions.upstream.client import Upstream
from local.scripted.script import (
    Cut,
    Done,
    Finish,
    Head,
    Hold,
    Raw,
    Reply,
    Role,
    Say,
    Script,
    Until,
    page,
)
from local.scripted.script_player import Scene
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import (
    ANSWER_LIMIT_S,
    AUTHORIZED,
    CALM,
    ERRORS_AS_STATUS,
    ask,
    calling,
    deploy,
    unused_port,
)
from tests.support.logs import Logged
from tests.support.secrets import UPSTREAM_SECRET, FakeSecrets

CHAT = "/v1/chat/completions"


async def test_a_refused_connection_is_a_502() -> None:
    """The error's code says that the upstream is unavailable."""
    with unused_port() as port:
        async with calling(deploy(f"http://127.0.0.1:{port}/v1", **CALM)) as client:
            response = await ask(client, stream=True)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_unavailable"


@pytest.mark.parametrize("script", [[Hold()], [Head(), Hold()]], ids=["no head", "head"])
async def test_silence_is_a_504(
    monkeypatch: pytest.MonkeyPatch, upstream: ScriptedUpstream, script: Script
) -> None:
    """The connection's own time-out ends the wait for an upstream that never answers."""
    monkeypatch.setattr(connections, "READ_TIMEOUT_S", 0.2)
    upstream.plays(script)
    async with calling(deploy(upstream.base_url, **CALM)) as client:
        response = await ask(client, stream=True)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "upstream_timeout"


async def test_the_last_words_before_a_cut_are_heard(
    upstream: ScriptedUpstream,
) -> None:
    """They are relayed even if nothing was reading when they came."""
    reading = asyncio.Event()
    upstream.plays([Role(), Until(reading), Say("First, "), Say("and last."), Cut()])
    keys = Keys("", UPSTREAM_SECRET, ttl_s=60, connect=FakeSecrets().connect)
    model, body = Upstream(keys), {"stream": True}
    heard = b""

    async def hear_slowly() -> None:
        nonlocal heard
        candidate = Candidate("upstream", upstream.base_url)
        async for batch in model.events(candidate, "/chat/completions", body):
            heard += b"".join(frame.raw for frame in batch)
            reading.set()
            while not upstream.requests[0].finished:
                await asyncio.sleep(0.001)
            await upstream.deserted()
            # Loopback delivers at once, and each turn of the loop reads what has come.
            for _ in range(10):
                await asyncio.sleep(0)

    with pytest.raises(UpstreamUnavailable):
        await hear_slowly()
    await model.close()
    assert b"and last." in heard


def chunk(data: bytes) -> bytes:
    """Return one piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    "malformed",
    [
        *(b"zz\r\n", b"-5\r\nwords\r\n", b"f" * 20 + b"\r\n", b"5\r\nwordsXX5\r\n", b"\0\0\0\0"),
        *(b"5\nwords\n", b"0\r\nno trailer\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
    ids=ascii,
)
async def test_a_malformed_body_is_a_cut(
    monkeypatch: pytest.MonkeyPatch, malformed: bytes, status: int
) -> None:
    """It ends the answer at once, without a further wait, and a refusal keeps its status."""
    reading = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d \r\ncontent-type: text/event-stream\r\n" % status)
        writer.write(b"transfer-encoding: chunked\r\n\r\n" + chunk(b"data: {}\n\n"))
        await reading.wait()
        writer.write(malformed)
        await reader.read()  # The connection stays open on this side.
        writer.close()

    async def read_refusal(chunks: AsyncIterator[bytes]) -> bytes:
        reading.set()
        return await refusals_read(chunks)

    refusals_read = refusals.read_refusal
    monkeypatch.setattr(refusals, "read_refusal", read_refusal)
    keys = Keys("", UPSTREAM_SECRET, ttl_s=60, connect=FakeSecrets().connect)
    model, heard = Upstream(keys), 0

    async def hear(port: int) -> None:
        nonlocal heard
        candidate = Candidate("upstream", f"http://127.0.0.1:{port}")
        async for batch in model.events(candidate, "/chat/completions", {"stream": True}):
            heard += len(batch)
            reading.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            with pytest.raises(CompletionsError) as caught:
                await hear(server.sockets[0].getsockname()[1])
        await model.close()
    assert (caught.value.status, heard) == ((502, 1) if status == 200 else (500, 0))
    assert caught.value.transient


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "script",
    [
        [Cut()],
        [Head(), Cut()],
        [Head(headers={"content-type": "application/json"}), Raw(b'{"id": "x'), Cut()],
        page(),
        [Raw(b"data: {broken\n\n"), Done()],
        [Raw(b"data: []\n\n"), Done()],
        [Reply(b"")],
        [Reply(b"\xff\xff")],
    ],
)
async def test_no_answer_is_a_502(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, script: Script, stream: bool
) -> None:
    """A broken connection, a web page or garbage is a 502 with an error object."""
    upstream.plays(script)
    response = await ask(client, stream=stream)
    assert response.status_code == 502, response.text
    assert response.json()["error"]["code"] == "upstream_unavailable"


async def test_an_answer_that_is_not_http_is_reported_as_such() -> None:
    """A server of another protocol can be reached; the message does not say otherwise."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answers, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, calling(deploy(f"http://127.0.0.1:{port}/v1", **CALM)) as client:
        response = await ask(client, stream=True)
    assert response.status_code == 502
    assert "not valid HTTP" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "delta",
    [
        '"delta": "text"',
        '"delta": []',
        '"delta": {"content": 5}',
        '"delta": {"content": ["a"]}',
        '"delta": {"tool_calls": 5}',
        '"delta": {"tool_calls": [5, null, {}]}',
        '"delta": {"tool_calls": [{"index": "x", "function": []}]}',
        '"delta": {"tool_calls": [{"index": 0, "function": {"name": 5, "arguments": {}}}]}',
        '"finish_reason": {"a": 1}',
        '"index": "x", "delta": null',
    ],
)
async def test_frames_of_odd_shape_crash_nothing(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, logs: Logged, delta: str
) -> None:
    """Whatever a frame contains, the turn continues or fails in the usual way."""
    odd = Raw(f'data: {{"choices": [{{{delta}}}], "usage": "x"}}\n\n'.encode())
    upstream.plays([Role(), Say("So "), odd, Say("it is."), Finish(), Done()])
    response = await ask(client, stream=True)
    assert response.status_code in {200, 502}
    assert "request.crashed" not in logs.text
    if response.status_code == 200:
        assert response.content.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "scene",
    [[Role(), Say("I think, therefore "), Cut()], [Role(), Say("I think "), Raw(b"data: {}")]],
    ids=["cut", "ended too soon"],
)
async def test_a_cut_is_never_hidden(upstream: ScriptedUpstream, scene: Scene) -> None:
    """After a cut in mid-answer the official client raises, and the stream is terminated once."""
    upstream.plays(scene)
    async with calling(deploy(upstream.base_url, **CALM)) as client:
        response = await ask(client, stream=True)
        assert response.content.count(b"[DONE]") == 1
        assert response.content.endswith(b"data: [DONE]\n\n")
        sdk = AsyncOpenAI(base_url="http://test/v1", api_key="x", http_client=client, max_retries=0)
        stream = await sdk.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            extra_headers={**AUTHORIZED, **ERRORS_AS_STATUS},
        )
        with pytest.raises(openai.APIError):
            _ = [chunk async for chunk in stream]
