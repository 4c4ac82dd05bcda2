"""The rules of a Chat Completions stream for strict clients, and the SDK's reading of one.

Written from platform.openai.com/docs/api-reference/chat-streaming, independently of the code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from openai.types.chat import ChatCompletionChunk, ParsedChatCompletion

from tests.support.sdk_http import client_of

FINISHES = {"stop", "length", "tool_calls", "content_filter"}
_HEADER = b"data: "
_IDENTITY = ("object", "id", "created", "model")


@dataclass(slots=True)
class Spoken:
    """A strict client's reading of one stream."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Name and arguments of each."""
    finish: str = ""
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


def chunks_of(data: bytes) -> list[Any]:
    """Return the JSON of every event before the terminator, which comes once and last.

    An event is one `data:` line, the only form that every client knows.
    """
    assert data.endswith(b"\n\n"), data[-80:]
    blocks = data.removesuffix(b"\n\n").split(b"\n\n")
    for block in blocks:
        assert block.startswith(_HEADER), block
        assert b"\n" not in block, block
    texts = [block.removeprefix(_HEADER) for block in blocks]
    assert texts.count(b"[DONE]") == 1, texts[-3:]
    assert texts[-1] == b"[DONE]", texts[-3:]
    return [json.loads(text) for text in texts[:-1]]


def check(data: bytes) -> Spoken:
    """Assert every rule of a stream with one answer; return what it says."""
    chunks = chunks_of(data)
    spoken = Spoken()
    if chunks and "error" in chunks[-1]:
        spoken.error = chunks.pop()["error"]
        assert spoken.error is not None
        assert set(spoken.error) == {"message", "type", "param", "code"}
        assert spoken.error["message"]
    assert not any("error" in chunk for chunk in chunks)
    for name in _IDENTITY:
        assert len({chunk[name] for chunk in chunks}) <= 1, name
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    roles = 0
    calls: list[dict[str, Any]] = []
    for position, chunk in enumerate(chunks):
        if not chunk["choices"]:
            assert position == len(chunks) - 1, "usage is the last chunk"
            assert spoken.finish
            spoken.usage = chunk["usage"]
            continue
        assert not chunk.get("usage"), "usage has its own chunk"
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert not spoken.finish, "nothing follows the finish"
        delta = choice["delta"]
        if delta.get("role"):
            roles += 1
            assert delta["role"] == "assistant"
            assert position == 0, "the role comes first"
        spoken.text += delta.get("content") or ""
        spoken.reasoning += delta.get("reasoning_content") or ""
        parts = delta.get("tool_calls") or []
        assert len(parts) <= 1, "each event has one piece of a tool call"
        for part in parts:
            _add(part, calls)
        if choice["finish_reason"] is not None:
            assert not parts, "the finish has its own event"
            spoken.finish = choice["finish_reason"]
    assert roles == (1 if chunks else 0)
    assert (spoken.finish in FINISHES) != (spoken.error is not None), "one end"
    assert len({call["id"] for call in calls}) == len(calls)
    spoken.calls = [(call["name"], call["arguments"]) for call in calls]
    assert all(isinstance(json.loads(arguments), dict) for _, arguments in spoken.calls)
    assert (spoken.finish == "tool_calls") == bool(calls) or spoken.error
    return spoken


def _add(part: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    index, function = part["index"], part["function"]
    if index == len(calls):
        assert part["id"]
        assert part["type"] == "function"
        assert function["name"]
        calls.append({"id": part["id"], "name": function["name"], "arguments": ""})
    else:
        assert 0 <= index < len(calls), "calls are numbered from 0"
        # Clients would join values that come twice.
        assert not part.get("id")
        assert not function.get("name")
    calls[index]["arguments"] += function.get("arguments") or ""


async def sdk_chunks(data: bytes) -> list[ChatCompletionChunk]:
    """Return what `chat.completions.create(stream=True)` yields."""
    async with client_of(data) as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        return [chunk async for chunk in stream]


async def sdk_final(data: bytes) -> ParsedChatCompletion[None]:
    """Return what `get_final_completion` of the stream helper returns."""
    async with (
        client_of(data) as client,
        client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "Hi"}]
        ) as stream,
    ):
        return await stream.get_final_completion()
