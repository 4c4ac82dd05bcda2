"""The soak's checker: a good turn passes, and each fault is named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from local.scripted.script import CallPiece, Done, Finish, Role, Say, Usage
from local.scripted.script_player import RecordedRequest
from local.scripted.wires import wire_for
from tests.soak.checker import FAILURE, TurnRequest, judge
from tests.soak.heard import hear
from tests.soak.kinds.kind import HEALTHY, Kind
from tests.soak.script import TOOL, Answer
from tests.soak.upstream import Scene

STREAM = {"content-type": "text/event-stream; charset=utf-8"}
Change = Callable[[bytes], bytes]


def turn_request(*, chat: bool) -> TurnRequest:
    """Return a streamed turn that offers a tool."""
    return TurnRequest(1, chat, streamed=True, speak=True, tools=True, shape="single")


def played(*, chat: bool, kind: Kind = HEALTHY) -> tuple[Scene, bytes]:
    """Return a turn answered by two words, as the upstream knows it, and its bytes."""
    path = "/v1/chat/completions" if chat else "/v1/responses"
    body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    seen = RecordedRequest("POST", path, [], json.dumps(body).encode(), 0.0)
    scene = Scene(1, kind, "first", random.Random(1))
    answer = Answer(
        wire_for(seen),
        turn=1,
        number=0,
        chat=chat,
        candidate="upstream",
        at=0.0,
        body=body,
        rng=scene.rng,
        faulty=True,
    )
    answer.text, answer.whole, answer.over_at = "t1a0w0 t1a0w1 ", True, 0.1
    scene.answers.append(answer)
    steps = (Role(), Say("t1a0w0 "), Say("t1a0w1 "), Finish(), Usage(), Done())
    data = answer.render(*steps)
    return scene, data if chat else data + b"data: [DONE]\n\n"


def found(scene: Scene, data: bytes, *, chat: bool, at_ms: int = 100) -> set[str]:
    """Judge a turn whose bytes came at once; return the names of its faults."""
    heard = hear(200, STREAM, [(at_ms, data)], chat=chat, streamed=True)
    verdict = judge(turn_request(chat=chat), scene, heard, status=200, over_ms=at_ms)
    return {name for name, _ in verdict.violations}


def swap(old: bytes, new: bytes, count: int = -1) -> Change:
    """Replace bytes that must be present."""

    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, count)

    return change


@pytest.mark.parametrize("chat", [True, False])
def test_a_good_turn_passes(chat: bool) -> None:
    """An answer that is heard unchanged has no fault."""
    scene, data = played(chat=chat)
    assert found(scene, data, chat=chat) == set()


END = b"data: [DONE]"
ROLE = b'{"role":"assistant",'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
CHAT: dict[str, tuple[Change, str]] = {
    "no terminator": (swap(b"data: [DONE]\n\n", b""), "protocol: no [DONE]"),
    "two": (lambda data: data + b"data: [DONE]\n\n", "protocol: something behind [DONE]"),
    "half an event": (lambda data: data + b"data: {", "protocol: half an event at the end"),
    "no JSON": (swap(b'{"id"', b"{id", 1), "protocol: a chunk is no JSON"),
    "another id": (swap(b"chatcmpl-1", b"chatcmpl-2", 1), "protocol: another identity"),
    "a list": (swap(b'"t1a0w0 "', b'["t1a0w0 "]'), "protocol: odd content"),
    "a role twice": (swap(b'{"content": "t1', ROLE + b'"content": "t1'), "protocol: roles"),
    "an odd finish": (swap(b'"stop"', b'"eos"'), "protocol: an odd finish"),
    "no finish": (swap(b'"stop"', b"null"), "protocol: not one end"),
    "words behind it": (swap(END, WORD + END), "protocol: something behind the finish"),
    "another choice": (swap(b'"index": 0', b'"index": 1', 1), "protocol: another choice"),
    "a word lost": (swap(b"t1a0w0 ", b""), "words lost"),
    "a word twice": (swap(b"t1a0w0 ", b"t1a0w0 t1a0w0 "), "words doubled or out of order"),
    "another order": (swap(b"t1a0w0 ", b"t1a0w1 "), "words doubled or out of order"),
    "another turn's": (swap(b"t1a0w0 ", b"t2a0w0 "), "another turn's words"),
    "a thought": (swap(b"t1a0w0 ", b"t1a0x7 t1a0w0 "), "what is no speech was spoken"),
    "a tag": (swap(b"t1a0w0 ", b"</think>t1a0w0 "), "words of nobody's"),
    "a comma too many": (swap(b"t1a0w0 ", b"t1a0w0 , "), "words altered"),
    "an apology": (swap(b"t1a0w0 ", b"t1a0w0 " + FAILURE.encode()), "no answer"),
    "nothing to hear": (swap(b"t1a0w0 ", b"... "), "words lost"),
}


@pytest.mark.parametrize(("change", "name"), CHAT.values(), ids=CHAT)
def test_a_fault_of_a_chat_completion_is_named(change: Change, name: str) -> None:
    """Each breach of the protocol or of a promise has its name."""
    scene, data = played(chat=True)
    assert name in found(scene, change(data), chat=True)


OTHER_NAME = "protocol: an event by another name"
OTHER_TEXT = "protocol: another text at its end"
RESPONSES: dict[str, tuple[Change, str]] = {
    "no terminator": (swap(b"data: [DONE]\n\n", b""), "protocol: no [DONE]"),
    "a number twice": (swap(b'_number": 3', b'_number": 2'), "protocol: a sequence number"),
    "another name": (swap(b"event: response.created", b"event: x"), OTHER_NAME),
    "another field": (swap(b'_number": 4', b'_number": 4, "x": 1'), ""),
    "a word lost": (swap(b'"delta": "t1a0w0 "', b'"delta": ""'), OTHER_TEXT),
    "no end": (swap(b"response.completed", b"response.dancing"), "protocol: not one end"),
}


@pytest.mark.parametrize(("change", "name"), RESPONSES.values(), ids=RESPONSES)
def test_a_fault_of_a_response_is_named(change: Change, name: str) -> None:
    """Each breach of the protocol has its name; an unknown field is not a breach."""
    scene, data = played(chat=False)
    assert (name in found(scene, change(data), chat=False)) == bool(name)


def test_a_late_word_is_named() -> None:
    """Silence before the first sound is bounded."""
    scene, data = played(chat=True)
    assert "silence" in found(scene, data, chat=True, at_ms=2000)


def test_an_empty_turn_is_named() -> None:
    """A turn with nothing but dots counts as empty."""
    scene, _ = played(chat=True)
    answer = scene.answers[0]
    answer.text = ""
    data = answer.render(Role(), Say("... "), Finish(), Done())
    assert "an empty turn" in found(scene, data, chat=True)


def test_too_many_requests_are_named() -> None:
    """A turn may make three requests at most."""
    scene, data = played(chat=True)
    scene.answers *= 4
    assert "too many requests" in found(scene, data, chat=True)


def test_a_request_that_outlives_its_turn_is_named() -> None:
    """A request must end with its turn."""
    scene, data = played(chat=True)
    scene.answers[0].over_at = None
    assert "a request that goes on behind the turn" in found(scene, data, chat=True)


def test_a_hurried_retry_is_named() -> None:
    """A retry at once after a failure is a fault."""
    scene, data = played(chat=True, kind=replace(HEALTHY, errs=True))
    scene.answers *= 2
    assert "asked again at once" not in found(scene, data, chat=True)
    scene.answers[0].at = 0.2
    assert "asked again at once" in found(scene, data, chat=True)


@pytest.mark.parametrize(
    ("calls", "name"),
    [
        ([("c1", TOOL["name"], '{"ref": "t1a0c1", "seats": 4}')], ""),
        ([("c1", TOOL["name"], '{"ref": "t1a0c1", "seats": "4"}')], "an invalid call"),
        ([("c1", TOOL["name"], '{"ref": "t1a0c1"')], "an invalid call"),
        ([("c1", "cancel", '{"ref": "t1a0c1", "seats": 4}')], "an invalid call"),
        ([("c1", TOOL["name"], '{"ref": "t2a0c1", "seats": 4}')], "another turn's call"),
        ([("c1", TOOL["name"], '{"ref": "t1a0c1", "seats": 4}')] * 2, "two calls under one id"),
        (
            [(id_, TOOL["name"], '{"ref": "t1a0c1", "seats": 4}') for id_ in ("c1", "c2")],
            "a call twice",
        ),
    ],
)
def test_a_fault_of_a_call_is_named(calls: list[tuple[str, str, str]], name: str) -> None:
    """A call must be offered, valid, of this turn, and come once."""
    scene, _ = played(chat=True)
    answer = scene.answers[0]
    answer.text = ""
    pieces = [CallPiece(n, text, name=tool, id=id_) for n, (id_, tool, text) in enumerate(calls)]
    data = answer.render(Role(), *pieces, Finish("tool_calls"), Done())
    names = found(scene, data, chat=True)
    assert name in names if name else not names
