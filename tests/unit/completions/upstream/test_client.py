"""Requests to a model: what is sent, and what happens to its answers and faults."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from completions.app import create_app
from completions.errors import UpstreamUnavailable
from completions.keys.bedrock import RoleKeys
from completions.keys.keys import Keys
from completions.settings import Candidate, Settings
from completions.sse import DONE
from completions.upstream.client import Upstream
from completions.upstream.exchange import Exchange
from local.scripted.script import (
    EVENT_STREAM,
    JSON,
    Cut,
    Done,
    Finish,
    Hold,
    Reply,
    Role,
    Say,
    Step,
    Until,
    answer,
    calls,
    page,
    refused,
)
from local.scripted.script_player import RecordedRequest
from local.scripted.upstream import ScriptedUpstream
from tests.support import bedrock
from tests.support.chat_events import chat_event, chat_whole
from tests.support.deployment import (
    ANSWER_LIMIT_S,
    AUTHORIZED,
    CALM,
    HELLO,
    ask,
    calling,
    chat,
    data_frames,
    deploy,
    served,
    spoken,
)
from tests.support.logs import Logged
from tests.support.secrets import CALLER_SECRET, UPSTREAM_KEY, UPSTREAM_SECRET, FakeSecrets

CHAT = "/v1/chat/completions"
BEDROCK_HOST = "bedrock-runtime.us-east-1.amazonaws.com"
BEDROCK_REFUSES_THE_KEY = (
    b'{"Message":"Authentication failed: Please make sure your API Key is valid."}'
)
FUNCTIONS = Path(__file__).parents[4] / "functions"
TWO_REQUESTS = """
import asyncio, sys
from completions.errors import UpstreamRefused
from completions.settings import Candidate
from completions.upstream.client import Upstream

class Keys:
    async def upstream_key(self, field):
        return "key"

    def may_be_stale(self, field, status):
        return False

async def main():
    upstream = Upstream(Keys())
    candidate = Candidate("upstream", sys.argv[1])
    assert [True async for _ in upstream.events(candidate, "/chat/completions", {"stream": True})]
    print("openai" in sys.modules, file=sys.stderr)
    try:
        async for _ in upstream.events(candidate, "/chat/completions", {"stream": True}):
            pass
    except UpstreamRefused as error:
        print("openai" in sys.modules, error.status, file=sys.stderr)
    await upstream.close()

