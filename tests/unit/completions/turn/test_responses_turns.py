"""Turns in the Responses dialect, as the official SDK reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import APIError

from completions.dialects import responses
from local.scripted.script import (
    At,
    Cut,
    Decline,
    Done,
    Finish,
    Role,
    Say,
    Script,
    Think,
    Usage,
    answer,
    call,
    calls,
    refused,
)
from local.scripted.script_player import RecordedRequest, Scene
from tests.support.in_process import PlayedUpstream
from tests.support.responses_rules import check, events_in, sdk_final, sdk_stream, spoken_in
from tests.support.turns import Caller, Heard

pytestmark = pytest.mark.looptime

SCHEMA = {
    "type": "object",
    "properties": {"agent_number": {"type": "integer"}},
    "required": ["agent_number"],
}
TRANSFER = {"type": "function", "name": "transfer_to_agent", "parameters": SCHEMA}


def body(**more: Any) -> dict[str, Any]:
    """Return a request as a platform sends it."""
    return {
        "model": "m",
        "instructions": "You are a helpful voice agent.",
        "input": [{"role": "user", "content": "What is the weather?"}],
        "tools": [TRANSFER],
        "stream": True,
        **more,
    }


def over_chat(scene: Script) -> Scene:
    """Play the same scene from an upstream without `/responses`."""

    def play(seen: RecordedRequest) -> Script:
        return refused(404) if seen.path == responses.path else scene

    return play


@pytest.fixture(params=["native", "over chat"])
def endpoint(request: pytest.FixtureRequest) -> Any:
    """Each endpoint of an upstream."""
    return over_chat if request.param == "over chat" else lambda scene: scene


async def turn(scene: Scene, fallback: Scene | None = None, **more: Any) -> Heard:
    """Play one turn."""
    caller = Caller(PlayedUpstream(scene, fallback=fallback))
    return await caller.post(body(**more), dialect=responses)


async def test_an_answer_is_relayed_in_time(endpoint: Any) -> None:
    """Text, usage and model arrive, and no words of ours."""
    heard = await turn(endpoint(answer("Sunny, I think.", at_ms=400)))
    final = await sdk_final(heard.body)
    assert final.output_text == "Sunny, I think."
    assert final.usage is not None
    assert (final.usage.input_tokens, final.usage.output_tokens) == (5, 7)
    assert [item["type"] for item in check(heard.body)] == ["message"]


async def test_buffer_words_precede_a_slow_answer(endpoint: Any) -> None:
    """They are heard at 1,500 ms and are part of the final output."""
    heard = await turn(endpoint(answer("Sunny.", at_ms=2500)))
    ours, words = (spoken_in([item]) for item in check(heard.body))
    assert ours.endswith("... ")
    assert words == "Sunny."
    assert heard.pieces[0][0] == 1500
    assert (await sdk_final(heard.body)).output_text == f"{ours}{words}"


async def test_reasoning_and_think_blocks_are_not_spoken(endpoint: Any) -> None:
    """Both become reasoning items."""
    script = [Role(), Think("Hm."), Say("<th"), Say("ink>Oh.</think>Sun"), Say("ny."), Finish()]
    heard = await turn(endpoint([*script, Done()]))
    output = check(heard.body)
    assert spoken_in(output) == "Sunny."
    assert b"think>" not in heard.body
    assert (await sdk_final(heard.body)).output_text == "Sunny."
    assert sum(item["type"] == "reasoning" for item in output) >= 1


@pytest.mark.parametrize("arguments", ['{"agent_number": 1}', '{"agent_number": "1"}', "{broken"])
async def test_calls_arrive_whole_and_valid_or_not_at_all(endpoint: Any, arguments: str) -> None:
    """The words before them are kept; a call that stays invalid becomes the failure sentence."""
    script = [Role(), Say("I'll transfer you. "), *call("transfer_to_agent", arguments)]
    script += [*call("transfer_to_agent", '{"agent_number": 2}', index=1)]
    heard = await turn(endpoint([*script, Finish("tool_calls"), Usage(), Done()]))
    check(heard.body)
    final = await sdk_final(heard.body)
    assert final.output_text.startswith("I'll transfer you. ")
    got = [item.arguments.replace(" ", "") for item in final.output if item.type == "function_call"]
    if arguments != "{broken":
        assert got[:2] == ['{"agent_number":1}', '{"agent_number":2}']
    assert all("broken" not in one for one in got)


async def test_a_call_alone_is_an_answer(endpoint: Any) -> None:
    """Nothing is spoken beside it."""
    heard = await turn(endpoint(calls("transfer_to_agent", {"agent_number": 0})))
    assert [item["type"] for item in check(heard.body)] == ["function_call"]


async def test_a_refusal_is_heard(endpoint: Any) -> None:
    """It is spoken in the model's own words."""
    heard = await turn(endpoint([Role(), Decline("I can"), Decline("not."), Finish(), Done()]))
    assert (await sdk_final(heard.body)).output_text == "I cannot."
    check(heard.body)


