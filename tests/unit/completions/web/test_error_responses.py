"""Errors as responses: what was wrong, what to do, and one log line for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request, Response

from completions.errors import (
    InvalidRequest,
    KeyUnavailable,
    Unauthorized,
    UpstreamRefused,
)
from completions.observability import allow_content, bind
from completions.web import error_responses
from tests.support.logs import Logged

CRASH = RuntimeError("internals")


@pytest.fixture
def app() -> FastAPI:
    """An app whose only route raises the test's error."""
    app = FastAPI(openapi_url=None)
    error_responses.install(app)

    async def turn(request: Request) -> Response:
        await request.body()
        raise app.state.error

    app.add_route("/v1/turn", turn, ["POST"])
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller; exceptions that leave the app are raised here."""
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test"
    ) as client:
        yield client


def _error(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == code
    return error


# -- our own errors


async def test_an_error_is_its_body_status_and_headers(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    """A 401, for example, has `WWW-Authenticate` (RFC 9110, section 15.5.2)."""
    app.state.error = Unauthorized("No API key.")
    response = await client.post("/v1/turn")
    assert _error(response, 401, "invalid_api_key")["message"] == "No API key."
    assert response.json() == app.state.error.body()
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_refusal_is_a_warning(
    app: FastAPI, client: httpx2.AsyncClient, logs: Logged
) -> None:
    """The log has its code, its reason and the field that was wrong."""
    app.state.error = InvalidRequest("`n` must be a number.", param="n")
    await client.post("/v1/turn")
    event = logs.event("request.refused")
    assert event["level"] == "WARNING"
    assert (event["code"], event["param"]) == ("invalid_request", "n")
    assert event["reason"] == "`n` must be a number."


async def test_a_failure_is_an_error(
    app: FastAPI, client: httpx2.AsyncClient, logs: Logged
) -> None:
    """What is not the caller's fault is logged as an error."""
    app.state.error = KeyUnavailable("No key can be read.")
    _error(await client.post("/v1/turn"), 503, "key_unavailable")
    event = logs.event("request.failed")
    assert (event["level"], event["code"]) == ("ERROR", "key_unavailable")
    assert event["reason"] == "No key can be read."


@pytest.mark.parametrize("allowed", [False, True])
async def test_an_upstreams_message_is_logged_only_where_text_is_allowed(
    app: FastAPI, client: httpx2.AsyncClient, logs: Logged, allowed: bool
) -> None:
    """The caller gets the upstream's words in any case, the log only with `LogContent`."""
    allow_content(allowed=allowed)
    app.state.error = UpstreamRefused("You said: hello", status=400)
    response = await client.post("/v1/turn")
    assert response.json()["error"]["message"] == "You said: hello"
    assert logs.event("request.refused").get("reason") == ("You said: hello" if allowed else None)


async def test_an_error_that_was_logged_is_not_logged_again(
    app: FastAPI, client: httpx2.AsyncClient, logs: Logged
) -> None:
    """A wrong key has been logged as `auth.refused`."""
    app.state.error = Unauthorized("No.")
    await client.post("/v1/turn")
    assert not logs.text


# -- paths and methods


async def test_an_unknown_path_names_the_right_one(
    client: httpx2.AsyncClient, logs: Logged
) -> None:
    """A 404 names the URL to set, as the caller sees it, and is logged with what was expected."""
    bind(auth="left behind")
    response = await client.post(
        "/v1/completions", headers={"host": "abc.lambda-url.on.aws", "x-conversation-id": "conv_1"}
    )
    message = _error(response, 404, "not_found")["message"]
    assert message.startswith("No such path: POST /v1/completions.")
    assert "http://abc.lambda-url.on.aws/v1;" in message
    assert "POST http://abc.lambda-url.on.aws/v1/chat/completions" in message
    event = logs.event("path.unknown")
    assert (event["level"], event["method"], event["path"]) == (
        "WARNING",
        "POST",
        "/v1/completions",
    )
    assert event["expected"].startswith("POST http://abc.lambda-url.on.aws/v1/chat/completions or")
    assert event["gen_ai.conversation.id"] == "conv_1"
    assert "auth" not in event
    assert len(logs.text.splitlines()) == 1


