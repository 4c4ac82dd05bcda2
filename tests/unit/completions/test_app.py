"""The app: its routes, other sites' pages, sessions, and no request that ends in a 500."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import httpx2
import pytest
from fastapi import Request
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from completions.app import _arrival
from completions.turn import turn
from local.scripted.script import Raw, answer
from local.scripted.upstream import ScriptedUpstream
from tests.support import rules
from tests.support.deployment import CALM, calling, chat, deploy, error_of, spoken
from tests.support.logs import Logged
from tests.support.mangum_client import MangumTransport
from tests.support.secrets import CALLER_KEY

# One client serves all examples, and a busy machine may make them slowly.
UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
FUNCTIONS = Path(__file__).parents[3] / "functions"


def test_import_opens_no_connection() -> None:
    """Importing the app does not even import the AWS and OpenAI libraries."""
    program = """
import socket, sys
def refuse(*_): raise AssertionError("a connection at import")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import completions.app
heavy = {"boto3", "botocore.session", "openai", "httpx2", "aiohttp", "requests"} & set(sys.modules)
assert not heavy, heavy
"""
    environment = {
        "PYTHONPATH": str(FUNCTIONS),
        "COMPLETIONS_CALLER_KEY_SECRET": "c",
        "COMPLETIONS_UPSTREAM_KEY_SECRET": "u",
    }
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_a_deployment_without_an_agent_imports_nothing_for_one() -> None:
    """A cold start pays for every import, and most deployments have no agent."""
    code = (
        "import sys, completions.app\n"
        "from completions.settings import Settings\n"
        "completions.app.create_app(Settings(upstream_base_url='http://127.0.0.1:9/v1'))\n"
        "print([name for name in sys.modules if 'agent_api' in name or name == 'openai'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("OPTIONS", CHAT, "POST"),
        ("BREW", CHAT, "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/health", "GET"),
    ],
)
async def test_each_path_takes_one_method(
    client: httpx2.AsyncClient, method: str, path: str, allowed: str
) -> None:
    """Turns are posted, everything else is read."""
    response = await client.request(method, path)
    error_of(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed


async def test_health_needs_no_key(client: httpx2.AsyncClient) -> None:
    """A health check has no secret."""
    for path in ("/health", "/v1/health/"):
        response = await client.get(path, headers={"authorization": ""})
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


PAGE = {"origin": "https://shop.example"}
PREFLIGHT = {
    **PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-completions-on-failure",
}


async def test_pages_of_an_allowed_origin_may_ask(upstream: ScriptedUpstream) -> None:
    """A preflight needs no key; answers and errors are readable by the page."""
    app = deploy(upstream.base_url, allowed_origins=("https://shop.example",), **CALM)
    async with calling(app) as client:
        preflight = await client.options(CHAT, headers={**PREFLIGHT, "authorization": ""})
        assert preflight.status_code == 200
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        for body in (chat(stream=True), chat(messages=1)):
            got = await client.post(CHAT, json=body, headers=PAGE)
            assert got.headers["access-control-allow-origin"] == PAGE["origin"]
        other = await client.post(CHAT, json=chat(), headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


async def test_no_other_page_may_ask(client: httpx2.AsyncClient) -> None:
    """A key in a page is public, so this is off by default."""
    assert (await client.options(CHAT, headers=PREFLIGHT)).status_code == 405
    got = await client.post(CHAT, json=chat(), headers=PAGE)
    assert not any(name.startswith("access-control") for name in got.headers)


async def test_an_agent_gets_no_partial_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No upstream has stored the rest, so the caller of a chained request must send all of it."""
    monkeypatch.syspath_prepend(tmp_path)
    agent = 'from completions.responder import Say\n\nasync def hi(_):\n    yield Say("Hi.")\n'
    (tmp_path / "an_agent.py").write_text(agent)
    async with calling(deploy("http://unused.invalid", responder="an_agent:hi")) as client:
        body = {"input": "Hello?", "stream": True}
        assert (await client.post(RESPONSES, json=body)).status_code == 200
        for chain in ({"previous_response_id": "resp_1"}, {"conversation": "conv_1"}):
            response = await client.post(RESPONSES, json=body | chain)
            error_of(response, 400, "previous_response_not_found")


HUME = CHAT + "?custom_session_id=session-7"


@pytest.mark.parametrize("stream", [True, None])
async def test_a_session_gets_its_id_back(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, stream: bool | None
) -> None:
    """Hume's EVI reads the id from each chunk, and may not say that it wants a stream."""
    script = answer("Hello there.")
    script.insert(1, Raw(b'data: {"choices": [], "system_fingerprint": "fp_44"}\n\n'))
    upstream.plays(script)
    body = chat(model=None, stream=stream, stream_options={"include_usage": True})
    response = await client.post(HUME, json=body)
    chunks = rules.chunks_of(response.content)
    assert spoken(response.content) == "Hello there."
    assert {chunk["system_fingerprint"] for chunk in chunks} == {"session-7"}


async def test_without_a_session_no_answer_is_streamed_unasked(client: httpx2.AsyncClient) -> None:
    """OpenAI's default applies to all other requests, and to a session that asks for it."""
    for path, body in (
        (CHAT, chat()),
        (CHAT + "?session_id=s", chat()),
        (HUME, chat(stream=False)),
    ):
        assert (await client.post(path, json=body)).json()["choices"]


