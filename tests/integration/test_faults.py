"""The table of faults in every dialect, under uvicorn and behind the streaming layer.

A row is a fault that such servers often handle wrongly; its columns are an API client, which
needs errors, and a voice caller, who needs words; all over sockets. What the official SDK
makes of a fault is in `test_conversation`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from completions.speech.phrases import PHRASES
from local.deployment import Deployment
from local.scripted.script import (
    Comment,
    Cut,
    Done,
    Finish,
    Head,
    Hold,
    Pause,
    Reply,
    Role,
    Say,
    Script,
    Step,
    Until,
    answer,
    bytewise,
    page,
    refused,
)
from local.scripted.script_player import RecordedRequest
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import AUTHORIZED, CALM, deploy, served
from tests.support.secrets import CALLER_KEY
from tests.support.turns import Heard
from tests.support.ways import CHAT, OVER_CHAT, RESPONSES, WAYS, Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGLISH = PHRASES["en"]
# NOTE: two seconds leave the machine time for rows whose words come at once.
SETTINGS: dict[str, Any] = {**CALM, "first_token_timeout_ms": 2000, "stall_timeout_ms": 2000}
SENTENCE = "It is sunny today. "


@dataclass(frozen=True)
class Row:
    """A fault, played by a model's server, and the right answer in both columns."""

    fault: Script
    then: Script = field(default_factory=lambda: answer("From the other."))
    """The scene of the next model."""
    status: int = 200
    text: str = ""
    """For an API client; it raises unless the status says so or `finish` is set."""
    finish: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    spoken: str = ""
    """For a voice caller."""
    spoken_finish: str = "stop"


def silence(step: Step) -> list[Step]:
    """Send only this for half a minute."""
    return [each for _ in range(600) for each in (Pause(50), step)]


def over(fault: Script) -> Row:
    """A fault before the first word: the other model answers in both columns."""
    return Row(fault, text="From the other.", finish="stop", spoken="From the other.")


def broken(*steps: Step) -> dict[str, Row]:
    """A fault in mid-answer: bridged in the first sentence, closed later; an error for a client."""
    first: Script = [Role(), Say("It is"), *steps]
    later: Script = [Role(), Say(SENTENCE), *steps]
    bridged = f"It is... {ENGLISH.bridge} From the other."
    return {
        "in the first words": Row(first, text="It is", spoken=bridged),
        "after a sentence": Row(
            later, text=SENTENCE, spoken=SENTENCE + ENGLISH.closing, spoken_finish="length"
        ),
    }


def all_refuse(status: int) -> Row:
    """No model answers or soon will: the status, or one sentence."""
    script = refused(status, retry_after_s=90)
    return Row(script, script, status, headers={"retry-after": "90"}, spoken=ENGLISH.failure)


ROWS: dict[str, Row] = {
    "429": all_refuse(429),
    "500": all_refuse(500),
    "one refuses": over(refused(500)),
    "our key is refused": over(refused(401)),
    **{f"cut {where}": row for where, row in broken(Cut()).items()},
    **{f"stall {where}": row for where, row in broken(Hold()).items()},
    "no headers": over([Hold()]),
    "a connection that closes": over([Cut()]),
    "an empty answer": over([Role(), Finish(), Done()]),
    "a page": over(page()),
    "nothing": over([Reply(b"")]),
    "a doubled terminator": Row(
        [Role(), Say("Sunny."), Finish(), Done(), Done()],
        text="Sunny.",
        finish="stop",
        spoken="Sunny.",
    ),
}
SILENCES: dict[str, Row] = {
    **{f"keep-alives {where}": row for where, row in broken(*silence(Comment())).items()},
    "headers, then silence": over([Head(), Hold()]),
    "headers and keep-alives": over([Head(), *silence(Comment())]),
    "headers and role-only frames": over([Head(), *silence(Role())]),
}
"""Further rows that wait for the race's timers, which do not involve the layer."""
FORGOTTEN: Script = [Role(), Say("Sunny."), Finish()]


@dataclass(frozen=True)
class Place:
    """Where the function runs, and the one server that plays both of its models."""

    url: str
    upstream: ScriptedUpstream

    async def post(self, way: Way, on_failure: str, **more: Any) -> Heard:
        """Post a turn and read its answer to the end."""
        headers = {**AUTHORIZED, "x-completions-on-failure": on_failure}
        async with httpx2.AsyncClient(headers=headers, timeout=None) as client:
            answer = await client.post(self.url + way.dialect.path, json=way.body(**more))
        return Heard(answer.status_code, dict(answer.headers), [(0, answer.content)], ended=True)


@asynccontextmanager
async def _uvicorn(upstream: ScriptedUpstream) -> AsyncIterator[str]:
    app = deploy(upstream.base_url, fallback_base_url=upstream.base_url, **SETTINGS)
    async with served(app) as url:
        yield f"{url}/v1"


@asynccontextmanager
async def _layer(upstream: ScriptedUpstream) -> AsyncIterator[str]:
    async with Deployment(
        upstream=upstream.base_url,
        caller_key=CALLER_KEY,
        parameters={"FallbackBaseUrl": upstream.base_url},
        environment={f"COMPLETIONS_{name.upper()}": str(ms) for name, ms in SETTINGS.items()},
    ) as deployment:
        yield deployment.base_url


PLACES = {"uvicorn": _uvicorn, "layer": _layer}


