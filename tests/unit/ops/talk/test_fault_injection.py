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
from ops.talk.fault_injection import Day, StandIn
from tests.support.patients import KEY, healthy, serve


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with serve(healthy) as url:
        stand_in = StandIn(url, slow_s=0.2)
        yield stand_in
        stand_in.close()


def _ask(stand_in: StandIn, endpoint: str = "/chat/completions") -> tuple[int, bytes]:
    authority = stand_in.base_url.removeprefix("http://").removesuffix("/v1")
    body = {"model": "m", "stream": True, "messages": [], "input": []}
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with closing(http.client.HTTPConnection(authority, timeout=20)) as connection:
        connection.request("POST", f"/v1{endpoint}", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("day", ["well", "slow"])
def test_the_real_model_answers(stand_in: StandIn, day: Day) -> None:
    """An answer passes unchanged; on a slow day, later."""
    stand_in.day = day
    status, body = _ask(stand_in)
    heard = hear(events.read([Piece(0, body)]), responses=False)
    assert status == 200
    assert heard.text
    assert heard.troubles == []


def test_a_sick_model_refuses(stand_in: StandIn) -> None:
    """On a sick day every turn gets a 503."""
    stand_in.day = "sick"
    assert _ask(stand_in)[0] == 503


@pytest.mark.parametrize("endpoint", ["/chat/completions", "/responses"])
def test_an_empty_model_ends_in_order_without_a_word(stand_in: StandIn, endpoint: str) -> None:
    """On an empty day the stream is whole, in either API, and says nothing."""
    stand_in.day = "empty"
    status, body = _ask(stand_in, endpoint)
    assert status == 200
    assert b"[DONE]" in body
    assert hear(events.read([Piece(0, body)]), responses="resp" in endpoint).text == ""