@pytest.mark.parametrize(
    ("context", "timeout_s", "remaining_s"),
    [
        (None, 0, None),
        (None, 20, 20),
        (SimpleNamespace(get_remaining_time_in_millis=lambda: 7000), 20, 7),
    ],
    ids=["unknown", "by the setting", "by Lambda"],
)
async def test_lambdas_own_deadline_wins_over_the_setting(
    context: object, timeout_s: int, remaining_s: float | None
) -> None:
    """The setting is for servers that end requests without announcing when."""
    scope = {"type": "http", "headers": [], **({"aws.context": context} if context else {})}
    assert _arrival(Request(scope), timeout_s, cold=False).remaining_s == remaining_s


async def test_a_bug_while_a_turn_is_planned_is_logged_as_a_failed_turn(
    client: httpx2.AsyncClient, logs: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug before the turn has begun has its log lines, too."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("internals")

    monkeypatch.setattr(turn, "Plan", broken)
    error_of(await client.post(CHAT, json=chat()), 500, "internal_error")
    event = logs.event("turn.finished")
    assert (event["outcome"], event["http.response.status_code"]) == ("crashed", 500)
    assert "RuntimeError" in logs.event("request.crashed")["exception"]


@pytest.mark.parametrize("host", ["[::1", "a:b", "[::1]:1", "x/y?z#w", "", "x" * 5_000])
async def test_an_invalid_host_does_no_harm(client: httpx2.AsyncClient, host: str) -> None:
    """A request with an invalid `Host` still gets its answer, on good paths and bad ones."""
    response = await client.post(CHAT, json=chat(), headers={"host": host})
    assert response.status_code == 200
    error_of(await client.post("/nope", headers={"host": host}), 404, "not_found")


@pytest.mark.parametrize("host", ["[", "]x["])
async def test_an_invalid_host_in_an_event_does_no_harm(
    upstream: ScriptedUpstream, host: str
) -> None:
    """Mangum uses the `Host` as the server's name, which must not cause a 500."""
    async with httpx2.AsyncClient(
        transport=MangumTransport(deploy(upstream.base_url, **CALM)),
        base_url="http://x",
        headers={"host": host, "x-api-key": CALLER_KEY},
    ) as client:
        assert (await client.post(CHAT, json=chat())).status_code == 200
        error_of(await client.post("/nope"), 404, "not_found")


names = st.sampled_from(
    [
        *("model", "messages", "stream", "tools", "n", "max_tokens", "temperature", "stop"),
        *("role", "content", "tool_calls", "function", "arguments", "elevenlabs_extra_body"),
        *("user_id", "stream_options", "response_format", "metadata", "user", "tool_choice"),
        *("input", "instructions", "type", "call_id", "output", "name", "text", "parameters"),
    ]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    st.sampled_from(["user", "assistant", "tool", "...", "1e999", 10**400, -1, 1e308]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
bodies = st.one_of(
    st.binary(max_size=200),
    values.map(json.dumps).map(str.encode),
    st.dictionaries(names, values, max_size=5).map(
        lambda fields: json.dumps({**chat(), "input": "x", **fields}).encode()
    ),
    st.lists(st.dictionaries(names, values, max_size=4), max_size=4).map(
        lambda messages: json.dumps(
            chat(messages=[{"role": "user"} | m for m in messages])
        ).encode()
    ),
)
header_values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
headers = st.dictionaries(
    st.sampled_from(
        [
            *("content-type", "accept", "x-api-key", "origin", "cookie", "x-forwarded-for"),
            *("x-request-id", "x-completions-on-failure", "traceparent", "x-amzn-trace-id"),
        ]
    ),
    header_values,
    max_size=4,
)


@settings(max_examples=200, suppress_health_check=UNCHECKED)
@given(path=st.sampled_from([CHAT, RESPONSES]), body=bodies, extra=headers)
@example(
    path=CHAT, body=b'{"model":"m","temperature":1e999,"messages":[{"role":"user"}]}', extra={}
)
@example(path=CHAT, body=b'{"model":"m","messages":[{"role":"user","content":{"a":1}}]}', extra={})
@example(
    path=CHAT, body=b'{"messages":[{"role":"user"}],"tools":[1,null,"x"],"stream":true}', extra={}
)
@example(path=CHAT, body=b'{"messages":[{"role":"tool","content":[[]]}],"stream":true}', extra={})
@example(
    path=CHAT, body=b'{"messages":[{"role":"assistant","tool_calls":5}],"stream":true}', extra={}
)
async def test_no_request_causes_a_500(
    client: httpx2.AsyncClient, logs: Logged, path: str, body: bytes, extra: dict[str, str]
) -> None:
    """Any JSON or bytes with any headers get an answer or an error object."""
    response = await client.post(path, content=body, headers=extra)
    assert response.status_code != 500, response.text
    assert "Traceback" not in response.text
    assert "request.crashed" not in logs.text
    if response.status_code >= 400:
        error_of(response, response.status_code, response.json()["error"]["code"])


@settings(max_examples=60, suppress_health_check=UNCHECKED)
@given(st.sampled_from(["GET", "POST", "HEAD", "PATCH"]), st.text(max_size=30))
async def test_no_path_causes_a_500(client: httpx2.AsyncClient, method: str, path: str) -> None:
    """Any method on any path gets a status below 500."""
    quoted = quote(path, safe="/", errors="replace")
    assert (await client.request(method, "/" + quoted)).status_code < 500
