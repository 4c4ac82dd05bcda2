"""The embedded model, a real one, directly and through the whole deployment."""

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from local import model
from local.deployment import Deployment

pytestmark = pytest.mark.model

QUESTION = {
    "model": "any",
    "max_tokens": 12,
    "messages": [{"role": "user", "content": "Say hello."}],
}


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    """The base URL of a running model."""
    service = await model.start(sys.stderr)
    yield f"{service.address}/v1"
    await service.stop()


def lines(url: str, body: Any = None, key: str = "") -> Iterator[bytes]:
    """Yield the lines of an answer as they arrive."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    request.add_header("authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=60) as response:
        yield from response


async def ask(url: str, body: Any = None, key: str = "") -> list[bytes]:
    return await asyncio.to_thread(lambda: list(lines(url, body, key)))


async def test_it_serves_what_an_openai_client_asks_for(base_url: str) -> None:
    """`/models`, chat and responses answer in OpenAI's shapes, streamed and not."""
    (models,) = await ask(f"{base_url}/models")
    assert [entry["id"] for entry in json.loads(models)["data"]] == [model.NAME]

    (whole,) = await ask(f"{base_url}/chat/completions", QUESTION)
    assert json.loads(whole)["choices"][0]["message"]["content"]

    frames = await ask(f"{base_url}/chat/completions", {**QUESTION, "stream": True})
    assert sum(line.startswith(b"data: {") for line in frames) > 2
    assert b"data: [DONE]\n" in frames

    question = {"model": "any", "max_output_tokens": 12, "input": "Say hello."}
    (response,) = await ask(f"{base_url}/responses", question)
    assert json.loads(response)["output"][0]["content"][0]["text"]

    events = await ask(f"{base_url}/responses", {**question, "stream": True})
    assert events[0] == b"event: response.created\n"
    assert b"event: response.completed\n" in events


async def test_its_words_pass_through_the_layer_as_they_are_made() -> None:
    """Through Function URL, layer and function, the first word arrives before the last is made."""
    async with Deployment() as deployment:
        question = {**QUESTION, "max_tokens": 200, "stream": True}
        url = f"{deployment.base_url}/chat/completions"

        def first_and_rest() -> tuple[bytes, bool, list[bytes]]:
            stream = lines(url, question, deployment.caller_key)
            first = next(stream)
            return first, b"turn.finished" in deployment.log_text().encode(), list(stream)

        first, finished, rest = await asyncio.to_thread(first_and_rest)
    assert first.startswith(b"data: {")
    assert not finished, "the first word should arrive while the function still works"
    assert rest[-2] == b"data: [DONE]\n"
