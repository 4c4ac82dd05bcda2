"""Chat completions that no script can play, for tests that set every field of events and bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local.scripted.script import Raw, Reply

_IDENTITY = {"id": "c", "created": 1, "model": "m"}


def chat_event(delta: Mapping[str, Any], finish: str | None = None, **fields: Any) -> Raw:
    """Return one event of a chat completion with this delta."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **fields.pop("choice", {})}
    head = {**_IDENTITY, "object": "chat.completion.chunk"}
    return Raw(f"data: {json.dumps({**head, **fields, 'choices': [choice]})}\n\n".encode())


def chat_whole(message: Mapping[str, Any], finish: str) -> Reply:
    """Return a chat completion that is not streamed."""
    head = {**_IDENTITY, "object": "chat.completion"}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return Reply(json.dumps({**head, "choices": [choice]}).encode())
