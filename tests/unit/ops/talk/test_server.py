"""The page's server over a real socket."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from ops.call.agent import AgentServer
from ops.pasted_url import Address
from ops.talk.conversation import Conversation
from ops.talk.request_guard import HEADERS
from ops.talk.server import FILES, PageServer
from tests.support.patients import KEY, healthy, serve


@contextmanager
def _served() -> Iterator[PageServer]:
    with serve(healthy) as url:
        conversation = Conversation(AgentServer(Address.parse(url), KEY), model="m", speed=200)
        with PageServer(conversation) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield server
            finally:
                server.shutdown()


def _asked(
    server: PageServer, method: str, path: str, body: Any = None, **headers: str
) -> http.client.HTTPResponse:
    parts = urlsplit(server.address)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=20)
    fields = {"sec-fetch-site": "same-origin", "content-type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body)
    connection.request(method, parts.path + path, data, fields)
    return connection.getresponse()


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_page_has_no_key_and_names_no_other_host(name: str) -> None:
    """Each file comes with the policy, and contains neither the caller key nor another address."""
    with _served() as server:
        answer = _asked(server, "GET", name)
        text = answer.read().decode()
    assert answer.status == 200
    assert {k: answer.headers[k] for k in HEADERS} == HEADERS
    assert KEY not in text
    assert "//" not in text.replace("// ", "")


def test_a_turn_arrives_as_events() -> None:
    """A turn that the page starts arrives as events, without the key."""
    with _served() as server:
        lines: list[str] = []
        with _asked(server, "GET", "events") as events:
            assert _asked(server, "POST", "begin", {"system_tools": []}).status == 204
            assert _asked(server, "POST", "say", {"text": "Hello?"}).status == 204
            while not lines or '"now_ms": null' not in lines[-1]:
                lines.append(events.readline().decode())
    turn = json.loads(lines[-1].removeprefix("data: "))["turn"]
    assert turn["caller"] == "Hello?"
    assert turn["heard"]
    assert KEY not in "".join(lines)


def test_a_foreign_page_changes_nothing() -> None:
    """A refused request is not carried out."""
    with _served() as server:
        answer = _asked(server, "POST", "say", {"text": "Hello?"}, sec_fetch_site="cross-site")
        assert answer.status == 403
        assert server.conversation.call.turns == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("say", {}, 400),
        ("say", [], 400),
        ("begin", {"tools": ["x"]}, 400),
        ("begin", {"api_type": "odd"}, 400),
        ("behaviour", {"behaviour": "sick"}, 400),
        ("nothing", {}, 404),
    ],
)
def test_a_malformed_request_is_refused(path: str, body: Any, status: int) -> None:
    """A malformed request gets an error status, and the server keeps running."""
    with _served() as server:
        assert _asked(server, "POST", path, body).status == status
        assert _asked(server, "GET", "").status == 200
