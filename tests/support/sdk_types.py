"""The SDK's own types, applied strictly: no undeclared field, and no declared one missing.

The SDK accepts almost anything (`construct`), but clients that validate do not: LiveKit, for one,
validates the usage. The types are read, not repeated here, so a newer SDK demands more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from completions.sse import DONE

UNDECLARED = {"reasoning_content"}
"""Fields without a type in the SDK that all servers and clients use."""


EVENTS: dict[str, type[BaseModel]] = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(get_args(ResponseStreamEvent)[0])
}
"""By the name of the event."""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _extras(value: Any, where: str = "") -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (f"{where}.{name}" for name in value.model_extra or () if name not in UNDECLARED)
        for name in type(value).model_fields:
            yield from _extras(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for position, one in enumerate(value):
            yield from _extras(one, f"{where}[{position}]")


def _hold(kind: Any, value: Any) -> None:
    """Assert that the value is exactly of this type of the SDK, without extra or missing fields.

    Raises:
        ValidationError: a field is missing or of another type.
    """
    read = _adapter(kind).validate_json(json.dumps(value), strict=True)
    assert list(_extras(read)) == [], value


def _frames(data: bytes) -> Iterator[Any]:
    for block in data.removesuffix(DONE).split(b"\n\n"):
        if block:
            yield json.loads(block.rpartition(b"data: ")[2])


def check_chat(data: bytes) -> None:
    """Check a chat completion, streamed or not, against the SDK's types."""
    if data.startswith(b"{"):
        _hold(ChatCompletion, json.loads(data))
        return
    for frame in _frames(data):
        if frame.keys() != {"error"}:
            _hold(ChatCompletionChunk, frame)


def check_response(data: bytes) -> None:
    """Check a response, streamed or not, against the SDK's types."""
    if data.startswith(b"{"):
        _hold(Response, json.loads(data))
        return
    for frame in _frames(data):
        # NOTE: `error` is twice in our `error` event, see `ResponsesWriter.failure`.
        flat = {name: one for name, one in frame.items() if name != "error"}
        _hold(EVENTS[frame["type"]], flat if frame["type"] == "error" else frame)
