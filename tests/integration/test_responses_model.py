"""A real server's Responses API, which leaves out indices, numbers and half of the response."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from completions.dialects import responses
from completions.dialects.deltas import Chunk, Done, Finish, Reasoning, Rewrite, Text, Usage
from completions.quirks.shapes import mended, refused_shapes
from completions.sse import ServerSentEvent
from local import model
from tests.support.responses_rules import check, sdk_final, spoken_in, sse_events_of

pytestmark = pytest.mark.model

REQUEST = {
    "model": "any",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": "Hi"},
        # This server refuses an item without its type.
        {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
        {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": {"zone": "UTC"}},
        {"type": "function_call_output", "call_id": "c1", "output": "noon"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "user", "content": [{"type": "text", "text": "What time is it?"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "clock", "parameters": {}}}],
    "max_output_tokens": 12,
    "user_id": "u1",
}


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    """The base URL of a running model."""
    service = await model.start(sys.stderr)
    yield f"{service.address}/v1"
    await service.stop()


async def answered(base_url: str, body: dict[str, Any]) -> httpx2.Response:
    """Return the server's answer to our request, without the fields that it refuses."""
    sent = responses.prepare(responses.parse(body), model="", extra_body={}, clean=str).body
    async with httpx2.AsyncClient(timeout=60) as client:
        refusal = await client.post(f"{base_url}{responses.path}", json=sent)
        assert refusal.status_code == 400
        assert refused_shapes(refusal.text, sent) == frozenset({"empty-thoughts"})
        sent = mended(sent, {"empty-thoughts"})
        answer = await client.post(f"{base_url}{responses.path}", json=sent)
    assert answer.status_code == 200, answer.text
    return answer


async def test_its_stream_is_understood_and_becomes_one_that_the_sdk_reads(base_url: str) -> None:
    """Every streamed word is read once and appears in the stream that we write."""
    body = {**REQUEST, "stream": True}
    data = (await answered(base_url, body)).content
    read, writer = responses.reader(), responses.writer(responses.parse(body))
    chunks = [Chunk(sse, read(sse)) for sse in sse_events_of(data)]
    deltas = [delta for one in chunks for delta in one.deltas]
    words = "".join(delta.text for delta in deltas if isinstance(delta, Text))
    assert words
    assert [type(one) for one in deltas if not isinstance(one, Text | Reasoning)] == [
        *(Usage, Finish, Done)
    ]
    usage = next(delta.usage for delta in deltas if isinstance(delta, Usage))
    out = writer.buffer_words("One moment... ")
    out += b"".join(writer.relay(one) for one in chunks) + writer.end("stop", usage)
    assert spoken_in(check(out)) == f"One moment... {words}"
    final = await sdk_final(out)
    assert final.output_text == f"One moment... {words}"
    assert final.usage is not None
    assert final.usage.output_tokens == usage["output_tokens"]


async def test_its_whole_answer_is_understood(base_url: str) -> None:
    """The words, the tokens and the end of a JSON answer."""
    data = (await answered(base_url, REQUEST)).content
    # Fields that it leaves out of a response must be added.
    text, usage, finish, done, rewrite = responses.reader()(ServerSentEvent(b"", data))
    assert isinstance(text, Text)
    assert isinstance(usage, Usage)
    assert (finish, done, rewrite) == (Finish("stop"), Done(), Rewrite())
