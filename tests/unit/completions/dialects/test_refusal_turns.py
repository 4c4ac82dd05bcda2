"""Turns whose model refuses a field of the request."""

from __future__ import annotations

import pytest

from local.scripted.script import Script, answer, refused
from local.scripted.script_player import RecordedRequest, Scene
from tests.support.deployment import calling
from tests.support.endpoint import FOR_A_PROGRAM, HELLO, TOOL, Endpoint, app_over, scene_for
from tests.support.in_process import PlayedUpstream
from tests.support.ways import CHAT, Way


def refusing(way: Way, param: str, code: str | None, name: str = "") -> Scene:
    """Play a model that refuses this parameter."""
    name = name or param

    def play(seen: RecordedRequest) -> Script:
        if way.over_chat and seen.path == "/responses":
            return refused(404)
        if name in seen.json:
            return refused(400, message=f"Bad {param}.", param=param, code=code)
        return answer(HELLO)

    return play


@pytest.mark.parametrize("code", ["unsupported_parameter", "unsupported_value", None])
async def test_a_parameter_that_a_model_refuses_is_learnt_once(way: Way, code: str | None) -> None:
    """Only the first request is sent twice."""
    upstream = PlayedUpstream(refusing(way, "temperature", code))
    async with calling(app_over(upstream)) as client:
        endpoint = Endpoint(way, client, upstream)
        await endpoint.model_receives(temperature=0.3)
        before = len(upstream.requests)
        await endpoint.model_receives(temperature=0.3)
    assert len(upstream.requests) == before + 1


async def test_a_refusal_is_learnt_for_that_model_only(way: Way) -> None:
    """Another model that callers name may need what this one refuses."""
    upstream = PlayedUpstream(refusing(way, "temperature", "unsupported_parameter"))
    async with calling(app_over(upstream)) as client:
        endpoint = Endpoint(way, client, upstream)
        await endpoint.model_receives(model="thinker", temperature=0.3)
        upstream.stage("upstream").plays(scene_for(way, answer(HELLO)))
        assert (await endpoint.model_receives(model="talker", temperature=0.3))[
            "temperature"
        ] == 0.3
        assert "temperature" not in await endpoint.model_receives(model="thinker", temperature=0.3)


async def test_one_callers_bad_value_is_not_held_against_others(way: Way) -> None:
    """The parameter is left out of that request, and nothing is learnt."""
    refuses = refusing(way, "temperature", "decimal_above_max_value")
    upstream = PlayedUpstream(refuses)
    async with calling(app_over(upstream)) as client:
        endpoint = Endpoint(way, client, upstream)
        await endpoint.model_receives(temperature=5)
        upstream.stage("upstream").plays(scene_for(way, answer(HELLO)))
        assert (await endpoint.model_receives(temperature=0.3))["temperature"] == 0.3


@pytest.mark.parametrize(
    ("param", "code"),
    [
        ("tools[0].function.parameters", "invalid_function_parameters"),
        ("tools[0].parameters", "invalid_function_parameters"),
        ("tools[0].function.name", None),
        ("tools", "array_above_max_length"),
    ],
)
async def test_a_broken_tool_does_not_cost_all_callers_their_tools(
    way: Way, param: str, code: str | None
) -> None:
    """The upstream's 400 is passed on: an agent that silently lost its tools would be worse."""
    upstream = PlayedUpstream(refusing(way, param, code, name="tools"))
    async with calling(app_over(upstream)) as client:
        endpoint = Endpoint(way, client, upstream)
        response = await endpoint.post(headers=FOR_A_PROGRAM, tools=[TOOL])
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param
        upstream.stage("upstream").plays(scene_for(way, answer(HELLO)))
        assert "tools" in await endpoint.model_receives(tools=[TOOL])


async def test_a_token_limit_is_sent_by_the_name_that_the_model_knows() -> None:
    """`max_tokens` becomes `max_completion_tokens`, which is learnt once."""
    upstream = PlayedUpstream(refusing(CHAT, "max_tokens", "unsupported_parameter"))
    async with calling(app_over(upstream)) as client:
        endpoint = Endpoint(CHAT, client, upstream)
        assert (await endpoint.model_receives(max_tokens=99))["max_completion_tokens"] == 99
        before = len(upstream.requests)
        assert "max_tokens" not in await endpoint.model_receives(max_tokens=99)
        assert len(upstream.requests) == before + 1


async def test_fields_that_we_added_are_taken_back(way: Way) -> None:
    """After a 400 that names no field, this and later requests leave our fields out."""

    def strict(seen: RecordedRequest) -> Script:
        if way.over_chat and seen.path == "/responses":
            return refused(404)
        ours = {"safety_identifier", "prompt_cache_key", "stream_options"} & seen.json.keys()
        return refused(400, message=f"Extra inputs: {ours}") if ours else answer(HELLO)

    upstream = PlayedUpstream(strict)
    async with calling(app_over(upstream)) as client:
        endpoint = Endpoint(way, client, upstream)
        await endpoint.model_receives(user_id="kim")
        before = len(upstream.requests)
        await endpoint.model_receives(user_id="kim")
    assert len(upstream.requests) == before + 1


async def test_a_refusal_without_remedy_is_passed_on(endpoint: Endpoint) -> None:
    """It keeps the upstream's status, message, param and code."""
    script = refused(400, message="Too long.", param="messages", code="context_length_exceeded")
    endpoint.upstream.stage("upstream").plays(scene_for(endpoint.way, script))
    response = await endpoint.post(headers=FOR_A_PROGRAM)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["message"], error["param"], error["code"]) == (
        "Too long.",
        "messages",
        "context_length_exceeded",
    )
