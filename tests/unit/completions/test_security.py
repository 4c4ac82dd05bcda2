"""The claims of docs/threat-model.md about callers and models that hold for the whole app.

They cover what callers cannot do, with or without a key, and what neither callers nor models can
make us do. The page names each of these tests.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from completions.dialects import chat as chat_dialect
from completions.dialects import responses
from completions.dialects.deltas import Call, CallPart, Chunk
from completions.dialects.dialect import TOKEN_LIMIT, Dialect
from completions.dialects.request import Tool
from completions.errors import InvalidToolCall
from completions.settings import BODY_LIMIT_BYTES
from completions.speech.buffer_words import choose_phrase, strip_phrases
from completions.speech.phrases import PHRASES
from completions.speech.sentences import first_sentence_ended, spoken_after
from completions.tools import validation
from completions.tools.held_calls import HeldCalls
from completions.tools.loose_json import read_object
from completions.tools.system_tools import with_enum_hints
from local.scripted.script import calls
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM, HELLO, calling, chat, deploy
from tests.support.logs import Logged
from tests.support.secrets import CALLER_KEY

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
CPU_LIMIT_S = 60.0
"""Of our own processor time. Linear work takes a few seconds, quadratic work far longer."""

LONG_HISTORY_CPU_S = 0.25
"""For 5 MB of text on a busy machine: a few hundredths of a second on an idle one."""


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """The model."""
    async with ScriptedUpstream(responses=True) as upstream:
        yield upstream


async def _post(client: httpx2.AsyncClient, body: bytes, path: str = CHAT) -> httpx2.Response:
    return await client.post(path, content=body, headers={"content-type": "application/json"})


# -- keys


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer wrong"},
        {"x-api-key": ""},
        {"authorization": f"Basic {CALLER_KEY}"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [CHAT, RESPONSES, "/v1/models", "/v1/openapi.json"])
async def test_no_caller_enters_without_a_key(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, path: str, headers: dict[str, str]
) -> None:
    """Without it no body is read and no model is asked."""
    method = "POST" if path in {CHAT, RESPONSES} else "GET"
    del client.headers["authorization"]
    response = await client.request(method, path, headers=headers, content=b"{" * 1000)
    assert response.status_code == 401
    assert upstream.requests == []


async def test_a_presented_key_is_never_repeated(client: httpx2.AsyncClient, logs: Logged) -> None:
    """A wrong key, which may be valid elsewhere, is in no log line and no answer."""
    wrong = "sk-somebody-elses-secret-key-0123456789"
    shown = {"authorization": f"Bearer {wrong}", "x-api-key": wrong}
    told = []
    for path in (CHAT, f"/{wrong}/chat/completions", f"/v1/{wrong}", f"/v1/models?key={wrong}"):
        for method in ("POST", "GET"):
            response = await client.request(method, path, headers=shown, json=chat())
            assert response.status_code in {401, 404, 405}
            # The caller chose the path; what it presented as a key is not repeated.
            told.append(response.text.replace(path, "") + str(response.headers))
    assert wrong not in logs.text + "".join(told)


# -- headers and logs


@pytest.mark.parametrize("name", ["x-conversation-id", "host", "user-agent", "x-forwarded-for"])
async def test_a_header_can_forge_no_log_line(
    client: httpx2.AsyncClient, logs: Logged, name: str
) -> None:
    """Control characters from a caller are never logged unescaped."""
    forged = 'x\x1b[2J\x85{"level":"ERROR","message":"forged"}\x9b' + "y" * 10_000
    await client.post(CHAT, json=chat(), headers=[(name.encode(), forged.encode("latin-1"))])
    await client.post(f"/v1/%0d%0aset-cookie:a=b%1b{'z' * 5000}", json=chat())
    assert logs.text
    for line in logs.text.splitlines():
        assert json.loads(line)["message"] != "forged"
        assert len(line) < 4000
    assert all(one.isprintable() for one in logs.text.replace("\n", ""))


async def test_no_part_of_a_request_becomes_a_header(client: httpx2.AsyncClient) -> None:
    """An answer has its own headers, whatever is in path, host, model and ids."""
    evil = "a\r\nset-cookie: b=c"
    answers = [
        await client.post(CHAT, json=chat(model=evil, user_id=evil, stream=stream))
        for stream in (True, False)
    ]
    answers.append(await client.get("/%0d%0aset-cookie:%20b=c", headers={"host": "evil.invalid"}))
    answers.append(await client.put(f"{CHAT}%0d%0ax"))
    known = {
        *("content-type", "content-length", "cache-control", "x-accel-buffering", "allow"),
    }
    for response in answers:
        assert response.headers.keys() <= known


async def test_long_names_fill_no_log(client: httpx2.AsyncClient, logs: Logged) -> None:
    """Models, roles, tools and ids of a megabyte are logged by their first letters."""
    long = "m" * 1_000_000
    body = chat(
        model=long,
        messages=[{"role": long, "content": "Hi."}, *HELLO],
        tools=[{"type": "function", "function": {"name": long}}],
        elevenlabs_extra_body={"conversation_id": long},
        user_id=long,
    )
    response = await client.post(CHAT, json=body)
    assert response.status_code == 200, response.text[:500]
    assert len(logs.text) < 10_000


# -- bodies


def _nested(opening: str, closing: str, depth: int = 100_000) -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


def _with(name: str, value: bytes) -> bytes:
    return json.dumps(chat(**{name: None})).encode().replace(b"null", value)


BOMBS = {
    "lists": _nested("[", "]"),
    "objects": _nested('{"a":', "}"),
    "messages": b'{"messages": ' + _nested("[", "]") + b"}",
    "tools": _with("tools", _nested('[{"a":', "}]")),
    "extra body": _with("elevenlabs_extra_body", _nested('{"a":', "}")),
    "digits": _with("max_tokens", b"1" * 1_000_000),
    "no value": b"NaN",
    "nothing": b"",
}


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
async def test_a_bomb_is_a_400(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, body: bytes, path: str
) -> None:
    """A body too deep, too long or not JSON is refused before it is used."""
    response = await _post(client, body, path)
    assert response.status_code == 400
    assert len(response.content) < 1000
    assert upstream.requests == []


async def test_a_body_over_the_limit_is_a_413_before_it_is_read_whole() -> None:
    """An endless body is read no further than Lambda would allow."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    async with calling(deploy("http://unused.invalid")) as client:
        messages = endless()
        started: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": await anext(messages), "more_body": True}

        async def send(message: Any) -> None:
            started.append(message)

        app = client._transport.app  # type: ignore[attr-defined]
        headers = [(b"x-api-key", CALLER_KEY.encode())]
        scope = {"type": "http", "method": "POST", "path": CHAT, "headers": headers}
        more = {"query_string": b"", "raw_path": CHAT.encode(), "root_path": "", "scheme": "http"}
        await app({**scope, **more, "server": ("test", 80), "http_version": "1.1"}, receive, send)
    assert started[0]["status"] == 413
    assert sent <= BODY_LIMIT_BYTES + 2 * 65_536


