"""A played model: OpenAI's chat completions, streamed at a steady pace, for a trial's server.

It says yes, tells a story of many pieces when asked for one, and calls the tool that is offered for
an order. It costs nothing and never varies, so a trial measures AWS and the server.
"""

import asyncio
import hmac
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from mangum import Mangum

STORY = [f"The sailor saw wave number {number}. " for number in range(1, 25)]
PACE_S = 0.06


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a chat completion; anything else is not found."""

    async def answer(status: int, kind: str, pieces: AsyncIterator[bytes]) -> None:
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    shown = dict(scope["headers"]).get(b"authorization", b"")
    if not hmac.compare_digest(shown, b"Bearer " + os.environ["MODEL_KEY"].encode()):
        await answer(401, "application/json", _error("invalid_api_key", "not the trial's key"))
        return
    if not scope["path"].endswith("/chat/completions"):
        await answer(404, "application/json", _error("not_found", "only chat completions"))
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    request = json.loads(body)
    if request.get("stream"):
        await answer(200, "text/event-stream", _streamed(request))
    else:
        whole = {"role": "assistant", "content": "Yes."}
        choice = {"index": 0, "message": whole, "finish_reason": "stop"}
        await answer(200, "application/json", _once({**_HEAD, "choices": [choice]}))


_HEAD = {"id": "chatcmpl-trial", "object": "chat.completion", "created": 1, "model": "trial"}


async def _streamed(request: dict[str, Any]) -> AsyncIterator[bytes]:
    yield _chunk({"role": "assistant", "content": ""})
    last = request["messages"][-1]
    text = json.dumps(last.get("content") or "")
    if request.get("tools") and last["role"] == "user" and "order" in text:
        function = {"name": request["tools"][0]["function"]["name"], "arguments": '{"number": 42}'}
        call = {"index": 0, "id": "call_trial", "type": "function", "function": function}
        yield _chunk({"tool_calls": [call]})
        yield _chunk({}, "tool_calls")
    else:
        for piece in STORY if "story" in text else ["Yes."]:
            yield _chunk({"content": piece})
            await asyncio.sleep(PACE_S)
        yield _chunk({}, "stop")
    yield b"data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _error(code: str, message: str) -> AsyncIterator[bytes]:
    return _once({"error": {"code": code, "message": message, "type": "invalid_request_error"}})


async def _once(value: dict[str, Any]) -> AsyncIterator[bytes]:
    yield json.dumps(value).encode()


handler = Mangum(app, lifespan="off")
