"""Refusals: what a caller gets when the model's API refuses, whatever it sends."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from local.scripted.script import Cut, Head, Raw, Reply, Script, refused
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM, ask, calling, deploy
from tests.support.logs import Logged
from tests.support.secrets import UPSTREAM_KEY


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (400, {"param": "messages", "code": "invalid_value", "message": "Too odd."}),
        (404, {"code": "model_not_found", "message": "No model m."}),
        (429, {"code": "rate_limit_exceeded", "message": "Slow down.", "retry_after_s": 7}),
        (500, {"message": "Oops."}),
        (503, {"message": "Busy.", "retry_after_s": 30}),
    ],
)
async def test_a_refusal_keeps_its_status(
    client: httpx2.AsyncClient,
    upstream: ScriptedUpstream,
    status: int,
    fields: dict[str, Any],
    stream: bool,
) -> None:
    """Before the first byte the caller gets the upstream's status, message and `Retry-After`."""
    upstream.plays(refused(status, **fields))
    response = await ask(client, stream=stream)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert error["message"] == fields["message"]
    assert error["param"] == fields.get("param")
    if "code" in fields:
        assert error["code"] == fields["code"]
    wait_s = fields.get("retry_after_s")
    assert response.headers.get("retry-after") == (None if wait_s is None else str(wait_s))


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_our_key_is_not_the_callers(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, logs: Logged, status: int
) -> None:
    """It is a 502 that tells the operator what to do, never a 401."""
    upstream.plays(refused(status, message=f"Incorrect API key: {UPSTREAM_KEY}"))
    response = await ask(client, stream=True)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_auth"
    assert "make upstream-key" in response.text
    assert UPSTREAM_KEY not in response.text
    assert UPSTREAM_KEY not in logs.text
    assert logs.events("upstream.refused")[0]["status"] == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"no"',
        b'{"error": null}',
        b'{"error": "no"}',
        b'{"error": {"message": ["no"], "type": 5, "code": 42, "param": {"a": 1}}}',
        b'{"detail": "no"}',
        b"<html>no</html>",
        b"\xff\xfe",
    ],
)
async def test_odd_refusals_are_refusals(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, body: bytes
) -> None:
    """Whatever an upstream's error looks like, the caller gets the status and OpenAI's object."""
    kind = "text/html" if body.startswith(b"<") else "application/json"
    upstream.plays([Reply(body, 422, {"content-type": kind})])
    response = await ask(client, stream=True)
    assert response.status_code == 422
    error = response.json()["error"]
    assert isinstance(error["message"], str)
    assert "<html>" not in error["message"]


@pytest.mark.parametrize("status", [304, 300])
async def test_a_status_without_an_answer_is_a_502(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, status: int
) -> None:
    """A redirection without a target is the upstream's failure."""
    upstream.plays([Reply(b"", status)])
    assert (await ask(client, stream=True)).status_code == 502


@pytest.mark.parametrize("status", [401, 429])
async def test_an_unreadable_refusal_keeps_its_status(
    upstream: ScriptedUpstream, status: int
) -> None:
    """The status counts even if the body is compressed or cut: a 401 may mean a rotated key."""
    head = {"content-type": "application/json", "retry-after": "7"}
    refusals: list[Script] = [
        [Reply(b"\x1f\x8b", status, {**head, "content-encoding": "gzip"})],
        [Reply(b"no gzip", status, {**head, "content-encoding": "gzip"})],
        [Reply(b"\x0b\x02", status, {**head, "content-encoding": "br"})],
        [Head(status, head), Raw(b'{"error": {"mess'), Cut()],
    ]
    for refusal in refusals:
        upstream.plays(refusal)
        async with calling(deploy(upstream.base_url, **CALM)) as client:
            response = await ask(client, stream=True)
        code = response.json()["error"]["code"]
        if status == 429:
            assert (response.status_code, response.headers["retry-after"]) == (429, "7")
        else:
            assert (response.status_code, code) == (502, "upstream_auth")
