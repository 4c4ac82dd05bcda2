"""The OpenAI client whose transport is the turn, used in every way that the SDK offers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from completions import responder
from completions.responder import Conversation, Event, Say
from local.scripted.script import Hold, Reply, answer
from tests.support.agents import turn
from tests.support.logs import Logged
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

ASKED: list[Any] = [{"role": "user", "content": "What is the weather?"}]
MODULE_LEVEL = responder.client()


class Weather(BaseModel):
    """An output format that an agent asks for."""

    sky: str


async def chat_streamed(client: AsyncOpenAI) -> list[str]:
    """Return each chunk's text."""
    stream = await client.chat.completions.create(model="m", messages=ASKED, stream=True)
    return [one.choices[0].delta.content or "" async for one in stream if one.choices]


async def chat_whole(client: AsyncOpenAI) -> list[str]:
    """Return the message's text."""
    whole = await client.chat.completions.create(model="m", messages=ASKED)
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.total_tokens > 0
    return [whole.choices[0].message.content or ""]


async def chat_helper(client: AsyncOpenAI) -> list[str]:
    """Return the stream helper's texts."""
    async with client.chat.completions.stream(model="m", messages=ASKED) as events:
        return [event.delta async for event in events if event.type == "content.delta"]


async def chat_raw(client: AsyncOpenAI) -> list[str]:
    """Return the same from a raw response."""
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=ASKED)
    assert raw.status_code == 200
    return [raw.parse().choices[0].message.content or ""]


async def chat_raw_streamed(client: AsyncOpenAI) -> list[str]:
    """Return the texts of a raw stream."""
    raw = await client.chat.completions.with_raw_response.create(
        model="m", messages=ASKED, stream=True
    )
    chunks: Any = raw.parse()
    return [one.choices[0].delta.content or "" async for one in chunks if one.choices]


async def chat_lines(client: AsyncOpenAI) -> list[str]:
    """Return the text found in the lines of the body."""
    asked = client.chat.completions.with_streaming_response.create(model="m", messages=ASKED)
    async with asked as response:
        lines = [line async for line in response.iter_lines()]
    assert "It is sunny." in "".join(lines)
    return ["It is sunny."]


async def responses_streamed(client: AsyncOpenAI) -> list[str]:
    """Return each delta of a response."""
    stream = await client.responses.create(model="m", input="Well?", stream=True)
    return [one.delta async for one in stream if one.type == "response.output_text.delta"]


async def responses_whole(client: AsyncOpenAI) -> list[str]:
    """Return the text of a response in one piece."""
    whole = await client.responses.create(model="m", input="Well?")
    assert whole.status == "completed"
    assert whole.usage is not None
    assert whole.usage.total_tokens > 0
    return [whole.output_text]


async def responses_helper(client: AsyncOpenAI) -> list[str]:
    """Return the stream helper's texts, which make up its final response."""
    async with client.responses.stream(model="m", input="Well?") as events:
        texts = [one.delta async for one in events if one.type == "response.output_text.delta"]
        assert (await events.get_final_response()).output_text == "".join(texts)
    return texts


async def responses_raw(client: AsyncOpenAI) -> list[str]:
    """Return the same from a raw response."""
    raw = await client.responses.with_raw_response.create(model="m", input="Well?")
    return [raw.parse().output_text]


ASKS: list[Callable[[AsyncOpenAI], Awaitable[list[str]]]] = [
    chat_streamed,
    chat_whole,
    chat_helper,
    chat_raw,
    chat_raw_streamed,
    chat_lines,
    responses_streamed,
    responses_whole,
    responses_helper,
    responses_raw,
]


@pytest.mark.parametrize("ask", ASKS)
async def test_the_sdk_gets_an_answer_however_it_asks(way: Way, ask: Any) -> None:
    """It may use either API, whole, streamed or raw; the model is always asked to stream."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        for text in await ask(conversation.client):
            yield Say(text)

    got, caller = await turn(way, agent, answer("It is sunny."))
    assert got.text == "It is sunny."
    assert [one.json["stream"] for one in caller.upstream.requests] == [True]


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_format_is_parsed(way: Way, api: str) -> None:
    """The SDK's `parse` reads JSON of its own format."""
    skies: list[Any] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        if api == "chat":
            parsed = await conversation.client.chat.completions.parse(
                model="m", messages=ASKED, response_format=Weather
            )
            skies.append(parsed.choices[0].message.parsed)
        else:
            response = await conversation.client.responses.parse(
                model="m", input="Well?", text_format=Weather
            )
            skies.append(response.output_parsed)
        yield Say("Sunny.")

    await turn(way, agent, answer('{"sky":"sunny"}'))
    assert skies == [Weather(sky="sunny")]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "ash", "format": "wav"}}, "audio"),
        ({"messages": []}, "messages"),
    ],
)
async def test_an_unsupported_question_is_refused_by_name(
    fields: dict[str, Any], param: str
) -> None:
    """A turn supports neither several answers nor audio, and no model is asked."""
    errors: list[openai.BadRequestError] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        try:
            asked: dict[str, Any] = {"model": "m", "messages": ASKED, **fields}
            await conversation.client.chat.completions.create(**asked)
        except openai.BadRequestError as error:
            errors.append(error)
        yield Say("Well.")

    got, caller = await turn(CHAT, agent)
    assert got.text == "Well."
    assert [error.param for error in errors] == [param]
    assert caller.upstream.requests == []


