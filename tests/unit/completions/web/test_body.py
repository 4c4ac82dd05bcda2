"""A request's body: what is refused, and how large it may be."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from completions.settings import BODY_LIMIT_BYTES
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import HELLO, chat, error_of
from tests.support.logs import Logged

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"hello",
        b"{'model': 'm'}",
        b'{"model": "m", "messages": [}',
        b'{"temperature": NaN}',
        b'{"temperature": -Infinity}',
        b'{"a": "\x00"}',
        b'{"model": "\xff", "n": NaN}',
        b'{"model": "\\ud800"',
        b'{"seed": ' + b"9" * 5_000 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
        json.dumps(chat()).encode("utf-16"),
        b"model=m&messages=hello",
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_a_body_that_is_not_json_is_a_400(
    client: httpx2.AsyncClient, logs: Logged, body: bytes
) -> None:
    """Whatever the bytes are, the answer says that the body is not JSON."""
    error = error_of(await client.post(CHAT, content=body), 400, "invalid_request")
    assert "not JSON" in error["message"]
    assert error["type"] == "invalid_request_error"
    assert logs.event("request.refused")["code"] == "invalid_request"


@pytest.mark.parametrize("body", [b"[]", b'"hello"', b"null", b"7", b"true"])
async def test_a_body_that_is_not_an_object_is_a_400(
    client: httpx2.AsyncClient, body: bytes
) -> None:
    """The answer says that the JSON must be an object."""
    response = await client.post(CHAT, content=body)
    assert "object" in error_of(response, 400, "invalid_request")["message"]


@pytest.mark.parametrize(
    ("fields", "param", "expected"),
    [
        ({"messages": "hello"}, "messages", "list"),
        ({"messages": {}}, "messages", "list"),
        ({"messages": []}, "messages", "at least one"),
        ({"messages": None}, "messages", "at least one"),
        ({"messages": ["hello"]}, "messages[0]", "role"),
        ({"messages": [*HELLO, {"content": "x"}]}, "messages[1]", "role"),
        ({"messages": [{"role": 5}]}, "messages[0]", "role"),
        ({"model": 5}, "model", "string"),
        ({"stream": "true"}, "stream", "true or false"),
        ({"stream": 1}, "stream", "true or false"),
        ({"stream_options": []}, "stream_options", "object"),
        ({"tools": {}}, "tools", "list"),
        ({"n": "2"}, "n", "number"),
        ({"max_tokens": "100"}, "max_tokens", "number"),
        ({"max_tokens": True}, "max_tokens", "number"),
        ({"temperature": "hot"}, "temperature", "number"),
        ({"elevenlabs_extra_body": "x"}, "elevenlabs_extra_body", "object"),
    ],
)
async def test_a_wrong_type_names_the_field(
    client: httpx2.AsyncClient,
    upstream: ScriptedUpstream,
    fields: dict[str, Any],
    param: str,
    expected: str,
) -> None:
    """`param` is the field, and the message says what it must be; no model is asked."""
    response = await client.post(CHAT, json=chat(**fields))
    error = error_of(response, 400, "invalid_request")
    assert error["param"] == param
    assert expected in error["message"]
    assert upstream.requests == []


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml; charset=bogus", "x"])
async def test_the_content_type_does_not_matter(
    client: httpx2.AsyncClient, content_type: str
) -> None:
    """A JSON body is read whatever its `Content-Type`."""
    body = json.dumps(chat()).encode()
    response = await client.post(CHAT, content=body, headers={"content-type": content_type})
    assert response.status_code == 200


async def test_the_size_limit_is_lambdas(client: httpx2.AsyncClient) -> None:
    """A body of 6 MB is accepted; one byte more is a 413 that names the limit."""
    body = json.dumps(chat()).encode()
    full = body + b" " * (BODY_LIMIT_BYTES - len(body))
    assert (await client.post(CHAT, content=full)).status_code == 200
    error = error_of(await client.post(CHAT, content=full + b" "), 413, "request_too_large")
    assert str(BODY_LIMIT_BYTES) in error["message"]


async def test_a_long_system_prompt_is_accepted(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """Platforms send system prompts of up to 2 MB."""
    prompt = {"role": "system", "content": "x€" * 700_000}
    response = await client.post(CHAT, json=chat(messages=[prompt, *HELLO]))
    assert response.status_code == 200
    assert upstream.requests[0].json["messages"][0] == prompt