@pytest.mark.parametrize(
    "script",
    [
        [Done()],
        [Role(), Finish(), Done()],
        [Role(), Think("Hm."), Finish(), Done()],
        [Role(), Say("<think>Hm.</think>"), Finish(), Done()],
        [Role(), *call("transfer_to_agent", "{broken"), Finish("tool_calls"), Done()],
    ],
)
async def test_no_turn_is_empty(endpoint: Any, script: Any) -> None:
    """Whatever the model sends, something is heard, and the stream ends properly."""
    heard = await turn(endpoint(script))
    assert spoken_in(check(heard.body))
    assert (await sdk_final(heard.body)).output_text


async def test_a_cut_answer_is_completed_by_a_closing_sentence(endpoint: Any) -> None:
    """The sentence is in the same message, and the end says `incomplete`."""
    sentences = "It is sunny today. Later there will be rain. And "
    heard = await turn(endpoint([At(300), Role(), Say(sentences), At(3000), Cut()]))
    (item,) = check(heard.body)
    words = spoken_in([item])
    assert words.startswith(sentences)
    assert len(words) > len(sentences)
    *_, last = await sdk_stream(heard.body)
    assert last.type == "response.incomplete"
    assert last.response.output_text == words


async def test_a_cut_in_the_first_words_is_bridged_to_another_answer(endpoint: Any) -> None:
    """The second model's whole answer is heard in the first one's stream."""
    cut = [At(400), Role(), Say("It is "), At(900), Cut()]
    other = answer("It is sunny.", at_ms=1000)
    caller = Caller(PlayedUpstream(endpoint(cut), fallback=endpoint(other)))
    # A missing endpoint costs requests out of the same three: the first turn pays for it.
    await caller.post(body(), dialect=responses)
    heard = await caller.post(body(), dialect=responses)
    output = check(heard.body)
    assert spoken_in(output).startswith("It is ")
    assert spoken_in(output).endswith("It is sunny.")
    assert (await sdk_final(heard.body)).status == "completed"


async def test_a_failure_is_spoken_or_raised(endpoint: Any) -> None:
    """By default the caller hears a sentence; with `error` the SDK raises after first words."""
    heard = await turn(endpoint(refused(500)))
    assert (heard.status, bool(spoken_in(check(heard.body)))) == (200, True)
    caller = Caller(PlayedUpstream(endpoint([At(300), Role(), Say("It is "), At(900), Cut()])))
    raised = await caller.post(body(), dialect=responses, on_failure="error")
    check(raised.body)
    with pytest.raises(APIError):
        await sdk_final(raised.body)
    assert events_in(raised.body)[-2]["response"]["status"] == "failed"


async def test_a_buffered_answer_is_one_response(endpoint: Any) -> None:
    """It has this API's shape, whichever endpoint answered."""
    heard = await turn(endpoint(answer("Sunny.", at_ms=100)), stream=False)
    response = json.loads(heard.body)
    assert response["object"] == "response"
    assert spoken_in(response["output"]) == "Sunny."
    assert response["usage"]["output_tokens"] == 7


async def test_the_missing_endpoint_is_learnt_once() -> None:
    """The second turn asks for a chat completion at once."""
    upstream = PlayedUpstream(over_chat(answer("Sunny.")))
    caller = Caller(upstream)
    for _ in range(2):
        await caller.post(body(), dialect=responses)
    paths = [seen.path for seen in upstream.requests]
    assert paths == ["/responses", "/chat/completions", "/chat/completions"]