asyncio.run(main())
"""


class _Keys(Keys):
    """One key, without a wait."""

    def __init__(self) -> None: ...

    async def upstream_key(self, _: str) -> str:
        return "key"


# -- what the upstream is sent


async def test_a_turn_is_one_request_with_our_key(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """The model gets the caller's words and our key, but not the caller's key."""
    await ask(client, stream=True)
    (request,) = upstream.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.header("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert request.header("content-type") == "application/json"
    assert request.header("x-api-key") == ""
    assert (request.json["model"], request.json["messages"]) == ("m", HELLO)
    assert request.json["stream"] is True


async def test_a_callback_says_when_the_request_was_written(upstream: ScriptedUpstream) -> None:
    """It is called before the model has sent anything."""
    told: list[bool] = []
    exchange = Exchange(Candidate("upstream", upstream.base_url))
    may_answer = asyncio.Event()
    exchange.on_written = lambda: told.append(exchange.headers_at is not None)
    upstream.plays([Until(may_answer), *answer("Yes.")])
    client = Upstream(_Keys())
    body = {"messages": HELLO, "stream": True}
    async with aclosing(
        client.events(exchange.candidate, "/chat/completions", body, exchange)
    ) as events:
        coming = asyncio.ensure_future(anext(events))
        await upstream.request()
        assert told == [False]
        may_answer.set()
        assert await coming
    await client.close()
    assert told == [False]


async def test_an_unreachable_upstream_was_not_asked() -> None:
    """No request counts as written."""
    told: list[bool] = []
    exchange = Exchange(Candidate("upstream", "http://127.0.0.1:1/v1"))
    exchange.on_written = lambda: told.append(True)
    client = Upstream(_Keys())
    with pytest.raises(UpstreamUnavailable):
        await anext(client.events(exchange.candidate, "/chat/completions", {}, exchange))
    await client.close()
    assert told == []


async def test_compression_is_not_requested(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """The compressor's buffer would hold a stream back."""
    await ask(client, stream=True)
    assert upstream.requests[0].header("accept-encoding") == "identity"


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
@pytest.mark.parametrize("stream", [True, False])
async def test_unrequested_compression_is_unpacked(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, coding: str, stream: bool
) -> None:
    """Some proxies compress whatever we ask for, piece by piece."""
    pack = zlib.compressobj(wbits=31 if "gzip" in coding else 15)
    words = [chat_event({"content": text}).data for text in ("Hello ", "there.")]
    whole = chat_whole({"role": "assistant", "content": "Hello there."}, "stop").body
    answer = [*words, chat_event({}, "stop").data, DONE] if stream else [whole]
    pieces = [pack.compress(one) + pack.flush(zlib.Z_SYNC_FLUSH) for one in answer]
    headers = {"content-type": EVENT_STREAM if stream else JSON, "content-encoding": coding}
    upstream.plays([Reply(b"".join((*pieces, pack.flush())), 200, headers)])
    response = await ask(client, stream=stream)
    assert response.status_code == 200
    text = (
        spoken(response.content) if stream else response.json()["choices"][0]["message"]["content"]
    )
    assert text == "Hello there."
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(("coding", "body"), [("br", b"\x0b\x02"), ("gzip", b"no gzip at all")])
async def test_unknown_compression_is_a_502(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, coding: str, body: bytes
) -> None:
    """It is the upstream's failure, and another model may answer."""
    upstream.plays([Reply(body, 200, {"content-type": JSON, "content-encoding": coding})])
    response = await ask(client, stream=False)
    assert response.status_code == 502


