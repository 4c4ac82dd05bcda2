"""What an error that leaves an agent counts as: the model's failure, or the agent's bug."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx2
import openai
import pytest

from completions.agent_api.agent_errors import of_model
from completions.responder import Conversation, Event, Responder, Say
from local.scripted.script import Cut, Fail, Hold, Role, Script, answer, refused
from local.scripted.script import Say as Says
from local.scripted.script_player import Scene
from tests.support.agents import turn, with_agent
from tests.support.logs import Logged
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

ASKED: list[Any] = [{"role": "user", "content": "What is the weather?"}]


class FrameworkError(Exception):
    """A framework's error in place of the SDK's."""


async def ask(conversation: Conversation) -> str:
    """Ask a question whose answer comes in one piece."""
    whole = await conversation.client.chat.completions.create(model="m", messages=ASKED)
    return whole.choices[0].message.content or ""


async def plain(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Let the SDK's error out."""
    yield Say(await ask(conversation))


async def with_retries(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Ask through a client that is set to retry."""
    client = conversation.client.with_options(max_retries=5, timeout=0.001)
    whole = await client.chat.completions.create(model="m", messages=ASKED)
    yield Say(whole.choices[0].message.content or "")


async def streamed(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Relay the words until the stream fails."""
    stream: Any = await conversation.client.chat.completions.create(
        model="m", messages=ASKED, stream=True
    )
    async for chunk in stream:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield Say(text)


async def wrapped(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Raise another error with the SDK's as its cause."""
    try:
        yield Say(await ask(conversation))
    except openai.APIError as error:
        raise FrameworkError("The model failed.") from error


async def wrapped_silently(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Raise another error while the SDK's is handled."""
    try:
        yield Say(await ask(conversation))
    except openai.APIError:
        raise FrameworkError("The model failed.")  # noqa: B904 - as frameworks do


async def grouped(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Ask in a task group."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ask(conversation))
    yield Say(task.result())


async def by_ask(conversation: Conversation) -> AsyncGenerator[Event, None]:
    """Ask without the SDK."""
    async for event in conversation.ask():
        yield event


LETS_PASS = [plain, with_retries, streamed, wrapped, wrapped_silently, grouped, by_ask]


@pytest.mark.parametrize("agent", LETS_PASS)
async def test_a_models_refusal_counts_as_the_models(
    way: Way, agent: Responder, logs: Logged
) -> None:
    """Status and code are kept, and the agent is not reported as crashed."""
    caller = with_agent(way, agent, refused(429, code="rate_limit_exceeded"))
    got = way.read(heard := await way.post(caller, way.body(), on_failure="error"))
    assert heard.status == 429
    assert got.error is not None
    assert got.error["code"] == "rate_limit_exceeded"
    assert logs.events("candidate.crashed") == []
    assert logs.event("turn.finished")["error.type"] == "rate_limit_exceeded"


@pytest.mark.parametrize("agent", LETS_PASS)
async def test_a_second_run_does_not_repeat_an_exhausted_question(
    way: Way, agent: Responder, logs: Logged
) -> None:
    """The turn makes the question's three requests and no more, whatever the client's retries."""
    got, caller = await turn(way, agent, refused(503))
    assert len(caller.upstream.requests) == 3
    assert len(got.speech) == 1
    finished = logs.event("turn.finished")
    assert (finished["upstream_requests"], finished["retries"]) == (3, 2)


@pytest.mark.parametrize("agent", LETS_PASS)
@pytest.mark.parametrize("broken", [[Role(), Says("It "), Cut()], [Role(), Says("It "), Hold()]])
async def test_after_a_cut_or_a_stall_the_next_run_starts_with_another_model(
    way: Way, agent: Responder, broken: Script
) -> None:
    """The model that broke off is not asked first again."""
    got, caller = await turn(way, agent, broken, fallback=answer("From the fallback."))
    assert got.text.endswith("From the fallback.")
    assert [one.candidate for one in caller.upstream.requests] == ["upstream", "fallback"]


async def test_a_buffered_answer_that_breaks_off_costs_no_run(way: Way) -> None:
    """No word was relayed, so another model is asked, within the question's three requests."""
    runs: list[int] = []

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        runs.append(1)
        yield Say(await ask(conversation))

    broken: Script = [Role(), Says("It "), Cut()]
    got, caller = await turn(way, agent, broken, fallback=answer("From the fallback."))
    assert got.text == "From the fallback."
    assert len(runs) == 1
    got, caller = await turn(way, agent, broken)
    assert len(caller.upstream.requests) == 3
    assert len(runs) == 1 + 1


@pytest.mark.parametrize(
    ("sick", "at_ms"), [([Hold()], 3000), (refused(503), 0), (refused(404), 0)]
)
async def test_a_model_that_failed_one_question_is_not_first_for_the_next(
    way: Way, sick: Scene, at_ms: int
) -> None:
    """A turn waits for a dead model only once."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        yield Say(await ask(conversation))
        yield Say(await ask(conversation))

    got, caller = await turn(way, agent, sick, fallback=answer("Well. "))
    assert got.text.endswith("Well. Well. ")
    asked = [one.candidate for one in caller.upstream.requests]
    assert asked == ["upstream", "fallback", "fallback"]
    assert got.speech[-1][0] == at_ms


async def test_an_agent_may_catch_the_sdks_error(way: Way) -> None:
    """Its class and status are those of the model's answer."""
    errors: list[openai.APIStatusError] = []

    async def careful(conversation: Conversation) -> AsyncGenerator[Event, None]:
        try:
            await ask(conversation)
        except openai.RateLimitError as error:
            errors.append(error)
        yield Say("Later.")

    got, _ = await turn(way, careful, refused(429, code="rate_limit_exceeded", retry_after_s=9))
    assert got.text == "Later."
    assert errors[0].response.headers["x-should-retry"] == "false"
    assert errors[0].response.headers["retry-after"] == "9"
    assert errors[0].code == "rate_limit_exceeded"


@pytest.mark.parametrize("scene", [[Role(), Says("It "), Fail()], [Role(), Says("It "), Cut()]])
async def test_a_stream_that_breaks_off_raises_the_sdks_error(way: Way, scene: Scene) -> None:
    """It is an error event, which every client of the API knows."""
    caught: list[openai.APIError] = []

    async def careful(conversation: Conversation) -> AsyncGenerator[Event, None]:
        try:
            async for event in streamed(conversation):
                yield event
        except openai.APIError as error:
            caught.append(error)
        yield Say("or not.")

    got, _ = await turn(way, careful, scene)
    assert got.text == "It or not."
    assert len(caught) == 1


def mistakes() -> list[Callable[[Conversation], Any]]:
    """Return mistakes that an agent may make."""

    async def two_answers(conversation: Conversation) -> None:
        await conversation.client.chat.completions.create(model="m", messages=ASKED, n=2)

    async def nothing(conversation: Conversation) -> None:
        await conversation.client.chat.completions.create(model="m", messages=[])

    async def another_path(conversation: Conversation) -> None:
        await conversation.client.models.list()

    async def in_a_handler(conversation: Conversation) -> None:
        try:
            await ask(conversation)
        except openai.APIError:
            int("missing")

    async def exits(conversation: Conversation) -> None:
        sys.exit("no configuration")

    return [two_answers, nothing, another_path, in_a_handler, exits]


@pytest.mark.parametrize("mistake", mistakes())
async def test_an_agents_own_mistake_counts_as_a_crash(mistake: Any, logs: Logged) -> None:
    """The caller is not blamed for it, and the log has its traceback."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        await mistake(conversation)
        yield Say("Never.")

    caller = with_agent(CHAT, agent, refused(429))
    heard = await caller.post(on_failure="error")
    assert heard.status == 502
    assert len(logs.events("candidate.crashed")) == 2


def test_an_agents_own_client_fails_like_a_model() -> None:
    """Another API's refusal, time-out or connection error keeps its meaning."""
    asked = httpx2.Request("POST", "https://other.invalid/v1/chat/completions")
    error = {"message": "No such voice.", "code": "gone", "type": "invalid_request_error"}
    refused = openai.NotFoundError(
        "No such voice.", response=httpx2.Response(404, request=asked), body=error
    )
    told = [
        of_model(error, ())
        for error in (
            refused,
            openai.APITimeoutError(asked),
            openai.APIConnectionError(request=asked),
            ValueError("no model's"),
        )
    ]
    assert [one and (one.status, one.code) for one in told] == [
        (404, "gone"),
        (504, "upstream_timeout"),
        (502, "upstream_unavailable"),
        None,
    ]
