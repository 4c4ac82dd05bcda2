"""The platform's tools beside an agent's own, in whole turns and both APIs of the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import openai
import pytest

from completions import responder
from completions.responder import Conversation, Event, Responder, Say
from local.scripted.script import CallPiece, Done, Finish, Role, Script, answer, calls
from local.scripted.script import Say as Says
from tests.support.agents import turn, with_agent
from tests.support.logs import Logged
from tests.support.tools import LOOKUP, TRANSFER
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

OWN: Any = {"type": "function", "function": LOOKUP}
CLIENT = responder.client()
ALONE = responder.client(platform_tools=False)
BOTH: Script = [
    Role(),
    CallPiece(0, '{"agent_number": 1}', TRANSFER["name"], "call_a"),
    CallPiece(1, '{"count": "3",}', LOOKUP["name"], "call_b"),
    Finish("tool_calls"),
    Done(),
]


async def loop(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Ask, run the called tools, and ask again, as most frameworks do."""
    messages = list(conversation.messages)
    for _ in range(5):
        stream: Any = await CLIENT.chat.completions.create(
            model="m", messages=messages, tools=[OWN], stream=True
        )
        asked: list[Any] = []
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield Say(choice.delta.content)
                asked += choice.delta.tool_calls or ()
        if not asked:
            return
        messages.append({"role": "assistant", "tool_calls": [one.model_dump() for one in asked]})
        messages += [
            {"role": "tool", "tool_call_id": one.id, "content": one.function.arguments}
            for one in asked
        ]


