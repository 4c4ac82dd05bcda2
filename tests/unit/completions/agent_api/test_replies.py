"""One answer of a model as the SDK reads it: its calls, its usage, its thoughts, or nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from openai import AsyncOpenAI

from completions.responder import Call, Conversation, Event, Say
from local.scripted.script import (
    At,
    CallPiece,
    Decline,
    Done,
    Finish,
    Hold,
    Reply,
    Role,
    Script,
    Think,
    Usage,
    answer,
    calls,
)
from local.scripted.script import Say as Says
from tests.support.agents import turn, with_agent
from tests.support.tools import LOOKUP
from tests.support.ways import CHAT, RESPONSES, Way

pytestmark = pytest.mark.looptime

ASKED: list[Any] = [{"role": "user", "content": "How many?"}]
TOOLS: Any = [{"type": "function", "function": LOOKUP}]
FLAT: Any = [{"type": "function", "strict": False, **LOOKUP}]

Called = list[tuple[str, str]]


async def chat_streamed(client: AsyncOpenAI) -> Called:
    """Return the calls of a chat completion's chunks."""
    stream: Any = await client.chat.completions.create(
        model="m", messages=ASKED, tools=TOOLS, stream=True
    )
    return [
        (call.function.name, call.function.arguments)
        async for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    ]


async def chat_helper(client: AsyncOpenAI) -> Called:
    """Return the calls of the stream helper's final completion."""
    async with client.chat.completions.stream(model="m", messages=ASKED, tools=TOOLS) as events:
        async for _ in events:
            pass
        final = await events.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    found: Any = final.choices[0].message.tool_calls or ()
    return [(call.function.name, call.function.arguments) for call in found]


async def chat_whole(client: AsyncOpenAI) -> Called:
    """Return the calls of a completion in one piece."""
    whole = await client.chat.completions.create(model="m", messages=ASKED, tools=TOOLS)
    assert whole.choices[0].finish_reason == "tool_calls"
    found: Any = whole.choices[0].message.tool_calls or ()
    return [(call.function.name, call.function.arguments) for call in found]


async def responses_helper(client: AsyncOpenAI) -> Called:
    """Return the calls of the stream helper's final response."""
    async with client.responses.stream(model="m", input=ASKED, tools=FLAT) as events:
        async for _ in events:
            pass
        final = await events.get_final_response()
    return [(one.name, one.arguments) for one in final.output if one.type == "function_call"]


async def responses_whole(client: AsyncOpenAI) -> Called:
    """Return the calls of a response in one piece."""
    whole = await client.responses.create(model="m", input=ASKED, tools=FLAT)
    return [(one.name, one.arguments) for one in whole.output if one.type == "function_call"]


READS = [chat_streamed, chat_helper, chat_whole, responses_helper, responses_whole]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"count":3}', {"count": 3}),
        ('{"count": "3",}', {"count": 3}),
        ("{'count': 'many'}", {"count": "many"}),
    ],
)
async def test_an_agents_calls_are_complete_and_repaired(
    way: Way, read: Any, written: str, arguments: Any
) -> None:
    """They fit their tool if possible, and are JSON otherwise, for the framework to judge."""
    seen: list[Called] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        seen.append(await read(conversation.client))
        yield Say("Three.")

    await turn(way, agent, calls(LOOKUP["name"], written))
    assert [(name, json.loads(text)) for name, text in seen[0]] == [(LOOKUP["name"], arguments)]


@pytest.mark.parametrize("read", READS)
async def test_an_incomplete_call_is_not_repaired(way: Way, read: Any) -> None:
    """Arguments that the model's limit cut stay as they are, so no tool can run with them."""
    seen: list[Called] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        with suppress(ValueError, AssertionError):
            seen.append(await read(conversation.client))
        yield Say("Well.")

    script: Script = [
        Role(),
        CallPiece(0, '{"count": 3', LOOKUP["name"], "c"),
        Finish("length"),
        Done(),
    ]
    got, _ = await turn(way, agent, script)
    assert got.text == "Well."
    assert all(text == '{"count": 3' for called in seen for _, text in called)


async def test_usage_is_sent_if_asked_for() -> None:
    """In a stream `include_usage` asks for it, as in OpenAI's API."""
    usages: list[Any] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        for more in ({}, {"stream_options": {"include_usage": True}}):
            asked: dict[str, Any] = {"model": "m", "messages": ASKED, "stream": True, **more}
            stream: Any = await conversation.client.chat.completions.create(**asked)
            usages.append([one.usage.total_tokens async for one in stream if one.usage])
        yield Say("Well.")

    script: Script = [*answer("Sunny.")[:-1], Usage(5, 7), Done()]
    await turn(CHAT, agent, script)
    assert usages == [[], [12]]


async def test_thoughts_are_not_words(way: Way) -> None:
    """They are in the field where the SDK's users look for them."""
    told: list[Any] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        whole: Any = await conversation.client.chat.completions.create(model="m", messages=ASKED)
        told.append(whole.choices[0].message)
        stream: Any = await conversation.client.chat.completions.create(
            model="m", messages=ASKED, stream=True
        )
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield Say(choice.delta.content)

    script: Script = [Role(), Think("Hm. "), Says("<think>So.</think>Three."), Finish(), Done()]
    got, _ = await turn(way, agent, script)
    assert got.text == told[0].content == "Three."
    assert "Hm. " in told[0].reasoning_content


