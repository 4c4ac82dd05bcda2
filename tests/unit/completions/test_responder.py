"""An agent: what it gets, what it may yield and ask, and how a deployment names it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from completions.app import create_app
from completions.errors import CompletionsError
from completions.responder import (
    Call,
    Conversation,
    Event,
    ResponderError,
    Say,
    load,
    text_of,
)
from completions.settings import Settings
from completions.speech.phrases import PHRASES
from local.scripted.script import Hold, answer, calls, refused
from tests.support import history
from tests.support.agents import relays, turn, with_agent
from tests.support.logs import Logged
from tests.support.tools import TRANSFER
from tests.support.turns import body
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

TOOL = {
    "type": "function",
    "function": {
        "name": "set_count",
        "parameters": {"type": "object", "properties": {"count": {"type": "integer"}}},
    },
}
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


# -- what it gets and yields


async def test_an_agent_gets_the_conversation(way: Way) -> None:
    """It has the form of Chat Completions, whichever API the caller used."""
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
    assert conversation.body == request
    assert conversation.user_text == "Hello"


async def test_an_agent_gets_the_requests_parameters(way: Way) -> None:
    """They can be passed to the client unchanged, whichever API the caller used."""
    seen: list[Conversation] = []

    async def looks(conversation: Conversation) -> AsyncGenerator[Event, None]:
        seen.append(conversation)
        yield Say("{}")

    limit: dict[str, Any] = {"max_tokens": 50} if way is CHAT else {"max_output_tokens": 50}
    await turn(way, looks, temperature=0.3, user_id="u", json_format=True, **limit)
    assert dict(seen[0].parameters) == {
        "temperature": 0.3,
        "max_tokens": 50,
        "response_format": {"type": "json_object"},
    }


async def test_a_silent_user_has_said_nothing(way: Way) -> None:
    """The platform's report of silence is not text of the user."""
    seen: list[str] = []

    async def looks(conversation: Conversation) -> AsyncGenerator[Event, None]:
        seen.append(conversation.user_text)
        yield Say("Are you there?")

    await turn(way, looks, text="...")
    assert seen == [""]


@pytest.mark.parametrize("content", ["Hi you", [{"type": "text", "text": "Hi "}, {"text": "you"}]])
def test_a_messages_text_is_a_string_whatever_its_content(content: Any) -> None:
    """The content may be a list of parts, or null."""
    assert text_of({"role": "user", "content": content}) == "Hi you"
    assert text_of({"role": "assistant", "content": None}) == ""


async def test_thoughts_in_an_agents_words_are_not_spoken() -> None:
    """A `<think>` block is removed, even if its tags are split."""

    async def thinks(_: Conversation) -> AsyncGenerator[Event, None]:
        for piece in ("<thi", "nk>The caller is angry.</th", "ink>Good morning."):
            yield Say(piece)

    got, _ = await turn(CHAT, thinks)
    assert got.text == "Good morning."


# -- what it asks models


async def test_asking_the_models_races_them(way: Way) -> None:
    """The fallback joins a model that stalls, and buffer words are heard meanwhile."""
    fallback = answer("From the fallback.", at_ms=1000)
    got, caller = await turn(way, relays, [Hold()], fallback=fallback)
    assert got.text.endswith("From the fallback.")
    assert [at_ms for at_ms, _ in got.speech][:2] == [1500, 4000]
    assert [seen.candidate for seen in caller.upstream.requests] == ["upstream", "fallback"]
    assert caller.upstream.requests[0].hung_up_at is not None


async def test_an_agent_may_catch_a_models_failure(way: Way) -> None:
    """`ask` raises if no model answers, and the agent's next words are its answer."""

    async def careful(conversation: Conversation) -> AsyncGenerator[Event, None]:
        try:
            async for event in conversation.ask():
                yield event
        except CompletionsError as error:
            yield Say(f"No luck: {error.status}.")

    got, _ = await turn(way, careful, refused(503), fallback=refused(503))
    assert got.text == "No luck: 503."


async def test_each_ask_has_three_requests_within_a_limit(way: Way) -> None:
    """An ask beyond it is refused with the parameter's name, and the agent is not run again."""
    outcomes: list[str] = []
    runs: list[int] = []

    async def curious(conversation: Conversation) -> AsyncGenerator[Event, None]:
        runs.append(len(outcomes))
        for _ in range(9):
            async for event in conversation.ask():
                outcomes.append(event.text if isinstance(event, Say) else "")
        yield Say(" ")

    caller = with_agent(way, curious, answer("Yes"))
    got = way.read(await way.post(caller, way.body(), on_failure="error"))
    assert len(caller.upstream.requests) == 8
    assert outcomes == ["Yes"] * 8
    assert runs == [0]
    assert got.error is not None
    assert got.error["code"] == "agent_requests_exhausted"
    assert "8 requests" in got.error["message"]
    assert "AgentRequestLimit" in got.error["message"]


