"""Agents in the model's place in whole turns: a turn keeps its promises whatever they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from completions.responder import (
    Call,
    Conversation,
    Event,
    Responder,
    Say,
    Think,
)
from completions.speech.phrases import PHRASES
from local.scripted.script import At, Cut, Hold, Role, Script, answer, refused
from local.scripted.script import Say as Says
from tests.support.agents import relays, turn, with_agent
from tests.support.logs import Logged
from tests.support.tools import SKIP_TURN, TRANSFER
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]


# -- what is heard


async def groups(_: Conversation) -> AsyncGenerator[Event, None]:
    """Handle a task of its own that fails just as the first words are yielded."""

    async def fails() -> None:
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            await asyncio.sleep(0)
            yield Say("One moment. ")
            await asyncio.sleep(1)
    except* ValueError:
        pass
    yield Say("I could not look it up.")


async def test_an_agent_handles_its_own_cancellation_behind_its_first_words(way: Way) -> None:
    """A failing task of its group cancels the agent, which goes on where it says so."""
    got, _ = await turn(way, groups)
    assert got.text == "One moment. I could not look it up."
    assert got.speech[-1][0] == 0


async def all_kinds(_: Conversation) -> AsyncGenerator[Event, None]:
    """Yield an event of every kind."""
    yield Think("They ask for the weather. ")
    await asyncio.sleep(0.4)
    yield Say("It is ")
    await asyncio.sleep(0.1)
    yield Say("sunny. ")
    yield Call("transfer_to_agent", {"agent_number": 1})
    yield Call("transfer_to_agent", {"agent_number": "2"}, id="mine")


async def test_words_are_heard_and_calls_delivered(way: Way) -> None:
    """Words are heard as they come, thoughts are shown, and calls arrive complete and valid."""
    got, caller = await turn(way, all_kinds, tools=[TRANSFER])
    assert got.speech == [(400, "It is "), (500, "sunny. ")]
    assert got.reasoning == "They ask for the weather. "
    assert got.calls == [(TRANSFER["name"], {"agent_number": n}) for n in (1, 2)]
    assert got.finish == "tool_calls"
    assert caller.upstream.requests == []


async def test_a_buffered_answer_has_all_events(way: Way) -> None:
    """They are written in the shape of the caller's API."""
    got, _ = await turn(way, all_kinds, tools=[TRANSFER], stream=False)
    assert (got.text, got.reasoning) == ("It is sunny. ", "They ask for the weather. ")
    assert got.calls == [(TRANSFER["name"], {"agent_number": n}) for n in (1, 2)]
    assert got.finish == "tool_calls"


async def test_an_agent_gives_one_answer_however_many_are_wanted() -> None:
    """`n` is for models; the stream is well-formed all the same."""
    caller = with_agent(CHAT, all_kinds)
    got = CHAT.read(await CHAT.post(caller, CHAT.body(n=3, tools=[TRANSFER])))
    assert got.text == "It is sunny. "


async def test_a_slow_agent_is_covered_by_buffer_words(way: Way) -> None:
    """They come twice and never a third time, and the agent's thoughts do not delay them."""

    async def slow(_: Conversation) -> AsyncGenerator[Event, None]:
        for _second in range(11):
            yield Think("Hm. ")
            await asyncio.sleep(1)
        yield Say("Sunny.")

    got, _ = await turn(way, slow)
    (first, one), (second, two), last = got.speech
    assert (first, second, last) == (1500, 6500, (11_000, "Sunny."))
    assert {one, two} <= set(ENGLISH.buffer)
    assert one != two


async def test_an_agents_copy_of_buffer_words_is_not_heard(way: Way) -> None:
    """Its answer is filtered like a model's."""

    async def echoes(conversation: Conversation) -> AsyncGenerator[Event, None]:
        await asyncio.sleep(2)
        for piece in ("Hang", " on. ", "It is sunny."):
            yield Say(piece)

    got, _ = await turn(way, echoes, elevenlabs_extra_body={"buffer_words": ["Hang on"]})
    assert got.text == "Hang on... It is sunny."


async def test_two_turns_at_once_are_two_conversations(way: Way) -> None:
    """Nothing of one shows up in the other."""

    async def echo(conversation: Conversation) -> AsyncGenerator[Event, None]:
        for _ in range(4):
            await asyncio.sleep(0.1)
            yield Say(conversation.messages[-1]["content"])

    caller = with_agent(way, echo)
    names = [f"caller {number}. " for number in range(8)]
    heard = await asyncio.gather(*(way.post(caller, way.body(name)) for name in names))
    assert [way.read(one).text for one in heard] == [name * 4 for name in names]