async def test_requests_name_this_project(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """They reveal nothing about the machine."""
    await ask(client, stream=True)
    (request,) = upstream.requests
    assert request.header("user-agent") == "voice-completions"
    assert request.header("x-stainless-os") == ""


async def test_no_turn_loads_the_sdk(upstream: ScriptedUpstream) -> None:
    """Neither an answer nor a refusal imports the OpenAI SDK."""
    upstream.plays(answer(), refused(418))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", TWO_REQUESTS, upstream.base_url],
        env={"PYTHONPATH": str(FUNCTIONS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.split() == ["False", "False", "418"]


async def test_the_deployments_model_and_fields_win(upstream: ScriptedUpstream) -> None:
    """`upstream_model` replaces the model, and `upstream_extra_body` is added."""
    extra = {"reasoning_effort": "low", "temperature": 0}
    app = deploy(upstream.base_url, upstream_model="fixed", upstream_extra_body=extra)
    async with calling(app) as client:
        await ask(client, temperature=1)
    assert upstream.requests[0].json.items() >= {"model": "fixed", **extra}.items()


async def test_a_strict_upstream_gets_a_clean_request(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """Platforms' own fields, nulls and limits that limit nothing are left out."""
    await ask(
        client,
        stream=True,
        max_tokens=-1,
        max_completion_tokens=0,
        temperature=None,
        user_id="u",
        elevenlabs_extra_body={"a": 1},
        call={"id": "c"},
        phoneNumber={},
        customer={},
        tools=[],
    )
    sent = upstream.requests[0].json
    for name in (
        *("max_tokens", "max_completion_tokens", "temperature", "user_id", "tools"),
        *("elevenlabs_extra_body", "call", "phoneNumber", "customer"),
    ):
        assert name not in sent


async def test_tools_and_their_messages_pass(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """Tools, tool calls with `content: null` and tool messages reach the model unchanged."""
    tool = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
    made = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
    history = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "user", "content": [{"type": "text", "text": "And?"}]},
    ]
    await ask(client, messages=history, tools=[tool], tool_choice="auto")
    sent = upstream.requests[0].json
    assert (sent["messages"], sent["tools"], sent["tool_choice"]) == (history, [tool], "auto")


async def test_every_request_is_valid_json(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """A number that overflows does not become `Infinity`, which no upstream can read."""
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":1e999}'
    response = await client.post(CHAT, content=body)
    assert response.status_code in {200, 400}
    for request in upstream.requests:
        assert b"Infinity" not in request.raw


# -- a request that is ended or repeated


async def test_a_hang_up_closes_the_request(upstream: ScriptedUpstream) -> None:
    """A caller who leaves in mid-answer ends the upstream's work."""
    upstream.plays([Role(), Say("Once upon a time "), Hold()])
    async with (
        served(deploy(upstream.base_url, **CALM)) as url,
        httpx2.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=ANSWER_LIMIT_S) as client,
    ):
        async with client.stream("POST", CHAT, json=chat(stream=True)) as response:
            async for piece in response.aiter_bytes():
                if b"Once" in piece:
                    break
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await upstream.requests[0].hung_up.wait()


async def test_a_hang_up_before_the_answer_closes_the_request(upstream: ScriptedUpstream) -> None:
    """This holds even before the upstream has sent its headers."""
    upstream.plays([Hold()])
    async with served(deploy(upstream.base_url, **CALM)) as url:
        async with httpx2.AsyncClient(base_url=url, headers=AUTHORIZED) as client:
            asking = asyncio.create_task(client.post(CHAT, json=chat(stream=True)))
            request = await upstream.request(0)
            asking.cancel()
            await asyncio.wait({asking})
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await request.hung_up.wait()


async def test_a_rotated_key_is_read_at_once(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, secrets: FakeSecrets, logs: Logged
) -> None:
    """After a 401 the secret is read again; if its key is newer, the turn succeeds."""
    await ask(client)
    secrets.put(UPSTREAM_SECRET, {"upstream": "newer"})
    upstream.plays(
        lambda request: (
            answer() if request.header("authorization") == "Bearer newer" else refused(401)
        )
    )
    assert (await ask(client)).status_code == 200
    keys = [request.header("authorization") for request in upstream.requests]
    assert keys == [f"Bearer {UPSTREAM_KEY}", f"Bearer {UPSTREAM_KEY}", "Bearer newer"]
    assert (await ask(client)).status_code == 200
    assert len(upstream.requests) == 4
    assert "upstream.refused" not in logs.text


async def test_a_dead_kept_connection_costs_no_attempt(
    upstream: ScriptedUpstream,
) -> None:
    """A reused connection that breaks before any byte is replaced at once, uncounted."""
    async with calling(deploy(upstream.base_url, **CALM)) as client:
        upstream.plays(answer(), [Cut()], answer("Here I am."))
        await ask(client)
        response = await ask(client)
    assert "Here I am." in response.json()["choices"][0]["message"]["content"]
    assert [request.connection for request in upstream.requests] == [0, 0, 1]


async def test_a_new_connection_that_breaks_is_an_attempt(upstream: ScriptedUpstream) -> None:
    """Each turn makes its three requests, and one more on the connection opened before."""
    upstream.plays([Cut()])
    async with calling(deploy(upstream.base_url, **CALM)) as client:
        for turn in (1, 2):
            response = await ask(client, stream=True)
            assert response.status_code == 502
            assert len(upstream.requests) == (1 + 3) * turn


# -- answers


async def test_frames_are_relayed_unchanged(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """A healthy answer keeps the upstream's words, ids and order."""
    upstream.plays(answer("One two three."))
    response = await ask(client, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert spoken(response.content) == "One two three."
    *chunks, done = data_frames(response.content)
    assert done == "[DONE]"
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-1"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_a_buffered_answer_is_one_object(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """Without `stream` the caller gets one completion, and the model is asked for one."""
    upstream.plays(calls("lookup", {"city": "Wien"}))
    response = await ask(client)
    assert upstream.requests[0].json["stream"] is False
    assert response.headers["content-type"] == "application/json"
    (choice,) = response.json()["choices"]
    (made,) = choice["message"]["tool_calls"]
    assert json.loads(made["function"]["arguments"]) == {"city": "Wien"}
    assert choice["finish_reason"] == "tool_calls"


async def test_a_missing_or_repeated_terminator(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """However often the upstream sends `[DONE]`, the caller gets it once, at the end."""
    for end in ([], [Done()], [Done(), Done()]):
        upstream.plays([Role(), Say("Yes."), Finish(), *end])
        response = await ask(client, stream=True)
        assert response.content.count(b"[DONE]") == 1
        assert response.content.endswith(b"data: [DONE]\n\n")
        assert b'"error"' not in response.content


async def test_a_broken_list_of_models_is_a_502(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """A body that is not JSON is not passed on as JSON."""
    upstream.models_script = page()
    response = await client.get("/v1/models")
    assert response.status_code == 502


# -- Amazon Bedrock, where the role makes the key


@asynccontextmanager
async def on_bedrock(
    role: bedrock.Role,
    monkeypatch: pytest.MonkeyPatch,
    *scenes: Callable[[RecordedRequest], list[Step]],
) -> AsyncIterator[tuple[httpx2.AsyncClient, ScriptedUpstream]]:
    """A client of a deployment whose model's host is Bedrock's runtime, played on this machine."""
    resolve = socket.getaddrinfo

    def here(asked: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1" if asked == BEDROCK_HOST else asked, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    async with ScriptedUpstream(*scenes) as upstream:
        base_url = f"http://{BEDROCK_HOST}:{upstream.port}/openai/v1"
        secrets = FakeSecrets()
        del secrets.versions[UPSTREAM_SECRET, "AWSCURRENT"]
        keys = Keys(
            CALLER_SECRET,
            UPSTREAM_SECRET,
            ttl_s=300,
            base_urls={"upstream": base_url},
            connect=secrets.connect,
            role_keys=RoleKeys(role.connect),
        )
        settings = Settings(
            caller_key_secret=CALLER_SECRET,
            upstream_key_secret=UPSTREAM_SECRET,
            upstream_base_url=base_url,
            **CALM,
        )
        async with calling(create_app(settings, keys)) as client:
            yield client, upstream


def judged_by(role: bedrock.Role) -> Callable[[RecordedRequest], list[Step]]:
    """Bedrock's runtime: it refuses a key that this role did not just make, in its own words."""

    def scene(request: RecordedRequest) -> list[Step]:
        key = request.header("authorization").removeprefix("Bearer ")
        if bedrock.verdict(key, role.frozen, "us-east-1", time.time()):
            return [Reply(BEDROCK_REFUSES_THE_KEY, 403, {"content-type": JSON})]
        return answer("Oil the chain.")

    return scene


async def test_bedrock_takes_the_key_that_the_role_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function makes the turn; the stand-in verifies the key's signature."""
    role = bedrock.Role()
    async with on_bedrock(role, monkeypatch, judged_by(role)) as (client, upstream):
        heard = await ask(client, stream=True)
    assert spoken(heard.content) == "Oil the chain."
    assert len(upstream.requests) == 1


async def test_a_key_that_bedrock_refuses_is_replaced_within_the_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The role has new credentials: after a 403 a newer key is made, and the turn succeeds."""
    role = bedrock.Role()
    async with on_bedrock(role, monkeypatch, judged_by(role)) as (client, upstream):
        await ask(client, stream=True)
        role.rotate()
        heard = await ask(client, stream=True)
    assert spoken(heard.content) == "Oil the chain."
    keys = [request.header("authorization") for request in upstream.requests]
    assert len(keys) == 3
    assert keys[0] == keys[1] != keys[2]


async def test_a_missing_right_of_the_role_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner learns which right is missing, and callers nothing about the account."""
    refusal = (
        b'{"Message":"User: arn:aws:sts::123456789012:assumed-role/r/f is not authorized to '
        b'perform: bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/m"}'
    )

    def scene(_: RecordedRequest) -> list[Step]:
        return [Reply(refusal, 403, {"content-type": JSON})]

    async with on_bedrock(bedrock.Role(), monkeypatch, scene) as (client, _):
        told = (await ask(client)).json()["error"]
    assert told["code"] == "upstream_auth"
    assert "(403, bedrock:InvokeModel)" in told["message"]
    assert "BedrockModelArns" in told["message"]
    assert "123456789012" not in told["message"]
