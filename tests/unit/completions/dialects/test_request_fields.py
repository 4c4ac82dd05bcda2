"""Which fields of a whole request the model receives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from completions.speech.phrases import PHRASES
from local.scripted.script import answer, refused
from tests.support import history
from tests.support.deployment import calling
from tests.support.endpoint import (
    ABSENT,
    HELLO,
    PLATFORM_ONLY,
    TOOL,
    USER,
    Endpoint,
    app_over,
    scene_for,
)
from tests.support.in_process import PlayedUpstream
from tests.support.ways import CHAT, Way


@pytest.mark.parametrize("stream", [True, False])
async def test_fields_of_platforms_do_not_reach_the_model(endpoint: Endpoint, stream: bool) -> None:
    """Strict upstreams answer 400 to fields that they do not know."""
    received = await endpoint.model_receives(stream=stream, **PLATFORM_ONLY)
    assert not received.keys() & PLATFORM_ONLY.keys()


async def test_a_user_id_reaches_the_model_as_a_hash(endpoint: Endpoint) -> None:
    """A number and its text are one user; an empty id is none."""
    seen = [
        (await endpoint.model_receives(user_id=user)).get("safety_identifier")
        for user in ("kim@example.com", "kim@example.com", "lee@example.com", 7, "7", None, "")
    ]
    assert seen[0] == seen[1] == hashlib.sha256(b"kim@example.com").hexdigest()[:32]
    assert len({seen[0], seen[2], seen[3]}) == 3
    assert (seen[3], seen[5], seen[6]) == (seen[4], None, None)


async def test_a_callers_own_safety_identifier_is_kept(endpoint: Endpoint) -> None:
    """OpenAI's own clients send one."""
    received = await endpoint.model_receives(user_id="kim", safety_identifier="mine")
    assert received["safety_identifier"] == "mine"


async def test_known_fields_arrive_unchanged(endpoint: Endpoint) -> None:
    """They keep their types, and absent fields are not added."""
    given = {"temperature": 0.3, "top_p": 0.9, "parallel_tool_calls": False, "user": "u"}
    received = await endpoint.model_receives(
        tools=[TOOL], tool_choice="auto", service_tier="flex", **given
    )
    assert received.items() >= given.items()
    assert (received["tool_choice"], received["service_tier"]) == ("auto", "flex")
    plain = await endpoint.model_receives()
    assert not plain.keys() & {*given, "tool_choice", "max_tokens", "tools", "service_tier"}


async def test_nulls_are_left_out(endpoint: Endpoint) -> None:
    """A null field counts as not set."""
    nulls = ["temperature", "tools", "tool_choice", "stop", "user", "metadata", "stream_options"]
    received = await endpoint.model_receives(
        **dict.fromkeys([*nulls, "elevenlabs_extra_body", "user_id"])
    )
    assert not any(value is None for value in received.values())
    assert not received.keys() & {*nulls} - {"stream_options"}


async def test_an_empty_list_of_tools_is_left_out(endpoint: Endpoint) -> None:
    """Strict upstreams refuse it, and also fields that need tools."""
    received = await endpoint.model_receives(tools=[], tool_choice="auto", parallel_tool_calls=True)
    assert not received.keys() & {"tools", "tool_choice", "parallel_tool_calls"}
    body = {"tools": [], "tool_choice": "none"}
    assert "tools" not in await endpoint.model_receives(**body)


# -- the prompt's cache


async def test_the_cache_key_is_the_conversation(endpoint: Endpoint) -> None:
    """The platform names the conversation in the extra body; long names are cut."""
    for name in ("conversation_id", "system__conversation_id"):
        received = await endpoint.model_receives(elevenlabs_extra_body={name: "conv_1"})
        assert received["prompt_cache_key"] == "conv_1"
    received = await endpoint.model_receives(elevenlabs_extra_body={"conversation_id": "c" * 65})
    assert received["prompt_cache_key"] == "c" * 64
    received = await endpoint.model_receives(
        prompt_cache_key="mine", elevenlabs_extra_body={"conversation_id": "c"}
    )
    assert received["prompt_cache_key"] == "mine"


async def test_the_cache_key_without_a_conversation_is_the_prompt(endpoint: Endpoint) -> None:
    """Requests with the same system prompt and tools share it, whatever else they hold."""

    async def key(prompt: str, words: str, *tools: Any) -> str:
        messages = [{"role": "system", "content": prompt}, {"role": "user", "content": words}]
        received = await endpoint.model_receives(
            tools=tools, instructions=ABSENT, **history.of(endpoint.way, messages)
        )
        return str(received["prompt_cache_key"])

    base = await key("Be brief.", "One?", TOOL)
    assert await key("Be brief.", "Two?", TOOL) == base
    assert await key("Be long.", "One?", TOOL) != base
    assert await key("Be brief.", "One?") != base
    assert len(base) <= 64


