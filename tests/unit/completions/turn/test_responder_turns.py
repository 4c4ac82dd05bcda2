"""Agents in the model's place, in whole turns: the turn's promises hold whatever they do."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from completions.app import create_app
from completions.errors import CompletionsError
from completions.responder import (
    Call,
    Conversation,
    Event,
    Responder,
    ResponderError,
    Say,
    Think,
    load,
)
from completions.settings import Settings
from completions.speech.phrases import PHRASES
from tests.support import history
from tests.support.in_process import PlayedUpstream
from tests.support.logs import Logged, logged
from tests.support.script import (
    At,
    Cut,
    Hold,
    Role,
    Scene,
    Script,
    answer,
    calls,
    refused,
)
from tests.support.script import (
    Say as Says,
)
from tests.support.turns import Caller
from tests.support.ways import CHAT, Answer, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]
TRANSFER = {
    "name": "transfer_to_agent",
    "description": "Transfers to a specialist.",
    "parameters": {
        "type": "object",
        "properties": {"agent_number": {"type": "integer"}},
        "required": ["agent_number"],
    },
}
SKIP = {"name": "skip_turn", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture
def log() -> Iterator[Logged]:
    """What is logged."""
    with logged() as lines:
        yield lines


def with_agent(
    way: Way, agent: Responder, *scenes: Scene, fallback: Scene | None = None, **settings: Any
) -> Caller:
    """An environment whose answers this agent gives; the scenes are for what it asks a model."""
    caller = way.caller(PlayedUpstream(*scenes, fallback=fallback), **settings)
    caller.state = dataclasses.replace(caller.state, responder=agent)
    return caller


async def turn(
    way: Way, agent: Responder, *scenes: Scene, fallback: Scene | None = None, **more: Any
) -> tuple[Answer, Caller]:
    """One turn."""
    post = more.pop("post", {})
    caller = with_agent(way, agent, *scenes, fallback=fallback)
    heard = await way.post(caller, way.body(**more), **post)
    return way.read(heard), caller


async def all_kinds(_: Conversation) -> AsyncGenerator[Event, None]:
    yield Think("They ask for the weather. ")
    await asyncio.sleep(0.4)
    yield Say("It is ")
    await asyncio.sleep(0.1)
    yield Say("sunny. ")
    yield Call("transfer_to_agent", {"agent_number": 1})
    yield Call("transfer_to_agent", {"agent_number": "2"}, id="mine")


async def test_words_thoughts_and_calls(way: Way) -> None:
    """Words are heard as they come, thoughts are shown, calls are delivered whole and valid."""
    got, caller = await turn(way, all_kinds, tools=[TRANSFER])
    assert got.speech == [(400, "It is "), (500, "sunny. ")]
    assert got.reasoning == "They ask for the weather. "
    assert got.calls == [(TRANSFER["name"], {"agent_number": n}) for n in (1, 2)]
    assert got.finish == "tool_calls"
    assert caller.upstream.requests == []


async def test_a_buffered_answer_has_all_of_it(way: Way) -> None:
    """Made up from nothing, in the shape of the caller's API."""
    got, _ = await turn(way, all_kinds, tools=[TRANSFER], stream=False)
    assert (got.text, got.reasoning) == ("It is sunny. ", "They ask for the weather. ")
    assert got.calls == [(TRANSFER["name"], {"agent_number": n}) for n in (1, 2)]
    assert got.finish == "tool_calls"


async def test_buffer_words_while_it_is_slow(way: Way) -> None:
    """At 1,500 and 6,500 ms, never a third; its thoughts do not hold them back."""

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


async def test_its_own_copy_of_a_filler_is_not_heard(way: Way) -> None:
    """As with a model's."""

    async def echoes(conversation: Conversation) -> AsyncGenerator[Event, None]:
        await asyncio.sleep(2)
        for piece in ("Hang", " on. ", "It is sunny."):
            yield Say(piece)

    got, _ = await turn(way, echoes, elevenlabs_extra_body={"buffer_words": ["Hang on"]})
    assert got.text == "Hang on... It is sunny."


