"""The real turn that ends a set-up: answered, or the cause and what helps."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from local import first_turn
from local.upstream_advice import Upstream
from ops import real_turn

ANSWER = {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]}


class Server(BaseHTTPRequestHandler):
    """A deployment that gives one answer and records its requests."""

    answer: tuple[int, Any] = (200, ANSWER)
    requests: list[tuple[str, dict[str, str], Any]] = []  # noqa: RUF012 - shared on purpose

    def do_POST(self) -> None:
        """Record the turn and answer it."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        named = {name.lower(): value for name, value in self.headers.items()}
        self.requests.append((self.path, named, body))
        status, value = self.answer
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """The server's base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Server.answer = (200, ANSWER)
    Server.requests.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def _refusal(status: int, code: str) -> tuple[int, Any]:
    return status, {"error": {"message": "No.", "type": "t", "param": None, "code": code}}


REFUSALS: dict[str, tuple[tuple[int, Any], str, str]] = {
    "key": (_refusal(502, "upstream_auth"), "make upstream-key", "UPSTREAM_KEY"),
    "account": (_refusal(402, "upstream_402"), "billing", "account"),
    "quota": (_refusal(429, "insufficient_quota"), "billing", "account"),
    "model": (_refusal(404, "model_not_found"), "UpstreamModel", "UpstreamModel"),
    "path": (_refusal(404, "upstream_404"), "UpstreamBaseUrl", "UPSTREAM="),
    "nobody there": (_refusal(502, "upstream_unavailable"), "UpstreamBaseUrl", "UPSTREAM="),
}


def test_an_answer_is_reported(url: str) -> None:
    """The turn sends the caller's key, asks for errors as a status and costs few tokens."""
    assert real_turn.outcome(url, "key", "m") == "answered."
    assert first_turn.trouble(url, "key", Upstream("http://a/v1", "m")) == ""
    for path, headers, body in Server.requests:
        assert path == "/v1/chat/completions"
        assert headers["authorization"] == "Bearer key"
        assert headers["x-completions-on-failure"] == "error"
        assert (body["model"], body["max_tokens"]) == ("m", 16)


@pytest.mark.parametrize(("answer", "deployed", "local"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_is_reported_with_its_remedy(
    url: str, answer: tuple[int, Any], deployed: str, local: str
) -> None:
    """The remedy fits the set-up: parameters and make, or the variables of `make run`."""
    Server.answer = answer
    told = real_turn.outcome(url, "key")
    assert told.startswith("it failed.")
    assert "No." in told
    assert deployed in told
    assert local in first_turn.trouble(url, "key", Upstream("http://a/v1", "m"))


def test_a_server_that_does_not_answer_is_reported() -> None:
    """A server that is missing, or does not speak HTTP, is reported as such."""
    assert "connection refused" in real_turn.outcome("http://127.0.0.1:1/v1", "key")
    nobody = first_turn.trouble("http://127.0.0.1:1/v1", "key", Upstream("http://a/v1", "m"))
    assert "ConnectionRefusedError" in nobody