async def _learn(place: Place) -> None:
    """Let two processes learn that there is no `/responses`, with two turns at once."""
    both = asyncio.Event()
    place.upstream.plays([Role(), Until(both), *answer("Yes.")[1:]])
    turns = [asyncio.create_task(place.post(OVER_CHAT, "error")) for _ in range(2)]
    under_way = 0
    for number in itertools.count():
        under_way += (await place.upstream.request(number)).path.endswith("/chat/completions")
        if under_way == len(turns):
            break
    both.set()
    await asyncio.gather(*turns)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PLACES)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[dict[Way, Place]]:
    """The function, over models with and without the Responses API."""
    async with (
        ScriptedUpstream(responses=True) as having,
        ScriptedUpstream() as lacking,
        PLACES[request.param](having) as here,
        PLACES[request.param](lacking) as there,
    ):
        place = Place(there, lacking)
        await _learn(place)
        yield {CHAT: Place(here, having), RESPONSES: Place(here, having), OVER_CHAT: place}


@pytest.mark.parametrize("name", ROWS)
async def test_the_table(opened: dict[Way, Place], name: str) -> None:
    """Each row is right in both columns and in every way, and leaves no request open."""
    await play(opened, ROWS[name])


@pytest.mark.parametrize("opened", ["uvicorn"], indirect=True, scope="module")
@pytest.mark.parametrize("name", SILENCES)
async def test_keep_alives_do_not_end_a_silence(opened: dict[Way, Place], name: str) -> None:
    """Headers, keep-alives and roles do not stop the timers."""
    await play(opened, SILENCES[name])


async def play(opened: dict[Way, Place], row: Row) -> None:
    """Play the row in every way as an API client and as a voice caller; check the answers."""
    requests: Counter[str] = Counter()

    def scene(request: RecordedRequest) -> Script:
        turn = request.json["model"]
        requests[turn] += 1
        return row.fault if requests[turn] == 1 else row.then

    for place in opened.values():
        place.upstream.requests.clear()
        place.upstream.plays(scene)
    # Some rows wait for a timer: all turns of a row wait together.
    turns = [(way, column) for way in opened for column in ("error", "speak")]
    answers = await asyncio.gather(
        *(opened[way].post(way, column, model=f"{way} {column}") for way, column in turns)
    )
    for (way, column), heard in zip(turns, answers, strict=True):
        got = way.read(heard)
        told = (str(way), column, heard.status, got.text, got.finish, got.error is None)
        if column == "speak":
            assert told == (str(way), column, 200, row.spoken, row.spoken_finish, True)
        else:
            ended = bool(row.finish)
            assert told == (str(way), column, row.status, row.text, row.finish, ended)
            assert row.headers.items() <= heard.headers.items()
    for place in opened.values():
        for request in place.upstream.requests:
            assert request.finished or await request.hung_up.wait()


@pytest.mark.parametrize("on_failure", ["error", "speak"])
@pytest.mark.parametrize("way", [CHAT, OVER_CHAT], ids=str)
async def test_a_forgotten_terminator(opened: dict[Way, Place], way: Way, on_failure: str) -> None:
    """A missing terminator is added after the finish of a chat completion."""
    place = opened[way]
    place.upstream.plays(FORGOTTEN)
    got = way.read(await place.post(way, on_failure))
    assert (got.text, got.finish) == ("Sunny.", "stop")


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", ["text/plain", "application/json", None])
async def test_a_stream_by_another_name(
    opened: dict[Way, Place], way: Way, kind: str | None
) -> None:
    """A stream without its content type is read as a stream, byte by byte."""
    place = opened[way]
    head = Head(headers={"content-type": kind} if kind else {})
    place.upstream.plays([head, bytewise(Comment(), *answer("Sunny.")[1:])])
    got = way.read(await place.post(way, "error"))
    assert (got.text, got.finish) == ("Sunny.", "stop")


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_an_unknown_field(opened: dict[Way, Place], way: Way) -> None:
    """Fields that platforms add are removed before the model gets the request."""
    place = opened[way]
    place.upstream.requests.clear()
    place.upstream.plays(answer("Sunny."))
    ours = {"elevenlabs_extra_body": {"a": 1}, "user_id": "u", "call": {"id": 1}, "customer": {}}
    got = way.read(await place.post(way, "error", **ours))
    assert got.text == "Sunny."
    assert not place.upstream.requests[-1].json.keys() & ours.keys()


GONE: dict[str, tuple[Script, bool]] = {
    "before the headers": ([Hold()], True),
    "before the first token": ([Head(), Role(), Hold()], True),
    "in mid-stream": ([Role(), Say("Well, "), Hold()], True),
    "buffered": ([Hold()], False),
}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("moment", GONE)
async def test_a_caller_who_hangs_up(way: Way, moment: str) -> None:
    """A hang-up closes every request to a model at once, hedges included."""
    script, stream = GONE[moment]
    async with (
        ScriptedUpstream(responses=not way.over_chat) as upstream,
        served(deploy(upstream.base_url, **{**CALM, "hedge_after_ms": 50})) as url,
        httpx2.AsyncClient(base_url=f"{url}/v1", headers=AUTHORIZED, timeout=None) as client,
    ):
        # Learns whether there is a `/responses`, so that no request below is spent on it.
        await client.post(way.dialect.path, json=way.body(stream=False))
        upstream.requests.clear()
        upstream.plays(script)
        begun = asyncio.Event()

        async def turn() -> None:
            path, body = way.dialect.path, way.body(stream=stream)
            async with client.stream("POST", path, json=body) as response:
                async for _ in response.aiter_raw():
                    begun.set()

        caller = asyncio.create_task(turn())
        if moment == "in mid-stream":
            await begun.wait()
        elif stream:
            await upstream.request(1)  # The hedge.
        else:
            await upstream.request()
        caller.cancel()
        await asyncio.wait({caller})
        for request in upstream.requests:
            await request.hung_up.wait()
        assert upstream.requests
        assert not any(request.finished for request in upstream.requests)
