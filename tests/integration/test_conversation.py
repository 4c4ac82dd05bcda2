"""One conversation with the official client, over every route to the function.

uvicorn (the app alone) · Mangum buffered (a dict) · the streaming layer in front of a Function URL
· the same deployment without the layer. All of them use the same scripted model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from local.deployment import Deployment
from local.scripted.script import (
    Cut,
    Done,
    Fail,
    Finish,
    Role,
    Say,
    Until,
    Usage,
    answer,
    call,
    calls,
    refused,
)
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM, CALM_ENVIRONMENT, deploy, served
from tests.support.mangum_client import MangumTransport
from tests.support.secrets import CALLER_KEY, UPSTREAM_KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_S = 30
PLAIN = {"x-completions-on-failure": "error"}
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]
LOOKUP: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@dataclass(frozen=True)
class Route:
    """A route to the function, and the model behind it."""

    upstream: ScriptedUpstream
    client: AsyncOpenAI

    async def hear(self, **fields: Any) -> tuple[str, str | None]:
        """Return a streamed turn's words and finish reason."""
        words, reason = "", None
        stream = await self.client.chat.completions.create(
            **{"model": "m", "messages": HELLO, "stream": True, **fields}
        )
        async for chunk in stream:
            for choice in chunk.choices:
                words += choice.delta.content or ""
                reason = choice.finish_reason or reason
        return words, reason


def _client(base_url: str, key: str, http: httpx2.AsyncClient | None = None) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=base_url,
        api_key=key,
        max_retries=0,
        timeout=LIMIT_S,
        http_client=http,
        default_headers=PLAIN,
    )


@asynccontextmanager
async def _uvicorn(upstream: ScriptedUpstream) -> AsyncIterator[Route]:
    async with (
        served(deploy(upstream.base_url, **CALM)) as url,
        _client(f"{url}/v1", CALLER_KEY) as client,
    ):
        yield Route(upstream, client)


@asynccontextmanager
async def _mangum(upstream: ScriptedUpstream) -> AsyncIterator[Route]:
    async with (
        MangumTransport(deploy(upstream.base_url, **CALM)) as transport,
        _client("http://x/v1", CALLER_KEY, httpx2.AsyncClient(transport=transport)) as client,
    ):
        yield Route(upstream, client)


@asynccontextmanager
async def _lambda(upstream: ScriptedUpstream, mode: str) -> AsyncIterator[Route]:
    async with (
        Deployment(
            upstream=upstream.base_url,
            upstream_key=UPSTREAM_KEY,
            caller_key=CALLER_KEY,
            parameters={"InvokeMode": mode},
            environment=CALM_ENVIRONMENT,
        ) as deployment,
        _client(deployment.base_url, CALLER_KEY) as client,
    ):
        yield Route(upstream, client)


ROUTES: dict[str, Callable[[ScriptedUpstream], AbstractAsyncContextManager[Route]]] = {
    "uvicorn": _uvicorn,
    "mangum": _mangum,
    "layer": lambda upstream: _lambda(upstream, "RESPONSE_STREAM"),
    "no layer": lambda upstream: _lambda(upstream, "BUFFERED"),
}
STREAMING_ROUTES = ["uvicorn", "layer"]
"""Routes that stream; the others answer when all has been said."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ROUTES)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Route]:
    """Each route in turn, opened once."""
    async with ScriptedUpstream() as upstream, ROUTES[request.param](upstream) as route:
        yield route


@pytest.fixture
def route(opened: Route) -> Route:
    """A route whose model has had no requests yet."""
    opened.upstream.requests.clear()
    opened.upstream.plays(answer("Hello there."))
    return opened


# -- answers


async def test_a_streamed_answer(route: Route) -> None:
    """The client gets the model's words and the finish reason `stop`."""
    assert await route.hear() == ("Hello there.", "stop")
    (request,) = route.upstream.requests
    assert request.json["stream"] is True
    assert request.header("authorization") == f"Bearer {UPSTREAM_KEY}"


async def test_a_whole_answer(route: Route) -> None:
    """Without `stream` the client gets one completion with its usage."""
    completion = await route.client.chat.completions.create(model="m", messages=HELLO)
    (choice,) = completion.choices
    assert (choice.message.content, choice.finish_reason) == ("Hello there.", "stop")
    assert completion.usage is not None
    assert completion.usage.total_tokens == 12
    assert route.upstream.requests[0].json["stream"] is False


