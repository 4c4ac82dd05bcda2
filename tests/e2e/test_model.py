"""One conversation with a real language model, through the whole deployment on this machine.

The model is small, so the tests check only that it speaks word by word to the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from local.deployment import Deployment

pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="module")]

LIMIT_S = 120
HISTORY: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are the friendly voice of a bicycle shop."},
    {"role": "assistant", "content": "Hello, this is Ada. How can I help?"},
    {"role": "user", "content": "My chain squeaks. What should I do?"},
]


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        pytest.param(("source", "RESPONSE_STREAM"), id="streamed"),
        pytest.param(("source", "BUFFERED"), id="buffered"),
        pytest.param(("built", "RESPONSE_STREAM"), id="built", marks=pytest.mark.built),
    ],
)
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    """The whole deployment: secrets, model, function with the streaming layer, Function URL.

    From the source tree, with and without the layer, and from the package for Lambda.
    """
    code, mode = request.param
    async with Deployment(code=code, parameters={"InvokeMode": mode}) as deployment:
        yield deployment


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(deployment: Deployment) -> AsyncIterator[AsyncOpenAI]:
    """The official client."""
    async with AsyncOpenAI(
        base_url=deployment.base_url,
        api_key=deployment.caller_key,
        max_retries=0,
        timeout=LIMIT_S,
    ) as client:
        yield client


async def test_a_conversation(client: AsyncOpenAI) -> None:
    """Two turns work, one streamed and one whole, the second with the first in its history."""
    async with asyncio.timeout(LIMIT_S):
        stream = await client.chat.completions.create(
            model="any", messages=HISTORY, stream=True, max_tokens=40, temperature=0
        )
        chunks = [chunk async for chunk in stream]
        pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices]
        words = "".join(piece for piece in pieces if piece)
        assert sum(1 for piece in pieces if piece) > 3
        assert words.strip()
        assert chunks[-1].choices[0].finish_reason in {"stop", "length"}

        whole = await client.chat.completions.create(
            model="any",
            messages=[
                *HISTORY,
                {"role": "assistant", "content": words},
                {"role": "user", "content": "Thank you. How long will that take?"},
            ],
            max_tokens=40,
            temperature=0,
        )
    (choice,) = whole.choices
    assert choice.message.content
    assert choice.finish_reason in {"stop", "length"}
    assert whole.usage is not None
    assert 0 < whole.usage.completion_tokens <= 40


async def test_the_stream_is_terminated(deployment: Deployment) -> None:
    """The event stream ends with `[DONE]`, as `curl` shows."""
    body = {"model": "any", "messages": HISTORY, "stream": True, "max_tokens": 8}
    headers = {"authorization": f"Bearer {deployment.caller_key}"}
    async with httpx2.AsyncClient(timeout=LIMIT_S, headers=headers) as http:
        response = await http.post(f"{deployment.base_url}/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.content.endswith(b"data: [DONE]\n\n")
    assert response.content.count(b"[DONE]") == 1


async def test_the_models_name(client: AsyncOpenAI) -> None:
    """The list of models has the model that answers."""
    assert [model.id async for model in client.models.list()]
