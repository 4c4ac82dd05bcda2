"""The scripted upstream, on which many tests rely, checked by the official SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from local.scripted.script import (
    At,
    Broken,
    Comment,
    Cut,
    Done,
    Fail,
    Finish,
    Head,
    Hold,
    Packed,
    Role,
    Say,
    Script,
    Think,
    Unstreamed,
    Until,
    answer,
    bytewise,
    call,
    calls,
    page,
    refused,
    together,
)
from local.scripted.upstream import ScriptedUpstream

LIMIT_S = 20
TWO_CALLS: Script = [
    Role(),
    Think("Hm. "),
    Say("One moment. "),
    *call("lookup", {"city": "Wien"}),
    *call("end_call", {"reason": "done"}, index=1),
    Finish("tool_calls"),
    Done(),
]


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """The server under test."""
    async with ScriptedUpstream(responses=True) as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[AsyncOpenAI]:
    """The official client."""
    async with AsyncOpenAI(
        base_url=upstream.base_url, api_key="k", max_retries=0, timeout=LIMIT_S
    ) as client:
        yield client


async def _hear(client: AsyncOpenAI) -> str:
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])


@pytest.mark.parametrize("pack", [together, bytewise])
async def test_packets_do_not_change_what_is_said(
    upstream: ScriptedUpstream, client: AsyncOpenAI, pack: Callable[..., Packed]
) -> None:
    """An answer reads the same in one packet and byte by byte."""
    upstream.plays([pack(*answer("Hello there.")[1:])])
    assert await _hear(client) == "Hello there."


async def test_chat_stream_helper_reads_calls(
    upstream: ScriptedUpstream, client: AsyncOpenAI
) -> None:
    """The SDK's chat stream helper puts text and two calls in pieces together."""
    upstream.plays(TWO_CALLS)
    async with client.chat.completions.stream(
        model="m", messages=[{"role": "user", "content": "Hi"}]
    ) as stream:
        completion = await stream.get_final_completion()
    message = completion.choices[0].message
    assert message.content == "One moment. "
    assert [(c.function.name, c.function.arguments) for c in message.tool_calls or []] == [
        ("lookup", '{"city": "Wien"}'),
        ("end_call", '{"reason": "done"}'),
    ]


async def test_whole_and_streamed_completions_agree(
    upstream: ScriptedUpstream, client: AsyncOpenAI
) -> None:
    """A script also answers a request for a whole completion."""
    upstream.plays(TWO_CALLS)
    completion = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Hi"}]
    )
    message = completion.choices[0].message
    assert (message.content, len(message.tool_calls or [])) == ("One moment. ", 2)


async def test_responses_stream_helper_reads_the_event_sequence(
    upstream: ScriptedUpstream, client: AsyncOpenAI
) -> None:
    """The SDK's responses helper accepts reasoning, text and calls, and their order."""
    upstream.plays(TWO_CALLS)
    async with client.responses.stream(model="m", input="Hi") as stream:
        events = [event async for event in stream]
        response = await stream.get_final_response()
    assert [item.type for item in response.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert response.output_text == "One moment. "
    numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
    assert sorted(set(numbers)) == list(range(len(set(numbers))))


async def test_whole_responses_agree(upstream: ScriptedUpstream, client: AsyncOpenAI) -> None:
    """A script also answers a request for a whole response."""
    upstream.plays(calls("lookup", {"city": "Wien"}))
    response = await client.responses.create(model="m", input="Hi")
    assert response.output[0].to_dict()["arguments"] == '{"city": "Wien"}'


async def test_a_refusal_has_its_status_and_headers(
    upstream: ScriptedUpstream, client: AsyncOpenAI
) -> None:
    """The SDK raises on a refusal and finds `Retry-After`; the last scene is repeated."""
    upstream.plays(refused(429, retry_after_s=7), answer("Now."))
    with pytest.raises(openai.RateLimitError) as caught:
        await _hear(client)
    assert caught.value.response.headers["retry-after"] == "7"
    assert [await _hear(client), await _hear(client)] == ["Now.", "Now."]


@pytest.mark.parametrize(
    "script",
    [
        [Cut()],
        [Head(), Cut()],
        [Role(), Say("Hel"), Cut()],
        [Say("Hel"), Broken(Say("lo"), 20), Cut()],
        [Fail()],
        page(503),
    ],
)
async def test_faults_are_errors(
    upstream: ScriptedUpstream, client: AsyncOpenAI, script: Script
) -> None:
    """The SDK raises an error for each fault."""
    upstream.plays(script)
    with pytest.raises((openai.APIError, httpx2.HTTPError, ValueError)):
        await _hear(client)


async def test_a_whole_answer_to_a_stream(upstream: ScriptedUpstream, client: AsyncOpenAI) -> None:
    """`Unstreamed` sends a whole completion to a streamed request."""
    upstream.plays([Unstreamed(), *answer("Hello.")])
    raw = await client.chat.completions.with_raw_response.create(
        model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    assert raw.headers["content-type"] == "application/json"
    assert b'"Hello."' in await raw.http_response.aread()


async def test_a_hang_up_is_noted_at_once(upstream: ScriptedUpstream, client: AsyncOpenAI) -> None:
    """A client's hang-up is noticed even during a silence."""
    upstream.plays([Head(), Comment(), Hold()])
    hearing = asyncio.create_task(_hear(client))
    request = await upstream.request(0)
    assert not request.hung_up.is_set()
    hearing.cancel()
    await request.hung_up.wait()


async def test_connections_are_counted(upstream: ScriptedUpstream, client: AsyncOpenAI) -> None:
    """A reused connection keeps its number, and a finished request is not a hang-up."""
    await _hear(client)
    await _hear(client)
    assert [request.connection for request in upstream.requests] == [0, 0]
    assert not any(request.hung_up_at for request in upstream.requests)
    upstream.drop_connections()
    await upstream.deserted()
    await _hear(client)
    assert upstream.requests[2].connection == 1


async def test_the_test_sets_the_time(upstream: ScriptedUpstream, client: AsyncOpenAI) -> None:
    """`Until` holds the answer back, and `At` counts from the request's arrival."""
    gate = asyncio.Event()
    held: Script = [Role(), Until(gate), At(0), Say("Free."), Finish(), Done()]
    upstream.plays(held, answer("At once."))
    hearing = asyncio.create_task(_hear(client))
    await upstream.request(0)
    assert await _hear(client) == "At once."
    assert not hearing.done()
    gate.set()
    assert await hearing == "Free."