@pytest.mark.parametrize("wanted", [True, False])
async def test_usage_comes_if_asked_for(route: Route, wanted: bool) -> None:
    """A stream's last chunk has the usage if it was asked for."""
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    stream: Any = await route.client.chat.completions.create(
        model="m",
        messages=HELLO,
        stream=True,
        **options,  # type: ignore[call-overload]
    )
    chunks = [chunk async for chunk in stream]
    totals = [chunk.usage.total_tokens for chunk in chunks if chunk.usage]
    assert totals == ([12] if wanted else [])
    assert bool(chunks[-1].choices) is not wanted


async def test_every_letter_arrives(route: Route) -> None:
    """Letters of any script, quotes, line ends and long words arrive unchanged."""
    text = 'Grüße, 東京! 👩‍👩‍👧 "quoted" \\ back\nnew line \u2028 end ' + "x" * 50_000
    route.upstream.plays(answer(text))
    assert await route.hear() == (text, "stop")
    completion = await route.client.chat.completions.create(model="m", messages=HELLO)
    assert completion.choices[0].message.content == text


async def test_a_long_history(route: Route) -> None:
    """A system prompt of a megabyte and a half reaches the model whole."""
    prompt: ChatCompletionMessageParam = {"role": "system", "content": "Be brief. é" * 125_000}
    assert await route.hear(messages=[prompt, *HELLO]) == ("Hello there.", "stop")
    assert route.upstream.requests[0].json["messages"] == [prompt, *HELLO]


async def test_many_chunks(route: Route) -> None:
    """A long answer in thousands of chunks arrives whole and in order."""
    text = " ".join(str(number) for number in range(3_000))
    route.upstream.plays(answer(text))
    assert await route.hear() == (text, "stop")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_call_and_its_result(route: Route, stream: bool) -> None:
    """The model calls a tool, the client sends the result, and the conversation goes on."""
    route.upstream.plays(
        [
            Role(),
            Say("Let me see. "),
            *call("lookup", {"city": "Wien"}),
            Finish("tool_calls"),
            Done(),
        ],
        answer("It is sunny."),
    )
    history = list(HELLO)
    if stream:
        async with route.client.chat.completions.stream(
            model="m", messages=history, tools=[LOOKUP]
        ) as events:
            message: Any = (await events.get_final_completion()).choices[0].message
    else:
        whole = await route.client.chat.completions.create(
            model="m", messages=history, tools=[LOOKUP]
        )
        message = whole.choices[0].message
        assert whole.choices[0].finish_reason == "tool_calls"
    assert message.content == "Let me see. "
    (made,) = message.tool_calls
    assert (made.function.name, made.function.arguments) == ("lookup", '{"city": "Wien"}')
    sent: Any = message.to_dict()
    history += [sent, {"role": "tool", "tool_call_id": made.id, "content": "sunny"}]
    assert await route.hear(messages=history, tools=[LOOKUP]) == ("It is sunny.", "stop")
    first, second = route.upstream.requests
    assert first.json["tools"] == [LOOKUP]
    assert second.json["messages"][-1]["content"] == "sunny"


async def test_parallel_calls(route: Route) -> None:
    """Several calls in one answer stay separate."""
    script = [*call("lookup", {"city": "Wien"}), *call("lookup", {"city": "Graz"}, index=1)]
    route.upstream.plays([Role(), *script, Finish("tool_calls"), Done()])
    async with route.client.chat.completions.stream(
        model="m", messages=HELLO, tools=[LOOKUP]
    ) as events:
        completion = await events.get_final_completion()
    made = [each.function.arguments for each in completion.choices[0].message.tool_calls or []]
    assert made == ['{"city": "Wien"}', '{"city": "Graz"}']


async def test_a_call_without_words(route: Route) -> None:
    """An answer may consist of a call alone."""
    route.upstream.plays(calls("lookup", {"city": "Linz"}))
    assert await route.hear(tools=[LOOKUP]) == ("", "tool_calls")


async def test_models(route: Route) -> None:
    """The client can list the models."""
    assert [model.id async for model in route.client.models.list()] == ["scripted"]


