"""The faults that servers of this kind get wrong, over real sockets: our row, right in each column.

For an API client (`x-completions-on-failure: error`) the good answer is a status or an error that
its SDK raises; for a voice caller (`speak`) it is words. The columns are those of a comparison of
public servers made on 2026-11-22; every one of them got some column wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from completions.speech.phrases import PHRASES
from tests.support import rules
from tests.support.deployment import AUTHORIZED, CALM, chat, deploy, served, spoken
from tests.support.script import (
    Comment,
    Cut,
    Done,
    Finish,
    Head,
    Hold,
    Pause,
    Role,
    Say,
    Script,
    Step,
    Until,
    answer,
    refused,
)
from tests.support.secrets import CALLER_KEY
from tests.support.upstream import ScriptedUpstream

LIMIT_S = 30
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]
ERROR = {"x-completions-on-failure": "error"}
OURS = PHRASES["en"]


@asynccontextmanager
async def function(
    upstream: ScriptedUpstream, **settings: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """The function under uvicorn, and a caller of it."""
    async with (
        served(deploy(upstream.base_url, **{**CALM, **settings})) as url,
        httpx2.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=LIMIT_S) as client,
    ):
        yield client


async def ask(client: httpx2.AsyncClient, headers: dict[str, str] | None = None) -> httpx2.Response:
    """One streamed turn, read to its end."""
    body = chat(stream=True)
    return await client.post("/v1/chat/completions", json=body, headers=headers or {})


@pytest.mark.parametrize("status", [429, 500])
async def test_a_refusal_before_anything_was_said(status: int) -> None:
    """A client gets the real status as JSON and the Retry-After; a caller a whole sentence."""
    async with (
        ScriptedUpstream(refused(status, message="Too much.", retry_after_s=7)) as upstream,
        function(upstream) as client,
    ):
        plain = await ask(client, ERROR)
        heard = await ask(client)
    assert plain.status_code == status
    assert plain.headers["content-type"] == "application/json"
    assert plain.headers["retry-after"] == "7"
    assert plain.json()["error"]["message"] == "Too much."
    assert heard.status_code == 200
    assert rules.check(heard.content).text == OURS.failure


async def test_a_connection_that_is_cut_in_mid_stream() -> None:
    """Never dressed up as success, and always terminated; the official client raises."""
    said: Script = [Role(), Say("It is sunny. "), Say("And to"), Cut()]
    async with (
        ScriptedUpstream(said) as upstream,
        function(upstream) as client,
        AsyncOpenAI(
            base_url=f"{client.base_url}/v1",
            api_key=CALLER_KEY,
            max_retries=0,
            default_headers=ERROR,
        ) as sdk,
    ):
        stream = await sdk.chat.completions.create(model="m", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass
        plain = await ask(client, ERROR)
        heard = await ask(client)
    assert plain.content.endswith(b"data: [DONE]\n\n")
    assert rules.check(plain.content).error is not None
    told = rules.check(heard.content)
    assert told.text.startswith("It is sunny. And to")
    assert told.text.endswith(OURS.closing)
    assert told.finish == "length"


async def test_a_forgotten_terminator() -> None:
    """It is added, once."""
    async with (
        ScriptedUpstream([Role(), Say("Hello."), Finish()]) as upstream,
        function(upstream) as client,
    ):
        heard = await ask(client, ERROR)
    assert rules.check(heard.content).finish == "stop"
    assert heard.content.count(b"[DONE]") == 1


def silence(step: Step) -> list[Step]:
    """Twenty seconds in which this is all that comes."""
    return [each for _ in range(400) for each in (Pause(50), step)]


STALLS: dict[str, Script] = {
    "no headers": [Hold()],
    "headers, then silence": [Head(), Hold()],
    "headers and keep-alives": [Head(), *silence(Comment()), Hold()],
    "headers and role-only frames": [Head(), *silence(Role()), Hold()],
}


@pytest.mark.parametrize("mode", [{}, ERROR], ids=["speak", "error"])
@pytest.mark.parametrize("stall", STALLS)
async def test_a_stall_before_the_first_word(stall: str, mode: dict[str, str]) -> None:
    """The fallback speaks in all four shapes, and the stalled request is cancelled."""
    async with (
        ScriptedUpstream(STALLS[stall]) as upstream,
        ScriptedUpstream(answer("From the fallback.")) as fallback,
        function(
            upstream, fallback_base_url=fallback.base_url, first_token_timeout_ms=300
        ) as client,
    ):
        heard = await ask(client, mode)
        async with asyncio.timeout(LIMIT_S):
            await upstream.requests[0].hung_up.wait()
    assert rules.check(heard.content).text == "From the fallback."
    assert len(upstream.requests) == len(fallback.requests) == 1


GONE: dict[str, Script] = {
    "before the headers": [Hold()],
    "before the first token": [Head(), Role(), Hold()],
    "in mid-stream": [Role(), Say("Well, "), Say("it is "), Hold()],
}


@pytest.mark.parametrize("moment", GONE)
async def test_a_caller_who_hangs_up(moment: str) -> None:
    """The model's request is cancelled at once, wherever the turn is."""
    async with (
        ScriptedUpstream(GONE[moment]) as upstream,
        served(deploy(upstream.base_url, **CALM)) as url,
    ):
        body = chat(stream=True)
        async with httpx2.AsyncClient(headers=AUTHORIZED, timeout=LIMIT_S) as client:
            turn = asyncio.create_task(client.post(f"{url}/v1/chat/completions", json=body))
            request = await upstream.request()
            # The upstream has the request; of what it sends, something may be on its way.
            await asyncio.sleep(0.2)
            turn.cancel()
            await asyncio.wait({turn})
            async with asyncio.timeout(LIMIT_S):
                await request.hung_up.wait()
    assert not request.finished


async def test_an_unknown_field() -> None:
    """What platforms add is taken out before the upstream sees it."""
    async with ScriptedUpstream(answer("Hello.")) as upstream, function(upstream) as client:
        body = chat(stream=True, elevenlabs_extra_body={"a": 1}, user_id="u", call={"id": 1})
        heard = await client.post("/v1/chat/completions", json=body)
    assert spoken(heard.content) == "Hello."
    assert not upstream.requests[0].json.keys() & {"elevenlabs_extra_body", "user_id", "call"}


async def test_words_arrive_while_the_model_still_speaks() -> None:
    """Nothing is held back: the second word is made only after the first was heard."""
    heard = asyncio.Event()
    script: Script = [Role(), Say("One "), Until(heard), Say("two."), Finish(), Done()]
    async with ScriptedUpstream(script) as upstream, function(upstream) as client:
        body = chat(stream=True)
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            arrived = b""
            async for piece in response.aiter_raw():
                arrived += piece
                if b"One " in arrived:
                    heard.set()
    assert spoken(arrived) == "One two."