# -- an agent with nothing to say, or with bugs


async def test_an_agent_that_says_nothing_is_run_again(way: Way) -> None:
    """Then the turn is skipped if it can be, or the failure sentence is spoken."""
    runs: list[int] = []

    async def says_nothing(_: Conversation) -> AsyncGenerator[Event, None]:
        runs.append(1)
        yield Say("")
        yield Think("Nothing to say.")

    got, _ = await turn(way, says_nothing)
    assert (got.text, len(runs)) == (ENGLISH.failure, 2)
    got, _ = await turn(way, says_nothing, tools=[SKIP_TURN])
    assert (got.text, [name for name, _ in got.calls]) == ("", ["skip_turn"])


async def test_an_agent_that_never_yields_has_said_nothing(way: Way) -> None:
    """A generator that ends at once is an empty answer."""

    async def nothing(_: Conversation) -> AsyncGenerator[Event, None]:
        return
        yield

    got, _ = await turn(way, nothing)
    assert (got.text, got.finish) == (ENGLISH.failure, "stop")


class Bug(Exception):
    """A bug in an agent."""


def failing(error: BaseException, *words: str) -> Responder:
    """Return an agent that says these words and then fails."""

    async def fails(_: Conversation) -> AsyncGenerator[Event, None]:
        for word in words:
            yield Say(word)
        await asyncio.sleep(0.1)
        raise error

    return fails


ERRORS = [Bug("internals"), StopAsyncIteration(), TimeoutError(), asyncio.CancelledError()]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_an_agent_that_fails_before_a_word(way: Way, logs: Logged, error: Exception) -> None:
    """It is run again once, then the caller hears a sentence, and the log has the traceback."""
    got, _ = await turn(way, failing(error))
    assert (got.text, got.finish) == (ENGLISH.failure, "stop")
    assert got.speech[0][0] == 200
    assert len(logs.events("candidate.crashed")) == 2
    got, _ = await turn(way, failing(error), post={"on_failure": "error"})
    assert got.error is not None
    assert "internals" not in got.error["message"]


async def test_an_agent_that_fails_once_is_run_again(way: Way) -> None:
    """If it failed before a word, the caller does not notice."""
    runs: list[int] = []

    async def shaky(_: Conversation) -> AsyncGenerator[Event, None]:
        runs.append(1)
        if len(runs) == 1:
            raise Bug
        yield Say("Sunny.")

    got, _ = await turn(way, shaky)
    assert got.text == "Sunny."


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_an_agent_that_fails_after_a_sentence(way: Way, error: Exception) -> None:
    """Its words get a closing sentence and an honest finish."""
    got, _ = await turn(way, failing(error, "It is sunny. ", "Later on"))
    assert got.text == f"It is sunny. Later on... {ENGLISH.closing}"
    assert got.finish == "length"


async def test_an_agent_that_fails_within_the_first_sentence(way: Way) -> None:
    """A bridge is spoken, and then the whole answer of the second run."""
    runs: list[int] = []

    async def shaky(_: Conversation) -> AsyncGenerator[Event, None]:
        runs.append(1)
        yield Say("It is ")
        if len(runs) == 1:
            raise Bug
        yield Say("sunny.")

    got, _ = await turn(way, shaky)
    assert got.text == f"It is ... {ENGLISH.bridge} It is sunny."
    assert got.finish == "stop"


async def test_a_cut_that_an_agent_passes_on_is_bridged(way: Way) -> None:
    """The model's words that it relayed belong to the turn, and the agent is run again."""
    cut: Script = [At(300), Role(), Says("It is"), Cut()]
    got, _ = await turn(way, relays, cut, answer("It is sunny."))
    assert got.text == f"It is... {ENGLISH.bridge} It is sunny."


async def test_an_error_that_is_not_caught_fails_the_turn(way: Way) -> None:
    """As without an agent the caller hears a sentence, or gets the status with `Retry-After`."""
    busy = refused(429, retry_after_s=70)
    got, _ = await turn(way, relays, busy, fallback=busy)
    assert got.text == ENGLISH.failure
    caller = with_agent(way, relays, busy, fallback=busy)
    heard = await way.post(caller, way.body(), on_failure="error")
    assert (heard.status, heard.headers["retry-after"]) == (429, "70")