async def test_connections_to_the_model_stay(route: Route) -> None:
    """Turns one after the other share one connection to the model."""
    for _ in range(2):
        await route.client.chat.completions.create(model="m", messages=HELLO)
        await route.hear()
    connections = {request.connection for request in route.upstream.requests}
    assert len(connections) == 1


async def test_turns_at_the_same_time(route: Route) -> None:
    """Turns that overlap do not mix: each client hears its own answer."""
    route.upstream.plays(
        lambda request: answer(f"You said {request.json['messages'][0]['content']}.")
    )

    async def ask(number: int) -> str:
        words, _ = await route.hear(messages=[{"role": "user", "content": f"number {number}"}])
        return words

    heard = await asyncio.gather(*(ask(number) for number in range(4)))
    assert heard == [f"You said number {number}." for number in range(4)]


@pytest.mark.parametrize("opened", STREAMING_ROUTES, indirect=True, scope="module")
async def test_words_arrive_as_they_are_made(route: Route) -> None:
    """The model says its next word only after the client has heard the one before."""
    heard = [asyncio.Event() for _ in range(3)]
    words = ["One, ", "two, ", "three."]
    steps = [
        step for word, event in zip(words, heard, strict=True) for step in (Say(word), Until(event))
    ]
    route.upstream.plays([Role(), *steps, Finish(), Usage(), Done()])
    stream = await route.client.chat.completions.create(model="m", messages=HELLO, stream=True)
    spoken = ""
    async for chunk in stream:
        spoken += chunk.choices[0].delta.content or ""
        for number in range(len(words)):
            if spoken.startswith("".join(words[: number + 1])):
                heard[number].set()
    assert spoken == "One, two, three."


# -- errors, as the client raises them


async def test_a_wrong_key(route: Route) -> None:
    """Another key is an AuthenticationError, and the model is not asked."""
    stranger = route.client.with_options(api_key="another")
    with pytest.raises(openai.AuthenticationError) as caught:
        await stranger.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert caught.value.code == "invalid_api_key"
    assert route.upstream.requests == []


async def test_a_wrong_path(route: Route) -> None:
    """A wrong path is a NotFoundError that names the right one."""
    with pytest.raises(openai.NotFoundError, match="/v1/chat/completions"):
        await route.client.completions.create(model="m", prompt="Hello?")


async def test_a_wrong_field(route: Route) -> None:
    """A field of the wrong type is a BadRequestError that names it."""
    with pytest.raises(openai.BadRequestError) as caught:
        await route.client.chat.completions.create(
            model="m", messages=HELLO, extra_body={"max_tokens": "many"}
        )
    assert caught.value.param == "max_tokens"
    assert route.upstream.requests == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("script", "raised"),
    [
        (refused(429, retry_after_s=7, message="Slow down."), openai.RateLimitError),
        (refused(404, code="model_not_found", message="No m."), openai.NotFoundError),
        (refused(400, param="messages", message="Too odd."), openai.BadRequestError),
        (refused(401), openai.InternalServerError),
        (refused(500, message="Oops."), openai.InternalServerError),
    ],
    ids=lambda value: getattr(value, "__name__", "") or None,
)
async def test_the_models_refusals(
    route: Route, script: Any, raised: type[openai.APIStatusError], stream: bool
) -> None:
    """The client raises each refusal of the model's server as its own class."""
    route.upstream.plays(script)
    with pytest.raises(raised) as caught:
        await route.client.chat.completions.create(model="m", messages=HELLO, stream=stream)
    if raised is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "7"
    if raised is openai.BadRequestError:
        assert caught.value.param == "messages"


@pytest.mark.parametrize("end", [Cut(), Fail()], ids=["cut", "error frame"])
async def test_a_break_in_mid_answer(route: Route, end: Any) -> None:
    """An answer that breaks off raises an error after the words that arrived."""
    route.upstream.plays([Role(), Say("I think, therefore I am. "), end])
    words = ""
    stream = await route.client.chat.completions.create(model="m", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):  # noqa: PT012 - the words before it count, too
        async for chunk in stream:
            words += chunk.choices[0].delta.content or ""
    assert words == "I think, therefore I am. "
    route.upstream.plays(answer("Again."))
    assert await route.hear() == ("Again.", "stop")