async def response_loop(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Do the same through the Responses API."""
    items: list[Any] = [{"role": "user", "content": "Well?"}]
    tools: list[Any] = [{"type": "function", "strict": False, **LOOKUP}]
    for _ in range(5):
        response: Any = await conversation.client.responses.create(
            model="m", input=items, tools=tools
        )
        if response.output_text:
            yield Say(response.output_text)
        asked = [one for one in response.output if one.type == "function_call"]
        if not asked:
            return
        items += [one.model_dump() for one in asked]
        items += [
            {"type": "function_call_output", "call_id": one.call_id, "output": one.arguments}
            for one in asked
        ]


async def insists(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Ask until there are words, in a task of its own, and then apologise."""

    async def words() -> str:
        while True:
            whole = await CLIENT.chat.completions.create(model="m", messages=conversation.messages)
            if text := whole.choices[0].message.content:
                return text

    task = asyncio.create_task(words())
    yield Say((await task) or "Never mind.")


async def fails(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Treat an answer without words as an error."""
    whole = await CLIENT.chat.completions.create(model="m", messages=conversation.messages)
    if not whole.choices[0].message.content:
        raise ValueError("no words")
    yield Say(whole.choices[0].message.content)


LOOPS = [loop, response_loop]


@pytest.mark.parametrize("agent", LOOPS)
async def test_the_platforms_tools_are_offered_with_the_agents_own(
    way: Way, agent: Responder
) -> None:
    """The model gets both, each once, and the agent's own first."""
    _, caller = await turn(way, agent, answer("Sunny."), tools=[TRANSFER])
    (asked,) = caller.upstream.requests
    names = [tool.get("function", tool)["name"] for tool in asked.json["tools"]]
    assert names == [LOOKUP["name"], TRANSFER["name"]]


@pytest.mark.parametrize("agent", LOOPS)
async def test_a_platforms_call_is_delivered_and_the_agents_own_is_run(
    way: Way, agent: Responder
) -> None:
    """The agent gets its own call with repaired arguments, and never sees the platform's."""
    got, caller = await turn(way, agent, BOTH, answer("Three."), tools=[TRANSFER])
    assert got.text == "Three."
    assert got.calls == [(TRANSFER["name"], {"agent_number": 1})]
    first, second = caller.upstream.requests
    assert first.json != second.json
    assert TRANSFER["name"] not in json.dumps(second.json.get("messages") or second.json["input"])
    assert '"{\\\\"count\\\\":3}"'.replace("\\\\", "\\") in json.dumps(
        second.json, separators=(",", ":")
    )


@pytest.mark.parametrize("agent", [*LOOPS, insists, fails])
@pytest.mark.parametrize("stream", [True, False])
async def test_after_calls_for_the_platform_only_the_agent_ends(
    way: Way, agent: Responder, stream: bool, logs: Logged
) -> None:
    """It asks no further question, says nothing, and the turn succeeds."""
    script = calls(TRANSFER["name"], {"agent_number": 2})
    got, caller = await turn(
        way, agent, script, answer("Never mind."), tools=[TRANSFER], stream=stream
    )
    assert got.text == ""
    assert got.calls == [(TRANSFER["name"], {"agent_number": 2})]
    assert len(caller.upstream.requests) == 1
    assert logs.event("turn.finished")["outcome"] == "ok"
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("in_task", [False, True])
async def test_an_agent_that_catches_its_cancellation_delays_nothing(in_task: bool) -> None:
    """Its next question is refused; the platform's call is delivered without the agent's words."""
    codes: list[str | None] = []

    async def asks(conversation: Conversation) -> None:
        while not codes:
            try:
                await CLIENT.chat.completions.create(model="m", messages=conversation.messages)
            except asyncio.CancelledError:
                continue
            except openai.BadRequestError as error:
                codes.append(error.code)

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        yield Say("Hm. ")
        asked = asks(conversation)
        await (asyncio.create_task(asked) if in_task else asked)
        yield Say("Never mind.")

    script = calls(TRANSFER["name"], {"agent_number": 2})
    got, caller = await turn(CHAT, agent, script, tools=[TRANSFER])
    assert got.text == "Hm. "
    assert got.calls == [(TRANSFER["name"], {"agent_number": 2})]
    assert codes == ["no_turn"]
    assert len(caller.upstream.requests) == 1


async def test_a_hang_up_is_not_the_agents_own_end() -> None:
    """An agent that was ended and is then cancelled counts as cancelled."""
    seen: list[str] = []

    async def slow_to_end(conversation: Conversation) -> AsyncGenerator[Event, None]:
        try:
            async for event in insists(conversation):
                yield event
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0.2)
            raise

    script = calls(TRANSFER["name"], {"agent_number": 2})
    caller = with_agent(CHAT, slow_to_end, script)
    await caller.post(CHAT.body(tools=[TRANSFER]), hang_up_ms=100)
    assert seen == ["cancelled"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("agent", LOOPS)
async def test_words_before_a_platforms_call_are_heard(way: Way, agent: Responder) -> None:
    """The agent gives the words, and the turn delivers the call."""
    script: Script = [Role(), Says("I'll connect you. "), *BOTH[1:2], *BOTH[3:]]
    got, _ = await turn(way, agent, script, tools=[TRANSFER])
    assert got.text == "I'll connect you. "
    assert got.calls == [(TRANSFER["name"], {"agent_number": 1})]


async def test_a_platforms_call_is_checked_like_the_turns_own(way: Way) -> None:
    """An invalid one is asked for again, by another run of the agent."""
    wrong = calls(TRANSFER["name"], {"agent_number": "nobody"})
    right = calls(TRANSFER["name"], {"agent_number": "3"})
    got, caller = await turn(way, loop, wrong, right, tools=[TRANSFER])
    assert got.calls == [(TRANSFER["name"], {"agent_number": 3})]
    assert "not carried out" in json.dumps(caller.upstream.requests[1].json)


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "none"},
        {"tool_choice": {"type": "function", "function": {"name": LOOKUP["name"]}}},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": TRANSFER}]},
    ],
)
async def test_an_agents_private_question_stays_private(fields: dict[str, Any]) -> None:
    """Such a question passes or forces a tool, allows none, or asks for a format."""
    seen: list[list[str]] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        asked: dict[str, Any] = {"messages": conversation.messages, "tools": [OWN], **fields}
        whole = await conversation.client.chat.completions.create(model="m", **asked)
        seen.append([one.function.name for one in whole.choices[0].message.tool_calls or ()])
        yield Say("Well.")

    script = calls(TRANSFER["name"], {"agent_number": 2})
    got, caller = await turn(CHAT, agent, script, tools=[TRANSFER])
    tools = caller.upstream.requests[0].json["tools"]
    assert len(tools) == 1
    assert got.calls == []
    assert got.text == "Well."
    if "tools" in fields:
        assert seen == [[TRANSFER["name"]]]


async def test_a_client_without_platform_tools_asks_only_for_the_agent() -> None:
    """Such a question may follow calls for the platform."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        await CLIENT.chat.completions.create(model="m", messages=conversation.messages)
        whole = await ALONE.chat.completions.create(model="m", messages=conversation.messages)
        yield Say(whole.choices[0].message.content or "")

    script = calls(TRANSFER["name"], {"agent_number": 2})
    got, caller = await turn(CHAT, agent, script, answer("Bye."), tools=[TRANSFER])
    assert got.text == "Bye."
    assert got.calls == [(TRANSFER["name"], {"agent_number": 2})]
    assert "tools" not in caller.upstream.requests[1].json


async def test_tools_that_the_caller_forbids_are_not_offered() -> None:
    """The caller's `tool_choice` applies to the platform's tools."""
    _, caller = await turn(CHAT, loop, answer("Sunny."), tools=[TRANSFER], tool_choice="none")
    assert len(caller.upstream.requests[0].json["tools"]) == 1