@pytest.mark.parametrize(
    "event",
    [
        "Hello",
        None,
        Say,
        Say(None),  # type: ignore[arg-type]
        Say(5),  # type: ignore[arg-type]
        Think(b"x"),  # type: ignore[arg-type]
        Call(None),  # type: ignore[arg-type]
        Call("transfer_to_agent", "{}"),  # type: ignore[arg-type]
        Call("transfer_to_agent", {"agent_number": Say}),
    ],
    ids=repr,
)
@pytest.mark.parametrize("stream", [True, False])
async def test_yielding_anything_but_an_event_is_a_bug(
    way: Way, logs: Logged, event: Any, stream: bool
) -> None:
    """The log names what was yielded; the caller hears a sentence or gets a status."""

    async def wrong(_: Conversation) -> AsyncGenerator[Event, None]:
        yield event

    caller = with_agent(way, wrong)
    heard = await way.post(caller, way.body(tools=[TRANSFER], stream=stream))
    got = way.read(heard)
    assert len(logs.events("candidate.crashed")) == 2
    if stream:
        assert got.text == ENGLISH.failure
    else:
        assert (heard.status, got.text) == (502, "")


# -- an agent's calls


async def test_an_agent_gets_feedback_on_its_invalid_call(way: Way) -> None:
    """It is run again; its messages end with its own words and what was wrong."""
    seen: list[list[Any]] = []

    async def clumsy(conversation: Conversation) -> AsyncGenerator[Event, None]:
        seen.append([(m["role"], m["content"]) for m in conversation.messages])
        if len(seen) == 1:
            yield Say("I'm transferring you. ")
            yield Call("transfer_to_agent", {"agent_number": "repairs"})
        else:
            yield Call("transfer_to_agent", {"agent_number": 0})

    got, _ = await turn(way, clumsy, tools=[TRANSFER])
    assert (got.text, got.calls) == (
        "I'm transferring you. ",
        [("transfer_to_agent", {"agent_number": 0})],
    )
    first, second = seen
    assert second[: len(first)] == first
    spoken, (role, feedback) = second[len(first) :]
    assert spoken == ("assistant", "I'm transferring you. ")
    assert role == "user"
    assert "agent_number" in feedback


async def test_an_agents_call_that_stays_invalid_ends_in_words(way: Way) -> None:
    """The failure sentence follows what was said."""

    async def stubborn(_: Conversation) -> AsyncGenerator[Event, None]:
        yield Say("I'm transferring you.")
        yield Call("no_such_tool")

    got, _ = await turn(way, stubborn, tools=[TRANSFER])
    assert got.text.startswith("I'm transferring you.")
    assert got.text.endswith(ENGLISH.failure)
    assert got.calls == []


# -- an agent that does not end


async def test_an_agent_that_hangs_is_given_up_and_cleans_up(way: Way) -> None:
    """Its `finally` has run by the end of the turn, after the turn's budget."""
    closed: list[str] = []

    async def hangs(_: Conversation) -> AsyncGenerator[Event, None]:
        try:
            await asyncio.Event().wait()
            yield Say("Never.")
        finally:
            await asyncio.sleep(0.05)
            closed.append("yes")

    got, _ = await turn(way, hangs)
    assert [at_ms for at_ms, _ in got.speech] == [1500, 6500, 12_050]
    assert got.speech[-1][1].strip() == ENGLISH.failure
    assert closed == ["yes"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("after_words", [True, False])
async def test_a_hang_up_ends_the_agent(way: Way, after_words: bool, stream: bool) -> None:
    """Its `finally` runs at once, and its request to a model is cancelled."""
    closed: list[float] = []

    async def asks(conversation: Conversation) -> AsyncGenerator[Event, None]:
        try:
            if after_words:
                yield Say("Let me look. ")
            async for event in conversation.ask():
                yield event
        finally:
            closed.append(asyncio.get_running_loop().time())

    caller = with_agent(way, asks, [At(500), Role(), Hold()])
    began = asyncio.get_running_loop().time()
    await way.post(caller, way.body(stream=stream), hang_up_ms=700)
    (seen,) = caller.upstream.requests
    assert seen.hung_up_at == pytest.approx(began + 0.7)
    assert closed == [pytest.approx(began + 0.7)]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_agent_that_will_not_be_stopped_does_not_hold_its_caller() -> None:
    """The turn waits half a second for a cancelled agent and then continues without it."""
    released = asyncio.Event()

    async def stubborn(_: Conversation) -> AsyncGenerator[Event, None]:
        yield Say("Hm, ")
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    heard = await with_agent(CHAT, stubborn).post(CHAT.body(), remaining_s=4)
    released.set()
    assert heard.ends == 1
    assert heard.pieces[-1][0] == 2500 + 500
