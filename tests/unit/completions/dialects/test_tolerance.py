"""Whatever a voice platform sends, the model receives a request that it understands.

Whole requests through the whole app, in both dialects, and over chat where the upstream has no
`/responses`. Bodies that are no requests belong to `test_app`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from completions.app import create_app
from completions.dialects.history import INTERRUPTED
from completions.keys.keys import Keys
from completions.settings import Settings
from completions.speech.phrases import PHRASES
from local.scripted.script import Script, answer, refused
from local.scripted.script_player import Scene, Seen
from tests.support import history
from tests.support.deployment import CALM, calling
from tests.support.in_process import PlayedUpstream
from tests.support.secrets import CALLER_SECRET, UPSTREAM_SECRET, FakeSecrets
from tests.support.ways import CHAT, OVER_CHAT, RESPONSES, Way

FOR_A_PROGRAM = {"x-completions-on-failure": "error"}
HELLO = "Hello there."
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello?"}
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}


@dataclass
class Endpoint:
    """The app over a played model, as callers of one dialect see it."""

    way: Way
    client: httpx2.AsyncClient
    upstream: PlayedUpstream

    @property
    def path(self) -> str:
        """The path of the dialect."""
        return f"/v1{self.way.dialect.path}"

    async def post(self, path: str = "", headers: Any = None, **fields: Any) -> httpx2.Response:
        """Send an ordinary request with these fields changed; `ABSENT` takes one out."""
        body = self.way.body(**fields)
        for name in [name for name, value in fields.items() if value is ABSENT]:
            body.pop(name, None)
        return await self.client.post(path or self.path, json=body, headers=headers)

    async def model_receives(self, **fields: Any) -> dict[str, Any]:
        """Send one that must be answered; return the last request that the model received."""
        response = await self.post(**fields)
        assert response.status_code == 200, response.text
        if response.headers["content-type"].startswith("text/event-stream"):
            assert self.way.stream(response.content).text == HELLO
        else:
            assert HELLO in response.text
        return self.upstream.requests[-1].json

    async def refusal_of(self, **fields: Any) -> dict[str, Any]:
        """Send one that must be a 400 without a request to the model; return its error."""
        response = await self.post(**fields)
        assert response.status_code == 400, response.text
        assert self.upstream.requests == []
        error: dict[str, Any] = response.json()["error"]
        assert error["type"] == "invalid_request_error"
        return error


ABSENT: Any = object()


def app_over(upstream: PlayedUpstream, **settings: Any) -> Any:
    """Return the whole application over a played model."""
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=300, connect=FakeSecrets().connect)
    if "fallback" in upstream.names:
        settings["fallback_base_url"] = "http://fallback.invalid/v1"
    given: dict[str, Any] = {"upstream_base_url": "http://primary.invalid/v1", **CALM, **settings}
    return create_app(Settings(**given), keys, upstream)  # type: ignore[arg-type]


def scene_for(way: Way, script: Script) -> Scene:
    """Return the script as an upstream plays it that has this way's endpoint, or lacks it."""

    def play(seen: Seen) -> Script:
        return refused(404) if way.over_chat and seen.path == "/responses" else script

    return play


@pytest.fixture
async def endpoint(way: Way) -> AsyncIterator[Endpoint]:
    """The default deployment, without timers."""
    upstream = PlayedUpstream(scene_for(way, answer(HELLO)))
    async with calling(app_over(upstream)) as client:
        yield Endpoint(way, client, upstream)


# -- paths


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/", "/v1/v1", "//v1/", "/a/b%2Fc/€", "/v1/x y"])
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("end", ["", "/", "//", "?", "?a=1&b=%20", "/?api-version=2024-10-21"])
async def test_every_path_that_people_paste_is_answered(
    endpoint: Endpoint, prefix: str, times: int, end: str
) -> None:
    """Any prefix, the suffix once or more, slashes and a query: each is answered."""
    path = f"{prefix}/{endpoint.path.removeprefix('/v1/')}"
    response = await endpoint.post(path + endpoint.way.dialect.path * (times - 1) + end)
    assert response.status_code == 200, response.text
    assert endpoint.way.stream(response.content).text == HELLO


