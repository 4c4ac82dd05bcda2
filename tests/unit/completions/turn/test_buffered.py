"""A buffered turn: one JSON answer, whatever the upstream sends."""

from __future__ import annotations

import json

import pytest

from tests.support.in_process import PlayedUpstream
from tests.support.script import Head, Hold, Raw
from tests.support.ways import CHAT

pytestmark = pytest.mark.looptime


async def test_an_unasked_stream_becomes_one_answer() -> None:
    """An upstream that streams although no stream was asked for is read to its end."""
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
    frames = [Raw(f"data: {json.dumps(chunk)}\n\n".encode()) for chunk in chunks]
    upstream = PlayedUpstream([Head(), *frames, Raw(b"data: [DONE]\n\n"), Hold()])
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(stream=False))
    assert CHAT.read(heard).text == "All of it."