async def test_one_ask_makes_three_requests_at_most(way: Way) -> None:
    """Its retries do not count against another ask."""
    codes: list[str] = []

    async def twice(conversation: Conversation) -> AsyncGenerator[Event, None]:
        for _ in range(2):
            try:
                async for event in conversation.ask():
                    yield event
            except CompletionsError as error:
                codes.append(error.code)
        yield Say("No luck.")

    got, caller = await turn(way, twice, refused(503))
    assert got.text.endswith("No luck.")
    assert len(caller.upstream.requests) == 6
    assert codes == ["upstream_503", "upstream_503"]


async def test_an_agent_may_ask_with_messages_tools_and_parameters_of_its_own(way: Way) -> None:
    """The rest of the request is the caller's, cleaned."""

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
    (request,) = [seen.json for seen in caller.upstream.requests]
    assert history.texts(request)[-1] == ("system", "We open at nine.")
    assert request["temperature"] == 0
    assert not request.keys() & {"tools", "elevenlabs_extra_body", "user_id", "n"}
    assert request["stream"] is True


async def test_an_agents_invalid_request_is_its_own_bug(way: Way, logs: Logged) -> None:
    """The caller does not get a 400 for it."""

    async def wrong(conversation: Conversation) -> AsyncGenerator[Event, None]:
        async for event in conversation.ask([]):
            yield event

    got, _ = await turn(way, wrong, post={"on_failure": "error"})
    assert got.error is not None
    assert got.error["type"] == "server_error"
    assert "'messages' must be" in logs.text


async def test_an_agent_may_run_a_tool_of_its_own(way: Way) -> None:
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
    assert got.speech[0][1] in PHRASES["en"].buffer
    assert "".join(text for _, text in got.speech[1:]) == "At nine."
    assert got.speech[-1][0] == 2600
    assert history.texts(caller.upstream.requests[1].json)[-1][1] in {"09:00", ""}


async def test_an_agent_gets_the_arguments_that_a_model_meant() -> None:
    """They are an object even if the model's JSON had to be repaired."""
    seen: list[Any] = []

    async def looks(conversation: Conversation) -> AsyncGenerator[Event, None]:
        async for event in conversation.ask(tools=[TOOL]):
            if isinstance(event, Call):
                seen.append((event.name, event.arguments))
        yield Say("Done.")

    got, _ = await turn(CHAT, looks, calls("set_count", "{'count': 3,}"))
    assert got.text == "Done."
    assert seen == [("set_count", {"count": 3})]


@pytest.mark.parametrize("written", ['{"count": "3",}', '```json\n{"count": 3}\n```'])
async def test_a_models_call_that_an_agent_relays_is_repaired(written: str) -> None:
    """The turn checks it like a model's own."""
    caller = with_agent(CHAT, relays, calls("set_count", written))
    heard = await caller.post(body(tools=[TOOL]))
    assert [part["function"]["arguments"] for _, part in heard.calls] == ['{"count":3}']


async def test_an_incomplete_call_that_an_agent_relays_is_asked_for_again() -> None:
    """Cut arguments are not delivered as an empty call."""
    caller = with_agent(
        CHAT, relays, calls("set_count", '{"count": 3'), calls("set_count", '{"count":4}')
    )
    heard = await caller.post(body(tools=[TOOL]))
    assert [part["function"]["arguments"] for _, part in heard.calls] == ['{"count":4}']
    assert "not carried out" in caller.upstream.requests[1].json["messages"][-1]["content"]


# -- how it is named


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which modules can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["my_agent", "completions.agents.another"])
def test_what_an_agent_logs_is_in_the_functions_log(package: Path, logs: Logged, name: str) -> None:
    """These are the lines of its own logger and of those in modules beside it."""
    (package / "my_agent.py").write_text(AGENT)
    load("my_agent:good")
    logging.getLogger(name).info("Three helmets.")
    assert logs.event("Three helmets.")["logger"] == name


@pytest.mark.parametrize("function", ["good", "more", "bound"])
async def test_an_agent_is_found(package: Path, function: str) -> None:
    """It may be a function, one with defaults, or a bound method."""
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
def test_a_wrong_agent_is_reported_at_start(package: Path, name: str, hint: str) -> None:
    """The app does not start, and the error has the variable, its value and the reason."""
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