@pytest.mark.parametrize(
    ("path", "way"),
    [("/v1/responses/chat/completions", CHAT), ("/v1/chat/completions/responses", RESPONSES)],
    ids=str,
)
async def test_the_last_suffix_decides(path: str, way: Way) -> None:
    """The platform appends its suffix to whatever was pasted."""
    async with calling(app_over(PlayedUpstream(answer(HELLO)))) as client:
        response = await client.post(path, json=way.body())
    assert way.stream(response.content).text == HELLO


# -- headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"accept": "application/json"},
        {"accept": "text/html"},
        {"accept-encoding": "gzip, br"},
        {"content-type": "text/plain"},
        {"system__conversation_id": "conv_1", "x-anything": b"\xc3\xbc"},
    ],
    ids=repr,
)
@pytest.mark.parametrize("stream", [True, False, None])
async def test_the_body_alone_decides_about_streaming(
    endpoint: Endpoint, headers: dict[str, Any], stream: bool | None
) -> None:
    """No header decides it; the stream is never compressed and never cached."""
    response = await endpoint.post(headers=headers, stream=stream)
    assert response.status_code == 200
    kind = response.headers["content-type"]
    if stream:
        assert kind.startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.content.rstrip().endswith(b"data: [DONE]")
    else:
        assert kind == "application/json"
    assert "content-encoding" not in response.headers
    assert endpoint.upstream.requests[-1].json["stream"] is bool(stream)


# -- histories

CALLS = history.called("look_up", '{"q": "a"}')
RESULT = history.result("found")
HISTORIES: dict[str, Sequence[Mapping[str, Any]]] = {
    "only a system prompt": [SYSTEM],
    "two system prompts": [SYSTEM, USER, SYSTEM],
    "no system prompt": [USER],
    "begins with the assistant": [{"role": "assistant", "content": "Hello, Ada here."}, USER],
    "ends with the assistant": [SYSTEM, USER, {"role": "assistant", "content": "Let me see."}],
    "only the assistant": [{"role": "assistant", "content": "Hello, Ada here."}],
    "ends with a result": [SYSTEM, USER, CALLS, RESULT],
    "ends with a call": [SYSTEM, USER, CALLS],
    "text and a call": [SYSTEM, USER, {**CALLS, "content": "One moment."}, RESULT, USER],
    "two users running": [SYSTEM, USER, USER],
    "silence": [SYSTEM, USER, {"role": "user", "content": "..."}],
    "cut to a word": [SYSTEM, USER, {"role": "assistant", "content": "We"}, USER],
    "a developer": [{"role": "developer", "content": "Be brief."}, USER],
    "emoji and nulls": [{"role": "user", "content": "👍🏽 \u0000 שלום\u2028"}],
    "very long": [{"role": "system", "content": "x€" * 500_000}, USER],
}


@pytest.mark.parametrize("name", HISTORIES)
async def test_histories_that_break_naive_servers_are_answered(
    endpoint: Endpoint, name: str
) -> None:
    """Each is answered, and reaches the model in order, unchanged but for a missing result."""
    messages = HISTORIES[name]
    received = await endpoint.model_receives(
        instructions=ABSENT, **history.of(endpoint.way, messages)
    )
    expected = []
    for message in messages:
        role, text = message["role"], message.get("content") or ""
        if endpoint.way is OVER_CHAT and role == "developer":
            role = "system"  # Servers without `/responses` do not know this newer role either.
        calls = message.get("tool_calls")
        if "messages" in received:
            expected.append((role, text))
        elif role == "tool":
            expected.append(("function_call_output", ""))
        else:
            expected += [(role, text)] if text else []
            expected += [("function_call", "")] if calls else []
    if messages[-1] is CALLS:
        over_items = "input" in received
        expected.append(("function_call_output", "") if over_items else ("tool", INTERRUPTED))
    assert history.told(received) == expected