# -- what the deployment adds


async def test_the_deployment_names_the_model_and_adds_fields(way: Way) -> None:
    """Its model and fields replace the caller's; the fallback has its own."""
    upstream = PlayedUpstream(
        refused(404 if way.over_chat else 503), fallback=scene_for(way, answer(HELLO))
    )
    settings = {
        "upstream_model": "large",
        "fallback_model": "small",
        "upstream_extra_body": {"service_tier": "priority", "temperature": 1},
        "fallback_extra_body": {"reasoning_effort": "low"},
    }
    async with calling(app_over(upstream, **settings)) as client:
        await Endpoint(way, client, upstream).post(temperature=0.3)
    first, last = upstream.requests[0].json, upstream.requests[-1].json
    assert (first["model"], first["service_tier"], first["temperature"]) == ("large", "priority", 1)
    if upstream.requests[-1].candidate == "fallback":
        assert (last["model"], last["reasoning_effort"]) == ("small", "low")
        assert (last["temperature"], "service_tier" in last) == (0.3, False)


async def test_the_callers_model_is_kept_if_the_deployment_names_none(endpoint: Endpoint) -> None:
    """One deployment may serve several agents with different models."""
    assert (await endpoint.model_receives(model="gpt-of-mine"))["model"] == "gpt-of-mine"


async def test_a_missing_model_is_left_to_the_upstream(endpoint: Endpoint) -> None:
    """Some upstreams serve one model and need no name."""
    assert (await endpoint.model_receives(model=ABSENT))["model"] == ""


# -- the extra body


async def test_a_wrong_setting_of_an_agent_names_its_field(endpoint: Endpoint) -> None:
    """The mistake is in the agent's configuration, so the error names the setting."""
    error = await endpoint.refusal_of(elevenlabs_extra_body={"buffer_words": "Hang on"})
    assert error["param"] == "elevenlabs_extra_body.buffer_words"
    assert "'elevenlabs_extra_body.buffer_words' must be" in error["message"]


async def test_the_extra_body_holds_no_key() -> None:
    """The client writes it, so nothing in it grants access."""
    upstream = PlayedUpstream(answer(HELLO))
    async with calling(app_over(upstream)) as client:
        extra = {"authorization": "Bearer caller-key-for-tests", "api_key": "x", "admin": True}
        body = CHAT.body(elevenlabs_extra_body=extra)
        response = await client.post("/chat/completions", json=body, headers={"authorization": ""})
    assert response.status_code == 401
    assert upstream.requests == []


# -- buffer words in the history


async def test_buffer_words_do_not_reach_the_model(way: Way) -> None:
    """They are removed from strings and parts; the model's own words stay unchanged."""
    ours = PHRASES["en"].buffer[0]
    upstream = PlayedUpstream(scene_for(way, answer(HELLO)))
    part = {"type": "text" if way is CHAT else "output_text"}
    messages: list[Mapping[str, Any]] = [
        USER,
        {"role": "assistant", "content": f"{ours}It is sunny.  Really"},
        USER,
        {"role": "assistant", "content": [{**part, "text": f"{ours}It rains."}]},
        USER,
        {"role": "assistant", "content": ours.strip()},
        {"role": "user", "content": ours},
        {"role": "assistant", "content": [{**part, "text": ours.strip()}]},
        {"role": "user", "content": "Hang on... what?"},
    ]
    async with calling(app_over(upstream)) as client:
        received = await Endpoint(way, client, upstream).model_receives(**history.of(way, messages))
    spoken = [text for role, text in history.texts(received) if role == "assistant"]
    assert spoken == ["It is sunny.  Really", "It rains."]
    users = [text for role, text in history.texts(received) if role == "user"]
    assert users == ["Hello?"] * 3 + [ours, "Hang on... what?"]


async def test_a_typical_request_of_a_platform_is_answered(endpoint: Endpoint) -> None:
    """It combines tools, empty limits, nulls and the platform's own fields."""
    received = await endpoint.model_receives(
        tools=[TOOL],
        temperature=0.3,
        max_tokens=-1,
        reasoning_effort=None,
        stream_options={"include_usage": True},
        **PLATFORM_ONLY,
    )
    assert json.dumps(received["tools"]).count("look_up") == 1
    assert not received.keys() & {"max_tokens", "reasoning_effort", *PLATFORM_ONLY}