async def test_the_older_api_gets_a_hint(client: httpx2.AsyncClient) -> None:
    """LlamaIndex's default uses it, and does not say why it fails."""
    response = await client.post("/v1/completions/", headers={"host": "abc.example"})
    message = _error(response, 404, "not_found")["message"]
    assert "is_chat_model=True" in message
    assert "POST http://abc.example/v1/chat/completions" in message


@pytest.mark.parametrize("path", ["/", "/v1", "/anything"])
async def test_a_post_to_the_base_url_gets_both_urls(client: httpx2.AsyncClient, path: str) -> None:
    """Some platforms append the path to the URL, others post to it unchanged."""
    response = await client.post(path, headers={"host": "abc.example"})
    message = _error(response, 404, "not_found")["message"]
    assert "Set the server URL to http://abc.example/v1;" in message
    assert "POST http://abc.example/v1/chat/completions" in message
    assert "unchanged" in message


@pytest.mark.parametrize("method", ["GET", "BREW"])
async def test_a_wrong_method_names_the_right_one(
    client: httpx2.AsyncClient, logs: Logged, method: str
) -> None:
    """RFC 9110, section 15.5.6: a 405 has `Allow`."""
    response = await client.request(method, "/v1/turn")
    message = _error(response, 405, "method_not_allowed")["message"]
    assert message == f"/v1/turn takes POST, not {method}."
    assert response.headers["allow"] == "POST"
    assert logs.event("path.unknown")["method"] == method


KEY = "sk-proj-0123456789abcdefghijklmnop"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/v1/{KEY}/chat"),
        ("POST", f"/{KEY}"),
        ("POST", "/v1/" + KEY.replace("-", "%2D")),
        ("GET", f"/v1/{KEY}/turn"),
        (KEY, "/v1/turn"),
        (KEY, "/v1/nothing"),
    ],
)
async def test_a_key_in_a_path_is_never_repeated(
    client: httpx2.AsyncClient, logs: Logged, method: str, path: str
) -> None:
    """Neither the answer nor the log has it; the rest of the path is shown."""
    response = await client.request(method, path)
    assert response.status_code in {404, 405}
    assert "…" in response.json()["error"]["message"]
    for text in (response.text, logs.text, str(response.headers)):
        assert KEY not in text
        assert KEY[8:] not in text


async def test_an_invalid_host_still_gets_an_answer(app: FastAPI) -> None:
    """If the caller's URL is unknown, the answer has a placeholder for it."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/nope", "scheme": "https"}
    more: dict[str, Any] = {"query_string": b"", "headers": [], "server": ("[", 443)}
    await app({**scope, **more}, receive, send)
    assert sent[0]["status"] == 404
    assert b"https://<function URL>/v1;" in sent[1]["body"]


# -- callers who hang up, and crashes


async def test_an_early_hang_up_is_no_crash(app: FastAPI, logs: Logged) -> None:
    """A connection closed in the middle of the request is not our error."""
    messages: list[dict[str, Any]] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"{", "more_body": True},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop()

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/v1/turn", "headers": []}
    await app({**scope, "query_string": b""}, receive, send)
    assert logs.event("request.abandoned")["level"] == "INFO"
    assert len(logs.text.splitlines()) == 1


async def test_a_crash_is_logged_once_and_shows_no_internals(
    app: FastAPI, client: httpx2.AsyncClient, logs: Logged
) -> None:
    """The caller gets a JSON 500, the log the traceback, and the server nothing to log again."""
    app.state.error = CRASH
    response = await client.post("/v1/turn")
    _error(response, 500, "internal_error")
    assert "internals" not in response.text
    event = logs.event("request.crashed")
    assert "RuntimeError" in event["exception"]
    assert "internals" not in logs.text
    assert len(logs.text.splitlines()) == 1


async def test_a_dead_connection_gets_no_answer(
    app: FastAPI, client: httpx2.AsyncClient, logs: Logged
) -> None:
    """An OSError means that the caller is gone, so it is left to the server."""
    app.state.error = BrokenPipeError()
    with pytest.raises(BrokenPipeError):
        await client.post("/v1/turn")
    assert "request.crashed" not in logs.text