async def test_an_agent_that_says_nothing_is_no_empty_turn(way: Way) -> None:
    """It is run once more; then the turn is skipped where it can be, else dots are spoken."""
    runs: list[int] = []

    async def silent(_: Conversation) -> AsyncGenerator[Event, None]:
        runs.append(1)
        yield Say("")
        yield Think("Nothing to say.")

    got, _ = await turn(way, silent)
    assert (got.text, len(runs)) == ("... ", 2)
    got, _ = await turn(way, silent, tools=[SKIP])
    assert (got.text, got.calls) == ("", [("skip_turn", {})])


async def test_an_agent_that_never_yields(way: Way) -> None:
    """A generator that ends at once is a silent one."""

    async def nothing(_: Conversation) -> AsyncGenerator[Event, None]:
        return
        yield

    got, _ = await turn(way, nothing)
    assert (got.text, got.finish) == ("... ", "stop")


class Teapot(Exception):
    """A bug in an agent."""


def failing(error: BaseException, *words: str) -> Responder:
    """An agent that says this and then fails."""

    async def fails(_: Conversation) -> AsyncGenerator[Event, None]:
        for word in words:
            yield Say(word)
        await asyncio.sleep(0.1)
        raise error

    return fails


ERRORS = [Teapot("internals"), StopAsyncIteration(), TimeoutError(), asyncio.CancelledError()]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_an_agent_that_fails_before_a_word(way: Way, log: Logged, error: Exception) -> None:
    """It is run once more, then the caller hears a sentence; the log has the trace."""
    got, _ = await turn(way, failing(error))
    assert (got.text, got.finish) == (ENGLISH.failure, "stop")
    assert got.speech[0][0] == 200
    assert len(log.events("candidate.crashed")) == 2
    got, _ = await turn(way, failing(error), post={"on_failure": "error"})
    assert got.error is not None
    assert "internals" not in got.error["message"]


async def test_an_agent_that_fails_once_is_run_again(way: Way) -> None:
    """Before a word was said nobody notices."""
    runs: list[int] = []

    async def shaky(_: Conversation) -> AsyncGenerator[Event, None]:
        runs.append(1)
        if len(runs) == 1:
            raise Teapot
        yield Say("Sunny.")

    got, _ = await turn(way, shaky)
    assert got.text == "Sunny."


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_an_agent_that_fails_after_a_sentence(way: Way, error: Exception) -> None:
    """What was said gets a closing sentence and an honest end."""
    got, _ = await turn(way, failing(error, "It is sunny. ", "Later on"))
    assert got.text == f"It is sunny. Later on... {ENGLISH.closing}"
    assert got.finish == "length"


async def test_an_agent_that_fails_within_the_first_sentence(way: Way) -> None:
    """A bridge, and its whole answer from the second run."""
    runs: list[int] = []

    async def shaky(_: Conversation) -> AsyncGenerator[Event, None]:
        runs.append(1)
        yield Say("It is ")
        if len(runs) == 1:
            raise Teapot
        yield Say("sunny.")

    got, _ = await turn(way, shaky)
    assert got.text == f"It is ... {ENGLISH.bridge} It is sunny."
    assert got.finish == "stop"


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
async def test_what_is_no_event_is_a_bug_and_no_silence(
    way: Way, log: Logged, event: Any, stream: bool
) -> None:
    """The log says what was yielded; the caller hears a sentence, or gets a status."""

    async def wrong(_: Conversation) -> AsyncGenerator[Event, None]:
        yield event

    caller = with_agent(way, wrong)
    heard = await way.post(caller, way.body(tools=[TRANSFER], stream=stream))
    got = way.read(heard)
    assert len(log.events("candidate.crashed")) == 2
    if stream:
        assert got.text == ENGLISH.failure
    else:
        assert (heard.status, got.text) == (502, "")