async def test_other_paths_are_refused_by_name() -> None:
    """The error says which paths exist."""
    errors: list[openai.NotFoundError] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        for asked in (
            conversation.client.models.list,
            lambda: conversation.client.images.generate(prompt="A sky"),
        ):
            try:
                await asked()
            except openai.NotFoundError as error:
                errors.append(error)
        yield Say("Well.")

    await turn(CHAT, agent)
    assert [error.code for error in errors] == ["not_found", "not_found"]
    assert "'/models'" in errors[0].message
    assert "/chat/completions" in errors[1].message


async def test_embeddings_pass_to_the_first_model(logs: Logged) -> None:
    """They count in the turn's requests and usage, though they are not a question."""
    vectors: list[list[float]] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        made = await conversation.client.embeddings.create(
            model="small", input="helmets", encoding_format="float"
        )
        vectors.extend(one.embedding for one in made.data)
        yield Say("Three.")

    told = {
        "object": "list",
        "model": "small",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}],
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    }
    got, caller = await turn(CHAT, agent, [Reply(json.dumps(told).encode())], fallback=answer())
    assert got.text == "Three."
    assert vectors == [[0.5, 1.0]]
    (request,) = caller.upstream.requests
    assert (request.path, request.json["input"]) == ("/embeddings", "helmets")
    finished = logs.event("turn.finished")
    assert finished["gen_ai.usage.input_tokens"] == 9
    assert [one["why"] for one in finished["candidates"]] == ["answered"]


async def test_the_wait_for_embeddings_ends_after_ten_seconds() -> None:
    """The agent gets a status."""
    errors: list[openai.APIStatusError] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        try:
            await conversation.client.embeddings.create(model="small", input="helmets")
        except openai.APIStatusError as error:
            errors.append(error)
        yield Say("Well.")

    got, _ = await turn(CHAT, agent, [Hold()])
    assert [error.status_code for error in errors] == [504]
    assert got.speech[-1] == (10_000, "Well.")


async def test_a_client_at_module_level_serves_the_current_turn(way: Way) -> None:
    """It is the same client in every turn."""

    async def agent(_: Conversation) -> AsyncGenerator[Event, None]:
        for text in await chat_streamed(MODULE_LEVEL):
            yield Say(text)

    got, _ = await turn(way, agent, answer("It is sunny."))
    assert got.text == "It is sunny."


async def test_a_client_that_was_closed_serves_the_next_turn() -> None:
    """An agent or a framework may close it after a turn, like one with connections."""

    async def agent(_: Conversation) -> AsyncGenerator[Event, None]:
        async with MODULE_LEVEL as client:
            yield Say("".join(await chat_streamed(client)))
        await MODULE_LEVEL.close()

    for _ in range(2):
        got, _caller = await turn(CHAT, agent, answer("It is sunny."))
        assert got.text == "It is sunny."


async def test_only_the_agents_own_clock_bounds_a_question() -> None:
    """The client's time-outs and retries are ignored, as the turn has its own."""

    async def agent(_: Conversation) -> AsyncGenerator[Event, None]:
        hasty = MODULE_LEVEL.with_options(timeout=0.5, max_retries=3)
        try:
            async with asyncio.timeout(1):
                await chat_whole(hasty)
        except TimeoutError:
            yield Say("Later.")

    got, caller = await turn(CHAT, agent, [Hold()])
    assert got.speech == [(1000, "Later.")]
    assert [one.hung_up_at for one in caller.upstream.requests] == [pytest.approx(1.0)]


async def test_outside_a_turn_the_client_refuses() -> None:
    """The error is about the request, not about a connection."""
    with pytest.raises(openai.BadRequestError, match="none is running here") as raised:
        await MODULE_LEVEL.chat.completions.create(model="m", messages=ASKED)
    assert raised.value.code == "no_turn"


async def test_the_clients_hold_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """They neither need one in the environment nor read one there."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-machine")
    assert "sk-" not in responder.client().api_key + responder.sync_client().api_key


async def test_a_synchronous_client_names_the_alternative() -> None:
    """It exists for frameworks that require one; a call would block the event loop."""
    with pytest.raises(openai.BadRequestError, match="ainvoke"):
        responder.sync_client().chat.completions.create(model="m", messages=ASKED)