async def test_a_text_cut_in_mid_character_is_answered(endpoint: Endpoint) -> None:
    """The platform sends it for the whole call, as an escape or as bytes that are no UTF-8."""
    for half in (rb"\ud83d", b"\xf0\x9f"):
        user = {"role": "user", "content": "Hi HALF"}
        body = json.dumps(endpoint.way.body(**history.of(endpoint.way, [user]))).encode()
        response = await endpoint.client.post(
            endpoint.path,
            content=body.replace(b"HALF", half),
            headers={"content-type": "application/json"},
        )
        assert response.status_code == 200
        received = endpoint.upstream.requests[-1].json
        assert history.told(received)[-1] == ("user", "Hi \ufffd")


async def test_a_call_without_content_keeps_its_result(endpoint: Endpoint) -> None:
    """A message whose content is null keeps its calls, and their result follows."""
    received = await endpoint.model_receives(**history.of(endpoint.way, [USER, CALLS, RESULT]))
    if "messages" in received:
        _, calls, result = received["messages"][-3:]
        assert calls["content"] is None
        assert calls["tool_calls"] == CALLS["tool_calls"]
        assert result == RESULT
    else:
        assert [item["type"] for item in received["input"][-2:]] == [
            "function_call",
            "function_call_output",
        ]


PARTS = {"chat": "text", "responses": "input_text", "responses over chat": "input_text"}


async def test_content_may_be_parts(endpoint: Endpoint) -> None:
    """Lists of text parts, typed as the caller's API has them."""
    kind = PARTS[endpoint.way.name]
    parts = [{"type": kind, "text": "What "}, {"type": kind, "text": "now?"}]
    users = [{"role": "user", "content": parts}]
    received = await endpoint.model_receives(**history.of(endpoint.way, users))
    assert "".join(history.told(received)[-1][1].split()) == "Whatnow?"


async def test_an_input_may_be_a_string() -> None:
    """This is the Responses API's shortest request."""
    for way in (RESPONSES, OVER_CHAT):
        upstream = PlayedUpstream(scene_for(way, answer(HELLO)))
        async with calling(app_over(upstream)) as client:
            await Endpoint(way, client, upstream).model_receives(input="Hello?")
        assert history.told(upstream.requests[-1].json)[-1] == ("user", "Hello?")


# -- fields

PLATFORM_ONLY = {
    "elevenlabs_extra_body": {"anything": [1, {"a": None}]},
    "user_id": "user_1",
    "call": {"id": "1", "type": "webCall"},
    "phoneNumber": {"number": "+15550100"},
    "customer": {"name": "Kim"},
    "assistant": {"id": "a"},
    "timestamp": 1_795_338_000_000,
    "conversation_id": "conv_1",
    "no_such_field": {"deeply": ["nested"]},
    "": 1,
}


@pytest.mark.parametrize("stream", [True, False])
async def test_fields_of_platforms_do_not_reach_the_model(endpoint: Endpoint, stream: bool) -> None:
    """Strict upstreams answer 400 to fields that they do not know."""
    received = await endpoint.model_receives(stream=stream, **PLATFORM_ONLY)
    assert not received.keys() & PLATFORM_ONLY.keys()


async def test_a_user_is_identified_by_a_hash(endpoint: Endpoint) -> None:
    """The same user always has the same hash, and it does not tell who that is."""
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
    """They keep their types, and an absent field is not made up."""
    given = {"temperature": 0.3, "top_p": 0.9, "parallel_tool_calls": False, "user": "u"}
    received = await endpoint.model_receives(
        tools=[TOOL], tool_choice="auto", service_tier="flex", **given
    )
    assert received.items() >= given.items()
    assert (received["tool_choice"], received["service_tier"]) == ("auto", "flex")
    plain = await endpoint.model_receives()
    assert not plain.keys() & {*given, "tool_choice", "max_tokens", "tools", "service_tier"}


async def test_nulls_are_left_out(endpoint: Endpoint) -> None:
    """A field that is null is not set."""
    nulls = ["temperature", "tools", "tool_choice", "stop", "user", "metadata", "stream_options"]
    received = await endpoint.model_receives(
        **dict.fromkeys([*nulls, "elevenlabs_extra_body", "user_id"])
    )
    assert not any(value is None for value in received.values())
    assert not received.keys() & {*nulls} - {"stream_options"}


