"""One run of an agent: what it leaves behind ends with it, and concurrent turns do not mix."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import AsyncGenerator
from typing import Any

import openai
import pytest

from completions import responder
from completions.errors import CompletionsError
from completions.responder import Conversation, Event, Say
from local.scripted.script import At, Hold, Role, Script, answer
from local.scripted.script import Say as Says
from tests.support.agents import turn, with_agent
from tests.support.in_process import PlayedUpstream
from tests.support.logs import Logged
from tests.support.turns import Caller, body
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

ASKED: list[Any] = [{"role": "user", "content": "What is the weather?"}]
CLIENT = responder.client()
SLOW: Script = [At(500), Role(), Says("It "), Hold()]


async def asks(said: asyncio.Queue[str]) -> None:
    """Ask a question with a streamed answer, and pass its words on."""
    stream: Any = await CLIENT.chat.completions.create(model="m", messages=ASKED, stream=True)
    async for chunk in stream:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            said.put_nowait(text)
    said.put_nowait("")


async def streams(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Ask in the agent's own task."""
    stream: Any = await conversation.client.chat.completions.create(
        model="m", messages=ASKED, stream=True
    )
    async for chunk in stream:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield Say(text)


async def waits(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Ask for an answer in one piece."""
    whole = await conversation.client.chat.completions.create(model="m", messages=ASKED)
    yield Say(whole.choices[0].message.content or "")


async def starts_a_task(_: Conversation) -> AsyncGenerator[Event, None]:
    """Ask in a task that is never cancelled, as some frameworks do."""
    said: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(asks(said))
    while text := await said.get():
        yield Say(text)
    await task


async def waits_for_its_task(_: Conversation) -> AsyncGenerator[Event, None]:
    """Clean up by waiting for the task, and by another task, whatever happens."""
    said: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(asks(said))
    try:
        while text := await said.get():
            yield Say(text)
    finally:
        await asyncio.wait({task})
        assert await asyncio.create_task(asyncio.sleep(0.01, "cleaned")) == "cleaned"


@pytest.mark.parametrize("agent", [streams, waits, starts_a_task, waits_for_its_task])
@pytest.mark.parametrize("hang_up_ms", [300, 700])
async def test_a_hang_up_cancels_the_models_request_at_once(
    way: Way, agent: responder.Responder, hang_up_ms: int
) -> None:
    """This holds before its first word and after, whichever task the agent asks from."""
    caller = with_agent(way, agent, SLOW)
    began = asyncio.get_running_loop().time()
    await way.post(caller, way.body(), hang_up_ms=hang_up_ms)
    (seen,) = caller.upstream.requests
    assert seen.hung_up_at == pytest.approx(began + hang_up_ms / 1000)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("hang_up_ms", [700, None])
async def test_no_task_of_an_agent_outlives_its_run(hang_up_ms: int | None) -> None:
    """Its tasks, and the tasks that they started, end at a hang-up and at its end."""
    ended: list[str] = []

    async def tool(name: str) -> None:
        try:
            if name == "outer":
                inner = asyncio.create_task(tool("inner"))
                await inner
            await asyncio.sleep(3600)
        finally:
            ended.append(name)

    async def agent(_: Conversation) -> AsyncGenerator[Event, None]:
        task = asyncio.create_task(tool("outer"))
        yield Say("It is ")
        await asyncio.sleep(1)
        yield Say("sunny." if not task.done() else "")

    heard = await with_agent(CHAT, agent).post(hang_up_ms=hang_up_ms)
    assert heard.text == ("It is sunny." if hang_up_ms is None else "It is ")
    assert sorted(ended) == ["inner", "outer"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_task_started_by_another_tasks_end_is_cancelled() -> None:
    """It never begins."""
    began: list[str] = []

    async def late() -> None:
        began.append("late")

    async def tool() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            began.append("tool")
            kept.append(asyncio.create_task(late()))

    async def agent(_: Conversation) -> AsyncGenerator[Event, None]:
        kept.append(asyncio.create_task(tool()))
        await asyncio.sleep(0)
        yield Say("Sunny.")

    kept: list[asyncio.Task[None]] = []
    await turn(CHAT, agent)
    await asyncio.sleep(1)
    assert began == ["tool"]
    assert [task.cancelled() for task in kept] == [True, True]


async def test_a_task_in_a_context_of_its_own_may_continue() -> None:
    """A connection pool that the first turn opens belongs to all turns."""

    async def worker() -> None:
        await asyncio.sleep(3600)

    async def agent(_: Conversation) -> AsyncGenerator[Event, None]:
        kept.append(asyncio.create_task(worker(), context=contextvars.Context()))
        yield Say("Sunny.")

    kept: list[asyncio.Task[None]] = []
    await turn(CHAT, agent)
    assert not kept[0].done()
    kept[0].cancel()


async def test_a_task_that_will_not_stop_is_logged(logs: Logged) -> None:
    """The turn waits half a second for it."""
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async def agent(_: Conversation) -> AsyncGenerator[Event, None]:
        kept.append(asyncio.create_task(stubborn()))
        await asyncio.sleep(0)
        yield Say("Sunny.")

    kept: list[asyncio.Task[None]] = []
    heard = await with_agent(CHAT, agent).post()
    released.set()
    assert heard.text == "Sunny."
    assert logs.event("agent.tasks_left")["tasks"] == 1


async def test_the_turns_own_tasks_are_not_the_agents() -> None:
    """Connections and keys that an agent's question opens serve the next turn, too."""
    kept: list[asyncio.Task[None]] = []

    class Pooled(PlayedUpstream):
        async def events(self, *args: Any) -> Any:
            kept.append(asyncio.create_task(asyncio.sleep(3600)))
            async for batch in super().events(*args):
                yield batch

    for agent in (streams, waits, starts_a_task):
        caller = Caller(Pooled(answer("Sunny.")), agent=agent)
        assert (await caller.post(body())).text == "Sunny."
        assert not kept[-1].done()
        kept[-1].cancel()


async def test_an_unread_answer_ends_with_the_run() -> None:
    """The agent kept it, and neither read nor closed it."""
    kept: list[Any] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        kept.append(
            await conversation.client.chat.completions.create(
                model="m", messages=ASKED, stream=True
            )
        )
        yield Say("Sunny.")

    _, caller = await turn(CHAT, agent, SLOW)
    (seen,) = caller.upstream.requests
    assert seen.hung_up_at == pytest.approx(0.5, abs=0.2)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    kept.clear()
    gc.collect()


async def test_an_agent_that_ignores_a_hang_up_gets_no_more_answers() -> None:
    """Its caller is gone, so no model is asked."""
    codes: list[str | None] = []

    async def goes_on(conversation: Conversation) -> AsyncGenerator[Event, None]:
        while True:
            try:
                async for event in streams(conversation):
                    yield event
            except asyncio.CancelledError:
                continue
            except openai.BadRequestError as error:
                codes.append(error.code)
                return

    caller = with_agent(CHAT, goes_on, SLOW)
    await caller.post(hang_up_ms=700)
    assert codes == ["no_turn"]
    assert len(caller.upstream.requests) == 1


async def asks_wrongly(conversation: Conversation) -> None:
    """Make a request that is never sent to a model."""
    await conversation.client.chat.completions.create(model="m", messages=ASKED, n=2)


async def asks_elsewhere(conversation: Conversation) -> None:
    """Ask a path that a turn does not have."""
    await conversation.client.models.list()


async def asks_by_client(conversation: Conversation) -> None:
    """Ask a valid question."""
    await conversation.client.chat.completions.create(model="m", messages=ASKED)


async def asks_by_ask(conversation: Conversation) -> None:
    """Ask the same without the SDK."""
    async for _ in conversation.ask():
        pass


@pytest.mark.parametrize("ask", [asks_wrongly, asks_elsewhere, asks_by_client, asks_by_ask])
async def test_an_agent_that_keeps_asking_does_not_block_the_event_loop(ask: Any) -> None:
    """Timers and other turns run between its questions, even if all are refused."""
    refused = 0
    rounds: list[None] = []

    async def insists(conversation: Conversation) -> AsyncGenerator[Event, None]:
        nonlocal refused
        while refused < 9:
            rounds.clear()
            asyncio.get_running_loop().call_soon(rounds.append, None)
            try:
                await ask(conversation)
            except (openai.OpenAIError, CompletionsError):
                refused += 1
                assert rounds
        yield Say("Well.")

    got, _ = await turn(CHAT, insists, answer("Sunny."))
    assert got.text == "Well."


@pytest.mark.looptime(False)  # virtual time does not wait for threads
@pytest.mark.parametrize("ask", [asks_by_client, asks_by_ask])
async def test_another_event_loop_may_not_ask(ask: Any) -> None:
    """A tool's thread with its own loop would break connections; the error names the remedy."""
    told: list[str] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        def in_thread(run: Any) -> None:
            try:
                run(ask(conversation))
            except (openai.BadRequestError, CompletionsError) as error:
                told.append(str(error))

        loop = asyncio.get_running_loop()
        await asyncio.to_thread(in_thread, asyncio.run)
        yield Say("Well.")
        await asyncio.to_thread(
            in_thread, lambda asked: asyncio.run_coroutine_threadsafe(asked, loop).result()
        )

    got, caller = await turn(CHAT, agent, answer("Sunny."))
    assert got.text == "Well."
    assert len(told) == 1
    assert "run_coroutine_threadsafe" in told[0]
    assert len(caller.upstream.requests) == 1


async def test_twelve_concurrent_turns_do_not_mix_on_one_client() -> None:
    """Each is answered by its own model, and counts its own requests."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        async def one(text: str) -> str:
            whole = await CLIENT.chat.completions.create(
                model="m", messages=[*conversation.messages, {"role": "user", "content": text}]
            )
            return whole.choices[0].message.content or ""

        async with asyncio.TaskGroup() as group:
            both = [group.create_task(one(text)) for text in ("And now?", "And then?")]
        yield Say(" ".join(task.result() for task in both))

    callers = [
        with_agent(CHAT, agent, [At(100 + 7 * number), *answer(f"It is {number}.")])
        for number in range(12)
    ]
    heard = await asyncio.gather(
        *(caller.post(body(f"Number {number}?")) for number, caller in enumerate(callers))
    )
    assert [one.text for one in heard] == [f"It is {n}. It is {n}." for n in range(12)]
    for number, caller in enumerate(callers):
        assert len(caller.upstream.requests) == 2
        assert all(f"Number {number}?" in str(one.json) for one in caller.upstream.requests)


async def test_a_conversations_client_refuses_after_its_turn() -> None:
    """Neither the client nor `ask` sends a request once the turn is over."""
    kept: list[Conversation] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        kept.append(conversation)
        yield Say("Sunny.")

    _, caller = await turn(CHAT, agent, answer("Late."))
    with pytest.raises(openai.BadRequestError) as raised:
        await kept[0].client.chat.completions.create(model="m", messages=ASKED)
    assert raised.value.code == "no_turn"
    with pytest.raises(CompletionsError, match="none is running"):
        await anext(kept[0].ask())
    assert caller.upstream.requests == []
