"""What later turns know of a model: a missing endpoint, and answers that begin inside a thought."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from completions.dialects import responses
from completions.quirks.quirks import ENDPOINT_RETRY_S, GUESS_CHARS
from local.scripted.script import (
    At,
    Done,
    Finish,
    Pause,
    Reply,
    Role,
    Say,
    Script,
    answer,
    refused,
)
from local.scripted.script_player import RecordedRequest, Scene
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Caller
from tests.support.ways import OVER_CHAT, RESPONSES, Way

pytestmark = pytest.mark.looptime


# -- an upstream without the Responses API


def without_responses(status: int = 404) -> Scene:
    """Return a model that has chat completions only."""

    def scene(seen: RecordedRequest) -> Script:
        return refused(status) if seen.path == responses.path else answer("Sunny.")

    return scene


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_missing_endpoint_is_learnt_once(status: int, stream: bool) -> None:
    """The turn is repeated over chat completions, and later turns use them at once."""
    upstream = PlayedUpstream(without_responses(status))
    caller = RESPONSES.caller(upstream)
    for _ in range(2):
        got = RESPONSES.read(await RESPONSES.post(caller, RESPONSES.body(stream=stream)))
        assert got.text == "Sunny."
    paths = [seen.path for seen in upstream.requests]
    assert paths == ["/responses", "/chat/completions", "/chat/completions"]


@pytest.mark.parametrize(
    "missing",
    [
        {"code": "model_not_found"},
        {"code": "previous_response_not_found", "param": "previous_response_id"},
        {"param": "input"},
        {"param": "model"},
    ],
    ids=str,
)
async def test_a_404_that_names_a_cause_is_no_missing_endpoint(missing: dict[str, str]) -> None:
    """It is passed on, and the endpoint is asked again."""
    upstream = PlayedUpstream(refused(404, **missing), answer("Sunny."))  # type: ignore[arg-type]
    caller = RESPONSES.caller(upstream)
    heard = await RESPONSES.post(caller, on_failure="error")
    assert heard.status == 404
    assert len(upstream.requests) == 1
    assert RESPONSES.read(await RESPONSES.post(caller)).text == "Sunny."
    assert upstream.requests[1].path == "/responses"


async def test_both_apis_missing_is_a_404() -> None:
    """The caller gets the upstream's own words after two requests."""
    upstream = PlayedUpstream(refused(404, message="Nothing here."))
    heard = await RESPONSES.post(RESPONSES.caller(upstream), on_failure="error")
    got = RESPONSES.read(heard)
    assert heard.status == 404
    assert got.error is not None
    assert got.error["message"] == "Nothing here."
    assert [seen.path for seen in upstream.requests] == ["/responses", "/chat/completions"]


async def test_over_chat_the_fields_have_the_names_of_chat() -> None:
    """Instructions are a system message, and limits have the old name."""
    upstream = PlayedUpstream(answer())
    request = OVER_CHAT.body(max_output_tokens=50, store=True)
    await OVER_CHAT.post(OVER_CHAT.caller(upstream), request)
    body = upstream.requests[0].json
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["max_tokens"] == 50
    assert not {"store", "input", "instructions"} & body.keys()


# -- thoughts


async def test_a_model_that_begins_inside_its_thoughts_is_remembered(way: Way) -> None:
    """A lone `</think>` shows it; in later answers the text before that tag is reasoning."""
    script: list[Any] = [Role(), Say("Hm, "), Say("well</th"), Say("ink>Sunny."), *answer("")[2:]]
    upstream = PlayedUpstream(script)
    caller: Caller = way.caller(upstream)
    assert way.read(await way.post(caller)).text == "Hm, wellSunny."
    for _ in range(3):
        got = way.read(await way.post(caller))
        assert (got.text, got.reasoning) == ("Sunny.", "Hm, well")


async def test_a_thought_without_an_end_is_not_spoken(way: Way) -> None:
    """An answer that ends at its limit may have been all thought."""
    thinks: list[Any] = [Role(), Say("Hm, well.</think>Sunny."), *answer("")[2:]]
    limited: list[Any] = [Role(), Say("A secret thought."), Finish("length"), Done()]
    upstream = PlayedUpstream(thinks, thinks, limited, thinks)
    caller: Caller = way.caller(upstream)
    heard = [way.read(await way.post(caller)).text for _ in range(3)]
    assert "secret" not in heard[2]


async def test_a_guess_that_lasts_until_the_budgets_end_is_given_up(way: Way) -> None:
    """An answer is mistaken for a thought that long only once."""
    reply = answer("A tag like </think> closes it.")
    slow: list[Any] = [Role(), *(s for at in range(0, 14_000, 500) for s in (At(at), Say("on ")))]
    upstream = PlayedUpstream(reply, reply, slow, slow)
    caller: Caller = way.caller(upstream, first_token_timeout_ms=0, reasoning_timeout_ms=0)
    heard = [way.read(await way.post(caller)) for _ in range(4)]
    assert heard[3].speech[0] == (0, "on ")


async def test_a_tag_that_the_caller_said_is_not_taken_as_a_sign(way: Way) -> None:
    """The next answer is heard as it comes."""
    upstream = PlayedUpstream(answer("It is </think> then."), answer("Yes, I do.", pace_ms=100))
    caller: Caller = way.caller(upstream)
    await way.post(caller, way.body("Say </think> please."))
    got = way.read(await way.post(caller))
    assert [at_ms for at_ms, _ in got.speech] == [0, 100, 200]


async def test_a_wrong_guess_is_heard_once_it_is_too_long_for_a_thought(way: Way) -> None:
    """No answer is held back for longer than the signs justify."""
    reply = answer("A tag like </think> closes it.")
    long = [Role(), *(step for _ in range(60) for step in (Say("x" * 99 + " "), Pause(50)))]
    upstream = PlayedUpstream(reply, [*long, Finish(), Done()])
    caller: Caller = way.caller(upstream)
    await way.post(caller)
    got = way.read(await way.post(caller))
    assert len(got.text) == 6000
    assert got.speech[0][0] == GUESS_CHARS[0] // 100 * 50


async def test_a_caller_cannot_make_later_turns_silent(way: Way) -> None:
    """However often a model writes the tag, the next turns are heard, to the last word."""
    reply = answer("A tag like </think> closes it.")
    upstream = PlayedUpstream(answer("Yes."), reply, reply, reply, answer("No."), answer("Maybe."))
    caller: Caller = way.caller(upstream)
    heard = [way.read(await way.post(caller)).text for _ in range(6)]
    assert heard[0] == "Yes."
    assert heard[4:] == ["No.", "Maybe."]
    assert len(upstream.requests) == 6


async def test_a_brief_lack_of_the_endpoint_is_not_remembered_for_long() -> None:
    """After one 404 a turn uses chat; minutes later the endpoint is asked again."""
    page = Reply(b"<html>Not here.</html>", status=404)
    upstream = PlayedUpstream([page], answer("Over chat."), answer("As before."))
    caller = RESPONSES.caller(upstream)
    assert RESPONSES.read(await RESPONSES.post(caller)).text == "Over chat."
    await asyncio.sleep(ENDPOINT_RETRY_S[0])
    assert RESPONSES.read(await RESPONSES.post(caller)).text == "As before."
    paths = [seen.path for seen in upstream.requests]
    assert paths == ["/responses", "/chat/completions", "/responses"]