async def test_the_checked_value_is_the_one_sent(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """A repeated name in a body is sent once, with the value that was checked."""
    messages = json.dumps(HELLO)
    body = f'{{"model": "a", "messages": [], "model": "b", "messages": {messages}}}'
    assert (await _post(client, body.encode())).status_code == 200
    assert upstream.requests[0].raw.count(b'"model"') == 1
    assert upstream.requests[0].json["model"] == "b"


def _big(unit: bytes, opening: bytes, closing: bytes) -> bytes:
    return opening + unit * ((5_500_000 - len(opening)) // len(unit)) + closing


HEAVY = {
    "empty lists": _big(b"[],", b'{"x":[', b'[]],"messages":[{"role":"user"}]}'),
    "messages": _big(b'{"role":"user"},', b'{"messages":[', b'{"role":"user"}]}'),
    "answers": _big(
        b'{"role":"assistant","content":"One moment... Okay, "},', b'{"messages":[', b"{}]}"
    ).replace(b"{}]}", b'{"role":"user","content":"Hi"}]}'),
    "dots": _big(
        b"....!!!! ", b'{"messages":[{"role":"assistant","content":"', b'"},{"role":"user"}]}'
    ),
    "escapes": _big(b"\\u0041", b'{"messages":[{"role":"user","content":"', b'"}]}'),
    "tools": _big(
        b'{"type":"function","function":{"name":"x","parameters":{"type":"object"}}},',
        b'{"messages":[{"role":"user","content":"Hi"}],"tools":[',
        b"{}]}",
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("body", HEAVY.values(), ids=HEAVY)
async def test_work_is_linear_in_the_body(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, body: bytes, stream: bool
) -> None:
    """The largest bodies of the worst shapes cost seconds of processor time, not minutes."""
    upstream.plays(calls("x", '{"a": "b"}'))
    began = time.process_time()
    response = await _post(client, body[:-1] + b',"stream":%s}' % str(stream).lower().encode())
    assert response.status_code == 200, response.text[:500]
    assert time.process_time() - began < CPU_LIMIT_S


async def test_phrases_of_an_agent_are_few_and_short(client: httpx2.AsyncClient) -> None:
    """The whole history is searched for buffer words, so a request may have 64 of 200 letters."""
    for words in (["x"] * 65, ["x" * 201]):
        body = chat(elevenlabs_extra_body={"buffer_words": words})
        response = await client.post(CHAT, json=body)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "elevenlabs_extra_body.buffer_words"


# -- what a model writes


@pytest.mark.parametrize(
    "arguments",
    [
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a": ' + "1" * 1_000_000 + "}",
        '{"a": "' + '\\"' * 100_000,
        "{" + " " * 200_000 + "'",
        "{'a': " + '"' * 100_001,
        "`" * 100_000,
        '{"a": "b",' * 50_000,
        '{"a":' * 190 + "1" + "}" * 190,
        "{'a': " * 190 + "1" + "}" * 190,
        "{'a':" * 980 + "1" + "}" * 980,
        '{"a":' * 480 + "1" + "}" * 480,
    ],
    ids=lambda text: f"{text[:8]}… {len(text)}",
)
def test_arguments_of_a_model_cannot_hang_us(arguments: str) -> None:
    """Whatever a model writes as arguments is judged without a crash, in bounded time."""
    offered = {
        "x": Tool("x", parameters={"type": "object", "properties": {"a": {"type": "string"}}})
    }
    began = time.process_time()
    verdict = validation.check(Call("1", "x", arguments), offered)
    read_object(arguments)
    assert verdict.call is None or json.loads(verdict.call.arguments) is not None
    assert time.process_time() - began < CPU_LIMIT_S


@pytest.mark.parametrize(
    "part",
    [CallPart(0, "c", "x", "[" * 10_000), CallPart(-1, "c", "x", "")],
    ids=["arguments", "calls"],
)
def test_endless_calls_are_given_up(part: CallPart) -> None:
    """The limits are 256 KB of arguments in one answer, and 128 calls."""
    held = HeldCalls({})
    parts = [replace(part, id=f"c{number if part.index else 0}") for number in range(129)]
    with pytest.raises(InvalidToolCall):
        held.add(Chunk(None, tuple(parts)))


def test_long_texts_cannot_hang_us() -> None:
    """Descriptions and unbroken words are searched in time linear in their length."""
    began = time.process_time()
    parameters = {"properties": {"language": {"type": "string"}}}
    for unit in ("\n", " \n", "de ", "de\n", "+1 ", "like ", "skip "):
        with_enum_hints(Tool("language_detection", unit * 300_000, parameters))
    for unit in (".", ".!", "a.", "。", ".)"):
        first_sentence_ended(unit * 300_000 + "x")
        first_sentence_ended((unit * 5000)[:4095])
    assert time.process_time() - began < CPU_LIMIT_S


_OURS = [phrase for phrases in PHRASES.values() for phrase in phrases.buffer]
_LONG = {
    "blanks": " ",
    "line ends": "\n",
    "dots": ".",
    "ellipses": "…",
    "dashes": "—",
    "our phrase": _OURS[0],
    "its beginning": _OURS[0][:8],
    "it and blanks": _OURS[0].rstrip(". ") + " " * 1000,
    "all phrases": " ".join(_OURS),
    "words": "word ",
}


@pytest.mark.parametrize("unit", _LONG.values(), ids=_LONG)
@pytest.mark.parametrize("size", [200, 20_000, 5_000_000])
@pytest.mark.parametrize("dialect", [chat_dialect, responses], ids=["chat", "responses"])
def test_a_long_history_delays_no_other_turn(dialect: Dialect, size: int, unit: str) -> None:
    """5 MB of assistant text, in one message or many, take no noticeable time."""
    text = (unit * (size // len(unit) + 1))[:size]
    history = [{"role": "assistant", "content": text}] * (5_000_000 // size)
    history_and_question: list[dict[str, Any]] = [*history, {"role": "user", "content": "Hello?"}]
    field = "messages" if dialect is chat_dialect else "input"
    began = time.process_time()
    request = dialect.parse({"model": "m", "stream": True, field: history_and_question})
    parsed = time.process_time()
    choose_phrase(request, language="en", configured=(), count=0, last=None)
    dialect.prepare(request, model="m", extra_body={}, clean=strip_phrases)
    first_sentence_ended(text)
    spoken_after(text, "Hello?")
    took = time.process_time() - parsed
    # 25,000 messages have a cost of their own: as much again means no work on their texts.
    assert took < LONG_HISTORY_CPU_S + 3 * (parsed - began)


# -- what may be asked for


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("model", ["gpt-x", "", "GPT-4", None, "gpt-4,gpt-5", "x" * 100_000])
async def test_a_model_that_is_not_allowed_is_a_404(
    upstream: ScriptedUpstream, path: str, model: str | None
) -> None:
    """It has OpenAI's status and code and names the allowed models; no model is asked."""
    app = deploy(upstream.base_url, allowed_models=("gpt-4", "gpt-5"), **CALM)
    async with calling(app) as client:
        response = await client.post(path, json={"input": "Hi.", **chat(model=model)})
        error = response.json()["error"]
        assert response.status_code == 404
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert error["message"].endswith("Name one of: gpt-4, gpt-5.")
        assert len(error["message"]) < 300
        assert upstream.requests == []
        assert (await client.post(path, json={"input": "Hi.", **chat(model="gpt-5")})).is_success
        models = (await client.get("/v1/models")).json()["data"]
    assert [one["id"] for one in models] == ["gpt-4", "gpt-5"]


async def test_an_unused_model_name_is_not_checked(upstream: ScriptedUpstream) -> None:
    """Where the deployment chooses the model, the caller's name for it does not matter."""
    only = {"allowed_models": ("gpt-4",), "upstream_model": "gpt-9", **CALM}
    async with calling(deploy(upstream.base_url, **only)) as client:
        assert (await client.post(CHAT, json=chat(model="mine"))).is_success
    assert upstream.requests[0].json["model"] == "gpt-9"
    # A fallback that takes the caller's name makes it matter again.
    both = {**only, "fallback_base_url": upstream.base_url}
    async with calling(deploy(upstream.base_url, **both)) as client:
        assert (await client.post(CHAT, json=chat(model="mine"))).status_code == 404


@pytest.mark.parametrize(
    ("path", "fields", "most", "sent"),
    [
        (CHAT, {}, 0, {}),
        (CHAT, {}, 300, {"max_tokens": 300}),
        (CHAT, {"max_tokens": 200}, 300, {"max_tokens": 200}),
        (CHAT, {"max_tokens": 9000}, 300, {"max_tokens": 300}),
        (CHAT, {"max_completion_tokens": 1e300}, 300, {"max_completion_tokens": 300}),
        (CHAT, {"max_tokens": -1}, 300, {"max_tokens": 300}),
        (CHAT, {"max_tokens": 10**9}, 0, {"max_tokens": TOKEN_LIMIT}),
        (RESPONSES, {}, 0, {}),
        (RESPONSES, {}, 300, {"max_output_tokens": 300}),
        (RESPONSES, {"max_output_tokens": 9000}, 300, {"max_output_tokens": 300}),
        (RESPONSES, {"max_tokens": 200}, 300, {"max_output_tokens": 200}),
        (RESPONSES, {"max_output_tokens": 0}, 300, {"max_output_tokens": 300}),
    ],
)
async def test_no_answer_is_longer_than_the_deployment_allows(
    upstream: ScriptedUpstream, path: str, fields: dict[str, Any], most: int, sent: dict[str, Any]
) -> None:
    """`MaxTokens` lowers a caller's limit or replaces a missing one; 0 does neither."""
    async with calling(deploy(upstream.base_url, max_tokens=most, **CALM)) as client:
        body = {**chat(), "input": "Hi.", **fields}
        assert (await client.post(path, json=body)).is_success
    limits = {"max_tokens", "max_completion_tokens", "max_output_tokens"}
    request = upstream.requests[0].json
    assert {name: request[name] for name in limits & request.keys()} == sent


async def test_a_turn_asks_three_times_at_most(upstream: ScriptedUpstream) -> None:
    """One request of a caller makes three to models at most, whatever fails and however often."""
    upstream.plays(calls("unknown", "{"))
    both = {"fallback_base_url": upstream.base_url, "hedge_after_ms": 1, **CALM}
    async with calling(deploy(upstream.base_url, **both)) as client:
        await client.post(CHAT, json=chat(stream=True))
    assert 1 < len(upstream.requests) <= 3
