"""Faults injected in front of the model."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from ops.doctor import events
from ops.doctor.strict_reader import hear
from ops.doctor.wire import Piece
from ops.talk.fault_injection import Behaviour, FaultInjector
from tests.support.patients import KEY, healthy, serve


@pytest.fixture
def fault_injector() -> Iterator[FaultInjector]:
    with serve(healthy) as url:
        fault_injector = FaultInjector(url, slow_s=0.2)
        yield fault_injector
        fault_injector.close()


def _ask(fault_injector: FaultInjector, endpoint: str = "/chat/completions") -> tuple[int, bytes]:
    authority = fault_injector.base_url.removeprefix("http://").removesuffix("/v1")
    body = {"model": "m", "stream": True, "messages": [], "input": []}
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with closing(http.client.HTTPConnection(authority, timeout=20)) as connection:
        connection.request("POST", f"/v1{endpoint}", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("behaviour", ["well", "slow"])
def test_the_real_model_answers(fault_injector: FaultInjector, behaviour: Behaviour) -> None:
    """An answer passes unchanged; a slow model's later."""
    fault_injector.behaviour = behaviour
    status, body = _ask(fault_injector)
    heard = hear(events.read([Piece(0, body)]), responses=False)
    assert status == 200
    assert heard.text
    assert heard.troubles == []


def test_a_sick_model_refuses(fault_injector: FaultInjector) -> None:
    """Every turn gets a 503."""
    fault_injector.behaviour = "sick"
    assert _ask(fault_injector)[0] == 503


@pytest.mark.parametrize("endpoint", ["/chat/completions", "/responses"])
def test_an_empty_model_ends_in_order_without_a_word(
    fault_injector: FaultInjector, endpoint: str
) -> None:
    """The stream is whole, in either API, and says nothing."""
    fault_injector.behaviour = "empty"
    status, body = _ask(fault_injector, endpoint)
    assert status == 200
    assert b"[DONE]" in body
    assert hear(events.read([Piece(0, body)]), responses="resp" in endpoint).text == ""
