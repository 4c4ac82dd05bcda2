"""Use the SDK before a snapshot or a first turn, since it loads types and resources on first use.

That takes half a second, which a caller would wait for. Plays one answer of each kind to the SDK's
synchronous client, which reads them with the same types as the asynchronous one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from completions.agent_api import transport
from completions.agent_api.client import client, sdk_client
from completions.agent_api.client_requests import HttpAnswer
from completions.dialects import chat, responses
from completions.dialects.deltas import Call
from completions.dialects.dialect import Dialect

_TOOL = {"name": "f", "parameters": {"type": "object", "properties": {}}}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
_CALLS = [Call("call_1", "f", "{}")]
_MESSAGES = [{"role": "user", "content": "Hello."}]
_BODIES: Mapping[str, dict[str, Any]] = {
    chat.path: {
        "model": "m",
        "messages": _MESSAGES,
        "tools": [{"type": "function", "function": _TOOL}],
    },
    responses.path: {"model": "m", "input": _MESSAGES, "tools": [{"type": "function", **_TOOL}]},
}


def warm() -> None:
    """Use the SDK once in each way that an agent may."""
    import anyio._backends._asyncio  # noqa: F401 - the SDK closes its streams by it
    import openai

    answers: list[HttpAnswer] = []
    library = transport.library_of(openai.DefaultHttpxClient)
    sdk = sdk_client(
        openai.OpenAI, library.Client, transport.synchronous(library, lambda _: answers.pop())
    )
    ways: tuple[tuple[Dialect, Any], ...] = (
        (chat, sdk.chat.completions),
        (responses, sdk.responses),
    )
    for dialect, resource in ways:
        body = _BODIES[dialect.path]
        answers.append(_streamed(dialect, body))
        for _ in resource.create(**body, stream=True):
            pass
        answers.append(_whole(dialect, body))
        resource.create(**body)
        answers.append(_streamed(dialect, body))
        with resource.stream(**body) as events:
            for _ in events:
                pass
        answers.append(_whole(dialect, body))
        resource.with_raw_response.create(**body).parse()
    asynchronous = client()
    for resource in (
        asynchronous.chat.completions,
        asynchronous.responses,
        asynchronous.embeddings,
    ):
        _ = resource.with_raw_response, resource.with_streaming_response


def _streamed(dialect: Dialect, body: dict[str, Any]) -> HttpAnswer:
    writer = dialect.writer(dialect.parse({**body, "stream": True}))
    events = writer.text("Hello.") + writer.call(_CALLS[0]) + writer.end("tool_calls", _USAGE)
    return HttpAnswer(headers={"content-type": "text/event-stream"}, body=events)


def _whole(dialect: Dialect, body: dict[str, Any]) -> HttpAnswer:
    whole = dialect.buffered(
        dialect.parse(body),
        None,
        text="Hello.",
        reasoning="",
        calls=_CALLS,
        finish="tool_calls",
        usage=_USAGE,
    )
    return HttpAnswer(body=whole)