async def test_a_bad_call_is_told_to_the_agent(way: Way) -> None:
    """It is run again, with what was said and what was wrong at the end of its messages."""
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
    said, (role, note) = second[len(first) :]
    assert said == ("assistant", "I'm transferring you. ")
    assert role == "user"
    assert "agent_number" in note


async def test_a_call_that_stays_bad_is_no_silence(way: Way) -> None:
    """The failure sentence stands after what was said."""

    async def stubborn(_: Conversation) -> AsyncGenerator[Event, None]:
        yield Say("I'm transferring you.")
        yield Call("no_such_tool")

    got, _ = await turn(way, stubborn, tools=[TRANSFER])
    assert got.text.startswith("I'm transferring you.")
    assert got.text.endswith(ENGLISH.failure)
    assert got.calls == []


async def test_an_agent_that_hangs_is_given_up_and_cleans_up(way: Way) -> None:
    """After the turn's budget; its `finally` has run when the turn is over."""
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
    """At once, wherever it is: its `finally` runs, and what it asked of a model is cancelled."""
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


async def relays(conversation: Conversation) -> AsyncGenerator[Event, None]:
    async for event in conversation.ask():
        yield event


async def test_asking_the_models_races_them(way: Way) -> None:
    """A stalled model is joined by the fallback at 3,000 ms; fillers are heard meanwhile."""
    fallback = answer("From the fallback.", at_ms=1000)
    got, caller = await turn(way, relays, [Hold()], fallback=fallback)
    assert got.text.endswith("From the fallback.")
    assert [at_ms for at_ms, _ in got.speech][:2] == [1500, 4000]
    assert [seen.candidate for seen in caller.upstream.requests] == ["upstream", "fallback"]
    assert caller.upstream.requests[0].hung_up_at is not None


async def test_a_failing_model_is_the_agents_to_catch(way: Way) -> None:
    """`ask` raises when nobody answers; what the agent then says is its answer."""

    async def careful(conversation: Conversation) -> AsyncGenerator[Event, None]:
        try:
            async for event in conversation.ask():
                yield event
        except CompletionsError as error:
            yield Say(f"No luck: {error.status}.")

    got, _ = await turn(way, careful, refused(503), fallback=refused(503))
    assert got.text == "No luck: 503."


async def test_an_error_that_is_not_caught_fails_the_turn(way: Way) -> None:
    """As if the agent were not there: a sentence, or the status with `Retry-After`."""
    got, _ = await turn(way, relays, refused(429), fallback=refused(429, retry_after_s=7))
    assert got.text == ENGLISH.failure
    caller = with_agent(way, relays, refused(429), fallback=refused(429, retry_after_s=7))
    heard = await way.post(caller, way.body(), on_failure="error")
    assert (heard.status, heard.headers["retry-after"]) == (429, "7")


async def test_a_turn_has_three_upstream_requests_however_often_an_agent_asks(way: Way) -> None:
    """The fourth question says so; runs of the agent do not add to the three."""
    asked: list[str] = []

    async def curious(conversation: Conversation) -> AsyncGenerator[Event, None]:
        for _ in range(5):
            try:
                async for event in conversation.ask():
                    if isinstance(event, Say):
                        asked.append(event.text)
            except CompletionsError as error:
                asked.append(error.message)
        yield Say(" ")

    _, caller = await turn(way, curious, answer("Yes"))
    assert len(caller.upstream.requests) == 3
    assert asked[:3] == ["Yes"] * 3
    assert len(asked) == 10
    assert all("three upstream requests" in one for one in asked[3:])


async def test_two_questions_at_once_share_the_three(way: Way) -> None:
    """ParsedRequest side by side, with hedges and repeats counted."""

    async def twice(conversation: Conversation) -> AsyncGenerator[Event, None]:
        async def one() -> str:
            words = ""
            async with aclosing(conversation.ask()) as events:
                async for event in events:
                    words += event.text if isinstance(event, Say) else ""
            return words

        both = await asyncio.gather(one(), one())
        yield Say(" and ".join(both))

    script = answer("Sunny", at_ms=5000)
    got, caller = await turn(way, twice, script)
    assert got.text.endswith("Sunny and Sunny")
    assert len(caller.upstream.requests) == 3


