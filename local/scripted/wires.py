"""How a scripted model's speech looks on the wire: chat completions here, responses beside it.

Shapes: platform.openai.com/docs/api-reference/chat. Written independently of the product's own
dialects, so that a misunderstanding there is not repeated here.
"""

from __future__ import annotations

import json
from typing import Any

from local.scripted.script import (
    CallPiece,
    Decline,
    Done,
    Fail,
    Finish,
    Role,
    Say,
    Speech,
    Think,
    Usage,
)
from local.scripted.script_player import RecordedRequest, Wire
from local.scripted.wires_responses import ResponsesStream, ResponsesWhole

CREATED = 1_795_338_000


def wire_for(request: RecordedRequest) -> Wire:
    """The wire that this request asks for."""
    try:
        body = request.json
    except ValueError:
        body = {}  # A GET, or a request that the test will complain about.
    model = str(body.get("model", ""))
    streamed = body.get("stream") is True
    if request.path.endswith("/responses"):
        return ResponsesStream(model) if streamed else ResponsesWhole(model)
    if streamed:
        options = body.get("stream_options") or {}
        return ChatStream(model, include_usage=bool(options.get("include_usage")))
    return ChatWhole(model)


def _data(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


class ChatStream:
    """Chunks, `data: {json}` each."""

    streamed = True

    def __init__(self, model: str, *, include_usage: bool) -> None:
        self._model = model
        self._include_usage = include_usage

    def render(self, step: Speech) -> bytes:
        """See `Wire`."""
        match step:
            case Role():
                return self._chunk({"role": "assistant", "content": ""})
            case Say(text):
                return self._chunk({"content": text})
            case Think(text):
                return self._chunk({"reasoning_content": text})
            case Decline(text):
                return self._chunk({"refusal": text})
            case CallPiece():
                return self._chunk({"tool_calls": [_piece(step)]})
            case Finish(reason):
                return self._chunk({}, reason)
            case Usage():
                return (
                    self._envelope(choices=[], usage=_usage(step)) if self._include_usage else b""
                )
            case Fail(error):
                return _data({"error": dict(error)})
            case Done():
                return b"data: [DONE]\n\n"

    def whole(self) -> bytes:
        """See `Wire`."""
        return b""

    def unstreamed(self) -> Wire:
        """See `Wire`."""
        return ChatWhole(self._model)

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return self._envelope(
            choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]
        )

    def _envelope(self, **fields: Any) -> bytes:
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED}
        return _data({**chunk, "model": self._model, **fields})


def _piece(step: CallPiece) -> dict[str, Any]:
    piece: dict[str, Any] = {"index": step.index, "function": {"arguments": step.arguments}}
    if step.name is not None:
        piece |= {"id": step.id, "type": "function"}
        piece["function"]["name"] = step.name
    return piece


def _usage(step: Usage) -> dict[str, int]:
    total = step.prompt + step.completion
    return {
        "prompt_tokens": step.prompt,
        "completion_tokens": step.completion,
        "total_tokens": total,
    }


class ChatWhole:
    """One JSON object."""

    streamed = False

    def __init__(self, model: str) -> None:
        self._model = model
        self._words = {"content": "", "refusal": "", "reasoning_content": ""}
        self._calls: dict[int, dict[str, str]] = {}
        self._finish: str | None = None
        self._usage = Usage()
        self._error: dict[str, Any] | None = None

    def render(self, step: Speech) -> bytes:
        """See `Wire`."""
        match step:
            case Say(text):
                self._words["content"] += text
            case Think(text):
                self._words["reasoning_content"] += text
            case Decline(text):
                self._words["refusal"] += text
            case CallPiece():
                held = self._calls.setdefault(step.index, {"id": "", "name": "", "arguments": ""})
                held["id"] += step.id or ""
                held["name"] += step.name or ""
                held["arguments"] += step.arguments
            case Finish(reason):
                self._finish = reason
            case Usage():
                self._usage = step
            case Fail(error):
                self._error = dict(error)
            case Role() | Done():
                pass
        return b""

    def whole(self) -> bytes:
        """See `Wire`."""
        if self._error:
            return json.dumps({"error": self._error}).encode()
        texts = {name: words or None for name, words in self._words.items()}
        message: dict[str, Any] = {"role": "assistant", **texts}
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": held["id"],
                    "type": "function",
                    "function": {"name": held["name"], "arguments": held["arguments"]},
                }
                for held in self._calls.values()
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}
        completion = {"id": "chatcmpl-1", "object": "chat.completion", "created": CREATED}
        return json.dumps(
            {
                **completion,
                "model": self._model,
                "choices": [choice],
                "usage": _usage(self._usage),
            }
        ).encode()

    def unstreamed(self) -> Wire:
        """See `Wire`."""
        return self
