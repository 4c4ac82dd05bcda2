"""A buffered turn: one complete JSON answer, or an error with its own status."""

from __future__ import annotations

import json

import pytest

from local.scripted.script import (
    Done,
    Finish,
    Head,
    Hold,
    Raw,
    Reply,
    Role,
    Say,
    Think,
    Usage,
    answer,
    refused,
)
from tests.support.in_process import PlayedUpstream
from tests.support.tools import TRANSFER
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime


async def test_an_unasked_stream_becomes_one_answer() -> None:
    """An upstream that streams unasked is read to the end."""
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "All "}, None),
        ({"content": "of it."}, None),
        ({}, "stop"),
    ]
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in deltas
    ]
    events = [Raw(f"data: {json.dumps(chunk)}\n\n".encode()) for chunk in chunks]
    upstream = PlayedUpstream([Head(), *events, Raw(b"data: [DONE]\n\n"), Hold()])
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(stream=False))
    assert CHAT.read(heard).text == "All of it."


async def test_an_empty_buffered_answer_is_asked_for_again_once(way: Way) -> None:
    """A second empty answer is relayed unchanged, since no words of ours belong in it."""
    for opening in ([Role()], [Role(), Think("Well.")], [Role(), Say("<think>Well.</think>")]):
        upstream = PlayedUpstream([*opening, Finish(), Usage(), Done()], answer("Sunny."))
        got = way.read(await way.post(way.caller(upstream), way.body(stream=False)))
        assert (got.text, got.finish) == ("Sunny.", "stop")
        upstream = PlayedUpstream([*opening, Finish(), Usage(), Done()])
        heard = await way.post(way.caller(upstream), way.body(stream=False))
        got = way.read(heard)
        assert (heard.status, got.text.strip(), got.finish) == (200, "", "stop")
        assert len(upstream.requests) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_buffered_turn_fails_by_its_status(way: Way, status: int) -> None:
    """A 200 with an apology would look like an answer, so every caller gets the status."""
    for on_failure in ("speak", "error"):
        got, _, heard = await way.turn(
            refused(status, message="Enough.", retry_after_s=9),
            stream=False,
            post={"on_failure": on_failure},
        )
        assert heard.status == status
        assert heard.headers["retry-after"] == "9"
        assert got.error is not None
        assert got.error["message"] == "Enough."


async def test_several_buffered_answers_are_relayed() -> None:
    """With `n` they are relayed byte for byte, even with calls that fit no schema."""
    wrong = {"id": "x", "type": "function", "function": {"name": "gone", "arguments": "{"}}
    message = {"role": "assistant", "content": None, "tool_calls": [wrong]}
    choices = [{"index": n, "message": message, "finish_reason": "tool_calls"} for n in (0, 1)]
    body = json.dumps({"id": "c", "object": "chat.completion", "choices": choices}).encode()
    upstream = PlayedUpstream([Reply(body)])
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(n=2, stream=False, tools=[TRANSFER]))
    assert heard.body == body
    assert len(upstream.requests) == 1