async def test_a_question_of_its_own(way: Way) -> None:
    """Messages, tools and parameters are the agent's; the rest is the clean request's."""

    async def adds(conversation: Conversation) -> AsyncGenerator[Event, None]:
        knowledge = {"role": "system", "content": "We open at nine."}
        messages = [*conversation.messages, knowledge]
        async for event in conversation.ask(messages, tools=[], temperature=0):
            yield event

    more: dict[str, Any] = {
        "tools": [TRANSFER],
        "elevenlabs_extra_body": {"a": 1},
        "user_id": "u",
        "n": 1,
    }
    got, caller = await turn(way, adds, answer("At nine."), **more)
    assert got.text == "At nine."
    (asked,) = [seen.json for seen in caller.upstream.requests]
    assert history.told(asked)[-1] == ("system", "We open at nine.")
    assert asked["temperature"] == 0
    assert not asked.keys() & {"tools", "elevenlabs_extra_body", "user_id", "n"}
    assert asked["stream"] is True


async def test_a_question_that_is_none_is_the_agents_bug(way: Way, log: Logged) -> None:
    """Not the caller's, who would be blamed by a 400."""

    async def wrong(conversation: Conversation) -> AsyncGenerator[Event, None]:
        async for event in conversation.ask([]):
            yield event

    got, _ = await turn(way, wrong, post={"on_failure": "error"})
    assert got.error is not None
    assert got.error["type"] == "server_error"
    assert "'messages' must be" in log.text


async def test_what_the_agent_is_given(way: Way) -> None:
    """The conversation in Chat Completions' terms, whichever API the caller used."""
    seen: list[Conversation] = []

    async def looks(conversation: Conversation) -> AsyncGenerator[Event, None]:
        seen.append(conversation)
        yield Say("Well.")

    extra = {"language": "en", "customer": 7}
    past = [
        {"role": "user", "content": "Hello"},
        history.called("transfer_to_agent", '{"agent_number":0}', content="Sure. "),
        history.result("ok"),
    ]
    caller = with_agent(way, looks)
    request = way.body(tools=[TRANSFER], elevenlabs_extra_body=extra, **history.of(way, past))
    await way.post(caller, request)
    (conversation,) = seen
    roles = [message["role"] for message in conversation.messages]
    assert roles[-3:] == ["user", "assistant", "tool"]
    assert conversation.messages[-2]["tool_calls"] == past[1]["tool_calls"]
    assert conversation.messages[-1]["tool_call_id"] == "call_0"
    assert [tool["function"]["name"] for tool in conversation.tools] == ["transfer_to_agent"]
    assert (conversation.model, dict(conversation.extra)) == ("m", extra)


async def test_an_agent_that_runs_a_tool_of_its_own(way: Way) -> None:
    """It asks, looks something up for the model's call, and asks again with the result."""
    lookup = {"type": "function", "function": {"name": "look_up", "parameters": {}}}

    async def works(conversation: Conversation) -> AsyncGenerator[Event, None]:
        messages = list(conversation.messages)
        async for event in conversation.ask(tools=[lookup]):
            if isinstance(event, Call):
                await asyncio.sleep(2)
                call = history.called(event.name, "{}", event.id)
                messages += [call, history.result("09:00", event.id)]
        async for event in conversation.ask(messages, tools=[lookup]):
            yield event

    got, caller = await turn(
        way, works, calls("look_up", {}, at_ms=300), answer("At nine.", at_ms=300)
    )
    assert got.speech[0][0] == 1500
    assert got.speech[0][1] in ENGLISH.buffer
    assert "".join(text for _, text in got.speech[1:]) == "At nine."
    assert got.speech[-1][0] == 2600
    assert history.told(caller.upstream.requests[1].json)[-1][1] in {"09:00", ""}