async def test_a_refusal_counts_as_words(way: Way) -> None:
    """An agent speaks it, as the turn would."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        whole = await conversation.client.chat.completions.create(model="m", messages=ASKED)
        response = await conversation.client.responses.create(model="m", input=ASKED)
        refusals = [
            part.refusal
            for item in response.output
            if item.type == "message"
            for part in item.content
            if part.type == "refusal"
        ]
        yield Say(f"{whole.choices[0].message.content} {response.output_text or refusals[0]}")

    script: Script = [Role(), Decline("I can't."), Finish(), Done()]
    got, _ = await turn(way, agent, script)
    assert got.text == "I can't. I can't."


async def test_an_empty_answer_is_an_answer(way: Way) -> None:
    """It is not an error, and the agent may say something instead."""
    finishes: list[str] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        whole = await conversation.client.chat.completions.create(model="m", messages=ASKED)
        assert not whole.choices[0].message.content
        finishes.append(whole.choices[0].finish_reason)
        stream: Any = await conversation.client.chat.completions.create(
            model="m", messages=ASKED, stream=True
        )
        chunks = [choice async for chunk in stream for choice in chunk.choices]
        assert not any(choice.delta.content for choice in chunks)
        yield Say("Nothing.")

    got, _ = await turn(way, agent, [Role(), Finish("length"), Done()])
    assert got.text == "Nothing."
    assert finishes == ["length"]


async def test_a_model_that_does_not_stream_is_heard() -> None:
    """Its JSON answers both kinds of question."""
    message = {"role": "assistant", "content": "Three."}
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
    }

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        whole = await conversation.client.chat.completions.create(model="m", messages=ASKED)
        assert (whole.id, whole.usage and whole.usage.total_tokens) == ("c", 5)
        yield Say(whole.choices[0].message.content or "")
        stream: Any = await conversation.client.chat.completions.create(
            model="m", messages=ASKED, stream=True
        )
        async for chunk in stream:
            for choice in chunk.choices:
                yield Say(choice.delta.content or "")

    got, _ = await turn(CHAT, agent, [Reply(json.dumps(body).encode())])
    assert got.text == "Three.Three."


BARE = json.dumps({"name": LOOKUP["name"], "arguments": {"count": 3}})


@pytest.mark.parametrize("read", READS)
async def test_a_call_written_as_text_is_asked_for_again(way: Way, read: Any) -> None:
    """The agent does not notice, and it counts in the question's three requests."""
    seen: list[Called] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        seen.append(await read(conversation.client))
        yield Say("Three.")

    script = calls(LOOKUP["name"], {"count": 3})
    got, caller = await turn(way, agent, answer(BARE), script)
    assert got.text == "Three."
    assert [(name, json.loads(text)) for name, text in seen[0]] == [(LOOKUP["name"], {"count": 3})]
    assert len(caller.upstream.requests) == 2
    assert "not carried out" in json.dumps(caller.upstream.requests[1].json)


@pytest.mark.parametrize("second", [[Role(), Finish(), Done()], answer(BARE)])
async def test_a_call_written_as_text_twice_is_an_empty_answer(second: Script) -> None:
    """The same is true of an empty second answer, within the three requests."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        whole = await conversation.client.chat.completions.create(
            model="m", messages=ASKED, tools=TOOLS
        )
        assert not whole.choices[0].message.tool_calls
        yield Say(whole.choices[0].message.content or "Nothing.")

    got, caller = await turn(CHAT, agent, answer(BARE), second)
    assert got.text == "Nothing."
    assert len(caller.upstream.requests) <= 3


async def test_ask_asks_for_a_call_again_too(way: Way) -> None:
    """Both ways to ask behave the same."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        async for event in conversation.ask(tools=TOOLS):
            if isinstance(event, Call):
                yield Say(f"{event.arguments['count']} are left.")

    got, _ = await turn(way, agent, answer(BARE), calls(LOOKUP["name"], {"count": 3}))
    assert got.text == "3 are left."


async def test_an_answer_that_is_empty_the_second_time_has_an_end() -> None:
    """The agent gets the usage of the second answer."""
    usages: list[Any] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        whole = await conversation.client.responses.create(model="m", input=ASKED, tools=FLAT)
        usages.append(whole.usage and whole.usage.total_tokens)
        yield Say("Well.")

    second: Script = [Role(), Finish(), Usage(5, 1), Done()]
    await turn(RESPONSES, agent, answer(BARE), second)
    assert usages == [6]


async def test_an_answer_keeps_its_end_if_another_question_takes_the_last_request() -> None:
    """The unreadable call cannot be asked for again, so the model's own end and usage follow."""

    async def asks_later(conversation: Conversation) -> list[Event]:
        await asyncio.sleep(0.15)  # The first answer has ended, but its connection is still read.
        return [event async for event in conversation.ask()]

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        later = asyncio.create_task(asks_later(conversation))
        whole = await conversation.client.responses.create(model="m", input=ASKED, tools=FLAT)
        assert whole.usage is not None
        yield Say(f"{whole.usage.total_tokens} tokens. ")
        for event in await later:
            yield event

    script: Script = [At(100), Role(), Says(BARE), Finish(), Usage(5, 7), Done(), Hold()]
    caller = with_agent(RESPONSES, agent, script, answer("Three."), agent_request_limit=2)
    heard = await RESPONSES.post(caller, RESPONSES.body())
    assert RESPONSES.read(heard).text == "12 tokens. Three."