async def test_an_empty_list_of_tools_is_left_out(endpoint: Endpoint) -> None:
    """Strict upstreams refuse it, and fields that need tools beside them."""
    received = await endpoint.model_receives(tools=[], tool_choice="auto", parallel_tool_calls=True)
    assert not received.keys() & {"tools", "tool_choice", "parallel_tool_calls"}
    body = {"tools": [], "tool_choice": "none"}
    assert "tools" not in await endpoint.model_receives(**body)


# -- the prompt's cache


async def test_the_cache_key_is_the_conversation(endpoint: Endpoint) -> None:
    """The platform names it in the extra body; a name that is too long is cut."""
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
    """Requests with the same system prompt and tools share it, whatever the rest of the history."""

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
    """It is a mistake in the agent's configuration, and its author is told."""
    error = await endpoint.refusal_of(elevenlabs_extra_body={"buffer_words": "Hang on"})
    assert error["param"] == "elevenlabs_extra_body.buffer_words"
    assert "'elevenlabs_extra_body.buffer_words' must be" in error["message"]


async def test_the_extra_body_is_no_key() -> None:
    """The client writes it, so nothing in it lets anybody in."""
    upstream = PlayedUpstream(answer(HELLO))
    async with calling(app_over(upstream)) as client:
        extra = {"authorization": "Bearer caller-key-for-tests", "api_key": "x", "admin": True}
        body = CHAT.body(elevenlabs_extra_body=extra)
        response = await client.post("/chat/completions", json=body, headers={"authorization": ""})
    assert response.status_code == 401
    assert upstream.requests == []


# -- buffer words in the history


async def test_buffer_words_do_not_reach_the_model(way: Way) -> None:
    """They are taken out of strings and parts; what the model itself said stays unchanged."""
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
    spoken = [text for role, text in history.told(received) if role == "assistant"]
    assert spoken == ["It is sunny.  Really", "It rains."]
    users = [text for role, text in history.told(received) if role == "user"]
    assert users == ["Hello?"] * 3 + [ours, "Hang on... what?"]


# -- what upstreams refuse


def refusing(way: Way, param: str, code: str | None, name: str = "") -> Scene:
    """Return a model that refuses this parameter."""
    name = name or param

    def play(seen: Seen) -> Script:
        if way.over_chat and seen.path == "/responses":
            return refused(404)
        if name in seen.json:
            return refused(400, message=f"Bad {param}.", param=param, code=code)
        return answer(HELLO)

    return play


@pytest.mark.parametrize("code", ["unsupported_parameter", "unsupported_value", None])
async def test_a_parameter_that_a_model_refuses_is_learnt_once(way: Way, code: str | None) -> None:
    """Only the first request is asked twice."""
    upstream = PlayedUpstream(refusing(way, "temperature", code))
    async with calling(app_over(upstream)) as client:
        endpoint = Endpoint(way, client, upstream)
        await endpoint.model_receives(temperature=0.3)
        before = len(upstream.requests)
        await endpoint.model_receives(temperature=0.3)
    assert len(upstream.requests) == before + 1


async def test_a_refusal_is_learnt_of_that_model_only(way: Way) -> None:
    """What one model refuses, another that callers name may need."""
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
    """The parameter is left out of that request, and nothing is learnt from it."""
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
    """`max_tokens` becomes `max_completion_tokens`, and that is learnt once."""
    upstream = PlayedUpstream(refusing(CHAT, "max_tokens", "unsupported_parameter"))
    async with calling(app_over(upstream)) as client:
        endpoint = Endpoint(CHAT, client, upstream)
        assert (await endpoint.model_receives(max_tokens=99))["max_completion_tokens"] == 99
        before = len(upstream.requests)
        assert "max_tokens" not in await endpoint.model_receives(max_tokens=99)
        assert len(upstream.requests) == before + 1


async def test_fields_that_we_added_are_taken_back(way: Way) -> None:
    """After a 400 that names no field, the model is asked without ours, then and ever after."""

    def strict(seen: Seen) -> Script:
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


async def test_a_typical_request_of_a_platform_is_answered(endpoint: Endpoint) -> None:
    """It has everything at once: tools, empty limits, nulls and fields of its own."""
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