async def test_a_cut_after_words_of_the_model(way: Way) -> None:
    """The agent's words are the turn's: a bridge, and the agent runs again."""
    cut: Script = [At(300), Role(), Says("It is"), Cut()]
    got, _ = await turn(way, relays, cut, answer("It is sunny."))
    assert got.text == f"It is... {ENGLISH.bridge} It is sunny."


async def test_two_turns_at_once_are_two_conversations(way: Way) -> None:
    """Nothing of one is in the other."""

    async def echo(conversation: Conversation) -> AsyncGenerator[Event, None]:
        for _ in range(4):
            await asyncio.sleep(0.1)
            yield Say(conversation.messages[-1]["content"])

    caller = with_agent(way, echo)
    names = [f"caller {number}. " for number in range(8)]
    heard = await asyncio.gather(*(way.post(caller, way.body(name)) for name in names))
    assert [way.read(one).text for one in heard] == [name * 4 for name in names]


async def test_an_agent_gives_one_answer_however_many_are_wanted() -> None:
    """`n` is a model's; the stream is well-formed and not empty all the same."""
    caller = with_agent(CHAT, all_kinds)
    got = CHAT.read(await CHAT.post(caller, CHAT.body(n=3, tools=[TRANSFER])))
    assert got.text == "It is sunny. "


# -- at start-up

AGENT = """
from completions.responder import Say

async def good(conversation):
    yield Say("Hello.")

async def coroutine(conversation):
    return [Say("Hello.")]

def plain(conversation):
    yield Say("Hello.")

async def no_argument():
    yield Say("Hello.")

async def two(conversation, memory):
    yield Say("Hello.")

async def more(conversation, memory=None, *rest, **others):
    yield Say("Hello.")

class Agent:
    async def answer(self, conversation):
        yield Say("Hello.")

bound = Agent().answer
number = 5
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules can be imported from."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("function", ["good", "more", "bound"])
async def test_an_agent_is_found(package: Path, function: str) -> None:
    """A function, one with defaults, a bound method: anything that yields and takes one thing."""
    (package / "my_agent.py").write_text(AGENT)
    agent = load(f"my_agent:{function}")
    got, _ = await turn(CHAT, agent)
    assert got.text == "Hello."


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("my_agent", "package.module:function"),
        ("my_agent:", "package.module:function"),
        (":good", "package.module:function"),
        ("my_agents:good", "No module named 'my_agents'"),
        ("my_agent.sub:good", "my_agent"),
        ("my_agent:goodbye", "has no 'goodbye'"),
        ("my_agent:coroutine", "no async generator"),
        ("my_agent:plain", "no async generator"),
        ("my_agent:number", "no async generator"),
        ("my_agent:Agent", "no async generator"),
        ("my_agent:no_argument", "must take one argument"),
        ("my_agent:two", "'memory'"),
        ("broken:good", "NameError: name 'undefined' is not defined"),
        ("misspelt:good", "SyntaxError"),
        ("hungry:good", "No module named 'langchain_of_mine'"),
    ],
)
def test_a_deployment_says_at_start_what_is_wrong(package: Path, name: str, hint: str) -> None:
    """The app does not start, and the error names the variable, its value and the reason."""
    (package / "my_agent.py").write_text(AGENT)
    (package / "broken.py").write_text("undefined")
    (package / "misspelt.py").write_text("def good(:")
    (package / "hungry.py").write_text("import langchain_of_mine")
    with pytest.raises(ResponderError) as raised:
        create_app(Settings(responder=name))
    message = str(raised.value)
    assert "COMPLETIONS_RESPONDER" in message
    assert repr(name) in message
    assert hint in message


async def test_an_agent_that_will_not_be_stopped_does_not_hold_its_caller() -> None:
    """The turn waits half a second for a cancelled agent, and then goes on without it."""
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
