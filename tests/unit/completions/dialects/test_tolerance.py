"""Tolerant at the door: whatever a voice platform sends reaches the model as it should.

Whole requests through the whole app, in both dialects, and over chat where the upstream has no
`/responses`. Bodies that are no requests are `test_app`'s.
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
from completions.dialects.dialect import TOKEN_LIMIT
from completions.keys.keys import Keys
from completions.settings import Settings
from completions.speech.phrases import PHRASES
from tests.support import history
from tests.support.deployment import CALM, calling
from tests.support.in_process import PlayedUpstream
from tests.support.script import Scene, Script, Seen, answer, refused
from tests.support.secrets import CALLER_SECRET, UPSTREAM_SECRET, FakeSecrets
from tests.support.ways import CHAT, OVER_CHAT, RESPONSES, Way

HELLO = "Hello there."
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello?"}
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}


@dataclass
class Door:
    """The app as one way's callers find it."""

    way: Way
    client: httpx2.AsyncClient
    upstream: PlayedUpstream

    @property
    def path(self) -> str:
        """The way's own path."""
        return f"/v1{self.way.dialect.path}"

    async def post(self, path: str = "", headers: Any = None, **fields: Any) -> httpx2.Response:
        """A request that differs from an ordinary one in these fields; None takes one out."""
        body = self.way.body(**fields)
        for name in [name for name, value in fields.items() if value is GONE]:
            body.pop(name, None)
        return await self.client.post(path or self.path, json=body, headers=headers)

    async def talks(self, **fields: Any) -> dict[str, Any]:
        """The same, which must be answered; what the model was sent at last."""
        response = await self.post(**fields)
        assert response.status_code == 200, response.text
        if response.headers["content-type"].startswith("text/event-stream"):
            assert self.way.stream(response.content).text == HELLO
        else:
            assert HELLO in response.text
        return self.upstream.requests[-1].json

    async def refuses(self, **fields: Any) -> dict[str, Any]:
        """The same, which must be a 400 without a question to the model; its error."""
        response = await self.post(**fields)
        assert response.status_code == 400, response.text
        assert self.upstream.requests == []
        error: dict[str, Any] = response.json()["error"]
        assert error["type"] == "invalid_request_error"
        return error


GONE: Any = object()


def app_of(upstream: PlayedUpstream, **settings: Any) -> Any:
    """The whole application over a played model."""
    keys = Keys(CALLER_SECRET, UPSTREAM_SECRET, ttl_s=300, connect=FakeSecrets().connect)
    if "fallback" in upstream.names:
        settings["fallback_base_url"] = "http://fallback.invalid/v1"
    given: dict[str, Any] = {"upstream_base_url": "http://primary.invalid/v1", **CALM, **settings}
    return create_app(Settings(**given), keys, upstream)  # type: ignore[arg-type]


def scene_of(way: Way, script: Script) -> Scene:
    """The script, by an upstream that has this way's endpoint or has not."""

    def play(seen: Seen) -> Script:
        return refused(404) if way.over_chat and seen.path == "/responses" else script

    return play


@pytest.fixture
async def door(way: Way) -> AsyncIterator[Door]:
    """A deployment as it is by default, without timers."""
    upstream = PlayedUpstream(scene_of(way, answer(HELLO)))
    async with calling(app_of(upstream)) as client:
        yield Door(way, client, upstream)


# -- paths


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/", "/v1/v1", "//v1/", "/a/b%2Fc/€", "/v1/x y"])
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("end", ["", "/", "//", "?", "?a=1&b=%20", "/?api-version=2024-10-21"])
async def test_every_path_that_people_paste(door: Door, prefix: str, times: int, end: str) -> None:
    """Any prefix, the suffix once or more, slashes and a query: all of them talk."""
    path = f"{prefix}/{door.path.removeprefix('/v1/')}"
    response = await door.post(path + door.way.dialect.path * (times - 1) + end)
    assert response.status_code == 200, response.text
    assert door.way.stream(response.content).text == HELLO


@pytest.mark.parametrize(
    ("path", "way"),
    [("/v1/responses/chat/completions", CHAT), ("/v1/chat/completions/responses", RESPONSES)],
    ids=str,
)
async def test_the_last_suffix_decides(path: str, way: Way) -> None:
    """The platform appends its own to whatever was pasted."""
    async with calling(app_of(PlayedUpstream(answer(HELLO)))) as client:
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
    door: Door, headers: dict[str, Any], stream: bool | None
) -> None:
    """No header does; the stream is never compressed and never cached."""
    response = await door.post(headers=headers, stream=stream)
    assert response.status_code == 200
    kind = response.headers["content-type"]
    if stream:
        assert kind.startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.content.rstrip().endswith(b"data: [DONE]")
    else:
        assert kind == "application/json"
    assert "content-encoding" not in response.headers
    assert door.upstream.requests[-1].json["stream"] is bool(stream)


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
async def test_every_history_that_breaks_naive_servers(door: Door, name: str) -> None:
    """Each is answered, and reaches the model in its order and to the letter."""
    messages = HISTORIES[name]
    asked = await door.talks(instructions=GONE, **history.of(door.way, messages))
    expected = []
    for message in messages:
        role, text = message["role"], message.get("content") or ""
        if door.way is OVER_CHAT and role == "developer":
            role = "system"  # What has no `/responses` does not know the newer role, either.
        calls = message.get("tool_calls")
        if "messages" in asked:
            expected.append((role, text))
        elif role == "tool":
            expected.append(("function_call_output", ""))
        else:
            expected += [(role, text)] if text else []
            expected += [("function_call", "")] if calls else []
    assert history.told(asked) == expected


async def test_content_null_beside_a_call(door: Door) -> None:
    """The call and its result stay together."""
    asked = await door.talks(**history.of(door.way, [USER, CALLS, RESULT]))
    if "messages" in asked:
        _, calls, result = asked["messages"][-3:]
        assert calls["content"] is None
        assert calls["tool_calls"] == CALLS["tool_calls"]
        assert result == RESULT
    else:
        assert [item["type"] for item in asked["input"][-2:]] == [
            "function_call",
            "function_call_output",
        ]


PARTS = {"chat": "text", "responses": "input_text", "responses over chat": "input_text"}


async def test_content_as_parts(door: Door) -> None:
    """Lists of text parts, in the words of the API that the caller uses."""
    kind = PARTS[door.way.name]
    parts = [{"type": kind, "text": "What "}, {"type": kind, "text": "now?"}]
    users = [{"role": "user", "content": parts}]
    asked = await door.talks(**history.of(door.way, users))
    assert "".join(history.told(asked)[-1][1].split()) == "Whatnow?"


async def test_an_input_that_is_a_string() -> None:
    """The Responses API's shortest request."""
    for way in (RESPONSES, OVER_CHAT):
        upstream = PlayedUpstream(scene_of(way, answer(HELLO)))
        async with calling(app_of(upstream)) as client:
            await Door(way, client, upstream).talks(input="Hello?")
        assert history.told(upstream.requests[-1].json)[-1] == ("user", "Hello?")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": " \n"},
        {"role": "assistant", "content": None},
        {"role": "assistant"},
        {"role": "assistant", "content": []},
        {"role": "assistant", "content": [{"type": "text", "text": ""}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "content": "", "tool_calls": None, "refusal": None},
    ],
    ids=repr,
)
async def test_what_was_never_said_is_not_sent(message: Mapping[str, Any]) -> None:
    """Turns cut to nothing by an interruption: strict upstreams answer 400 to them."""
    upstream = PlayedUpstream(answer(HELLO))
    async with calling(app_of(upstream)) as client:
        asked = await Door(CHAT, client, upstream).talks(messages=[USER, message, USER])
    assert asked["messages"] == [USER, USER]


async def test_nothing_said_at_all_is_a_request_all_the_same() -> None:
    """An empty list would be refused."""
    upstream = PlayedUpstream(answer(HELLO))
    async with calling(app_of(upstream)) as client:
        silent = {"role": "assistant", "content": ""}
        asked = await Door(CHAT, client, upstream).talks(messages=[silent])
    assert len(asked["messages"]) == 1


async def test_nulls_in_messages_are_left_out() -> None:
    """As serialisers write what is not set; `content` must be there all the same."""
    upstream = PlayedUpstream(answer(HELLO))
    nulls = {"name": None, "tool_calls": None, "function_call": None, "refusal": None}
    said = [
        {"role": "user", "content": None, **nulls},
        {"role": "assistant", "content": "Hello.", **nulls},
        {**CALLS, "name": None},
        {**RESULT, "content": None, "name": None},
    ]
    async with calling(app_of(upstream)) as client:
        asked = await Door(CHAT, client, upstream).talks(messages=said)
    assert asked["messages"] == [
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "Hello."},
        CALLS,
        {**RESULT, "content": ""},
    ]


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
async def test_what_only_platforms_know_stays_here(door: Door, stream: bool) -> None:
    """Strict upstreams answer 400 to fields that they do not know."""
    asked = await door.talks(stream=stream, **PLATFORM_ONLY)
    assert not asked.keys() & PLATFORM_ONLY.keys()


async def test_a_user_is_known_by_a_hash(door: Door) -> None:
    """The same user has always the same one; it tells nobody who it is."""
    seen = [
        (await door.talks(user_id=user)).get("safety_identifier")
        for user in ("kim@example.com", "kim@example.com", "lee@example.com", 7, "7", None, "")
    ]
    assert seen[0] == seen[1] == hashlib.sha256(b"kim@example.com").hexdigest()[:32]
    assert len({seen[0], seen[2], seen[3]}) == 3
    assert (seen[3], seen[5], seen[6]) == (seen[4], None, None)


async def test_a_callers_own_identifier_stays(door: Door) -> None:
    """What OpenAI's own clients send is theirs."""
    asked = await door.talks(user_id="kim", safety_identifier="mine")
    assert asked["safety_identifier"] == "mine"


LIMITS: list[tuple[Any, int | None]] = [
    (-1, None),
    (0, None),
    (None, None),
    (1, 1),
    (5000, 5000),
    (5000.0, 5000),
    (0.5, 1),
    (10**9, TOKEN_LIMIT),
    (1e300, TOKEN_LIMIT),
]


@pytest.mark.parametrize(("given", "sent"), LIMITS)
async def test_token_limits_are_limits(door: Door, given: Any, sent: int | None) -> None:
    """-1, 0 and null mean none; more than any voice answer needs is clamped."""
    asked = await door.talks(max_tokens=given)
    name = "max_output_tokens" if door.way is RESPONSES else "max_tokens"
    assert asked.get(name) == sent
    if door.way is CHAT:
        asked = await door.talks(max_completion_tokens=given)
        assert asked.get("max_completion_tokens") == sent
    else:
        asked = await door.talks(max_output_tokens=given)
        assert asked.get(name) == sent


async def test_known_fields_arrive_as_they_are(door: Door) -> None:
    """With their types; an absent one is not made up."""
    given = {"temperature": 0.3, "top_p": 0.9, "parallel_tool_calls": False, "user": "u"}
    asked = await door.talks(tools=[TOOL], tool_choice="auto", service_tier="flex", **given)
    assert asked.items() >= given.items()
    assert (asked["tool_choice"], asked["service_tier"]) == ("auto", "flex")
    plain = await door.talks()
    assert not plain.keys() & {*given, "tool_choice", "max_tokens", "tools", "service_tier"}


async def test_nulls_are_left_out(door: Door) -> None:
    """A field that is null is one that is not set."""
    nulls = ["temperature", "tools", "tool_choice", "stop", "user", "metadata", "stream_options"]
    asked = await door.talks(**dict.fromkeys([*nulls, "elevenlabs_extra_body", "user_id"]))
    assert not any(value is None for value in asked.values())
    assert not asked.keys() & {*nulls} - {"stream_options"}


async def test_no_tools_are_no_tools(door: Door) -> None:
    """An empty list, and what only makes sense beside tools, is refused by strict upstreams."""
    asked = await door.talks(tools=[], tool_choice="auto", parallel_tool_calls=True)
    assert not asked.keys() & {"tools", "tool_choice", "parallel_tool_calls"}
    body = {"tools": [], "tool_choice": "none"}
    assert "tools" not in await door.talks(**body)


async def test_usage_is_always_asked_for_and_told_to_who_asked() -> None:
    """A stream's usage comes only when wanted, in the last chunk, with no choices."""
    upstream = PlayedUpstream(answer(HELLO))
    async with calling(app_of(upstream)) as client:
        door = Door(CHAT, client, upstream)
        for options in (None, {}, {"include_usage": False}, {"include_usage": True}):
            response = await door.post(stream_options=options)
            assert upstream.requests[-1].json["stream_options"]["include_usage"] is True
            wanted = bool(options and options.get("include_usage"))
            assert (CHAT.stream(response.content).usage is not None) is wanted
        await door.talks(stream=False, stream_options={"include_usage": True})
        assert "stream_options" not in upstream.requests[-1].json


@pytest.mark.parametrize(("given", "sent"), [(None, False), (False, False), (True, True)])
async def test_responses_are_not_stored(given: bool | None, sent: bool) -> None:
    """Unless the caller says so; a phone call is nothing to keep."""
    upstream = PlayedUpstream(answer(HELLO))
    async with calling(app_of(upstream)) as client:
        asked = await Door(RESPONSES, client, upstream).talks(store=given)
    assert asked["store"] is sent


# -- the prompt's cache


async def test_the_cache_key_is_the_conversation(door: Door) -> None:
    """As the platform names it in the extra body; one that is too long is cut."""
    for name in ("conversation_id", "system__conversation_id"):
        asked = await door.talks(elevenlabs_extra_body={name: "conv_1"})
        assert asked["prompt_cache_key"] == "conv_1"
    asked = await door.talks(elevenlabs_extra_body={"conversation_id": "c" * 65})
    assert asked["prompt_cache_key"] == "c" * 64
    asked = await door.talks(
        prompt_cache_key="mine", elevenlabs_extra_body={"conversation_id": "c"}
    )
    assert asked["prompt_cache_key"] == "mine"


async def test_without_a_conversation_it_is_the_prompt(door: Door) -> None:
    """Requests that share system prompt and tools share it, whatever was said."""

    async def key(prompt: str, words: str, *tools: Any) -> str:
        messages = [{"role": "system", "content": prompt}, {"role": "user", "content": words}]
        asked = await door.talks(tools=tools, instructions=GONE, **history.of(door.way, messages))
        return str(asked["prompt_cache_key"])

    base = await key("Be brief.", "One?", TOOL)
    assert await key("Be brief.", "Two?", TOOL) == base
    assert await key("Be long.", "One?", TOOL) != base
    assert await key("Be brief.", "One?") != base
    assert len(base) <= 64


# -- what the deployment adds


async def test_the_deployment_names_the_model_and_adds_fields(way: Way) -> None:
    """Its model replaces the caller's, its fields win; the fallback has its own."""
    upstream = PlayedUpstream(
        refused(404 if way.over_chat else 503), fallback=scene_of(way, answer(HELLO))
    )
    settings = {
        "upstream_model": "large",
        "fallback_model": "small",
        "upstream_extra_body": {"service_tier": "priority", "temperature": 1},
        "fallback_extra_body": {"reasoning_effort": "low"},
    }
    async with calling(app_of(upstream, **settings)) as client:
        await Door(way, client, upstream).post(temperature=0.3)
    first, last = upstream.requests[0].json, upstream.requests[-1].json
    assert (first["model"], first["service_tier"], first["temperature"]) == ("large", "priority", 1)
    if upstream.requests[-1].candidate == "fallback":
        assert (last["model"], last["reasoning_effort"]) == ("small", "low")
        assert (last["temperature"], "service_tier" in last) == (0.3, False)


async def test_the_callers_model_is_kept_where_none_is_named(door: Door) -> None:
    """A deployment may serve several agents with several models."""
    assert (await door.talks(model="gpt-of-mine"))["model"] == "gpt-of-mine"


async def test_no_model_is_for_the_upstream_to_complain_of(door: Door) -> None:
    """Some upstreams serve one and need no name."""
    assert (await door.talks(model=GONE))["model"] == ""


# -- the extra body

EXTRA = "elevenlabs_extra_body"


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ("x", EXTRA),
        ([], EXTRA),
        (5, EXTRA),
        (True, EXTRA),
        ({"buffer_words": "Hang on"}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": {"a": 1}}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": [1]}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": [None]}, f"{EXTRA}.buffer_words"),
        ({"buffer_words": ["Hang on", " "]}, f"{EXTRA}.buffer_words"),
        ({"buffer_words_after_ms": "1500"}, f"{EXTRA}.buffer_words_after_ms"),
        ({"buffer_words_after_ms": True}, f"{EXTRA}.buffer_words_after_ms"),
        ({"buffer_words_after_ms": -1}, f"{EXTRA}.buffer_words_after_ms"),
        ({"buffer_words_after_ms": 10**20}, f"{EXTRA}.buffer_words_after_ms"),
        ({"buffer_words_after_ms": [1]}, f"{EXTRA}.buffer_words_after_ms"),
        ({"language": 5}, f"{EXTRA}.language"),
        ({"language": ["de"]}, f"{EXTRA}.language"),
        ({"language": False}, f"{EXTRA}.language"),
    ],
    ids=repr,
)
async def test_a_wrong_setting_of_an_agent_names_its_field(
    door: Door, extra: Any, param: str
) -> None:
    """It is a mistake in the agent's configuration, and is not kept from its author."""
    error = await door.refuses(elevenlabs_extra_body=extra)
    assert error["param"] == param
    assert f"'{param}' must be" in error["message"]


@pytest.mark.parametrize(
    "extra",
    [
        None,
        {},
        {"buffer_words": None, "buffer_words_after_ms": None, "language": None},
        {"buffer_words": [], "buffer_words_after_ms": 0, "language": ""},
        {"buffer_words": ["Hang on"], "buffer_words_after_ms": 60_000, "language": "de"},
        {"unknown": {"nested": [1, None]}, "Language": 5, "": 0},
        {"conversation_id": 5},
        {"conversation_id": {"a": 1}},
    ],
    ids=repr,
)
async def test_what_an_agent_may_set_is_taken(door: Door, extra: Any) -> None:
    """Nulls and unknown keys are nothing; none of it reaches the model."""
    asked = await door.talks(elevenlabs_extra_body=extra)
    assert EXTRA not in asked


async def test_the_extra_body_is_no_key() -> None:
    """It comes from the client: nothing in it lets anybody in."""
    upstream = PlayedUpstream(answer(HELLO))
    async with calling(app_of(upstream)) as client:
        extra = {"authorization": "Bearer caller-key-for-tests", "api_key": "x", "admin": True}
        body = CHAT.body(elevenlabs_extra_body=extra)
        response = await client.post("/chat/completions", json=body, headers={"authorization": ""})
    assert response.status_code == 401
    assert upstream.requests == []


# -- the history's own words


async def test_words_of_ours_do_not_reach_the_model(way: Way) -> None:
    """As strings and as parts; what the assistant said itself stays to the letter."""
    ours = PHRASES["en"].buffer[0]
    upstream = PlayedUpstream(scene_of(way, answer(HELLO)))
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
    async with calling(app_of(upstream)) as client:
        asked = await Door(way, client, upstream).talks(**history.of(way, messages))
    said = [text for role, text in history.told(asked) if role == "assistant"]
    assert said == ["It is sunny.  Really", "It rains."]
    users = [text for role, text in history.told(asked) if role == "user"]
    assert users == ["Hello?"] * 3 + [ours, "Hang on... what?"]


# -- what upstreams refuse


def refusing(way: Way, param: str, code: str | None, name: str = "") -> Scene:
    """A model that takes everything but this."""
    name = name or param

    def play(seen: Seen) -> Script:
        if way.over_chat and seen.path == "/responses":
            return refused(404)
        if name in seen.json:
            return refused(400, message=f"Bad {param}.", param=param, code=code)
        return answer(HELLO)

    return play


@pytest.mark.parametrize("code", ["unsupported_parameter", "unsupported_value", None])
async def test_what_a_model_does_not_take_is_learnt_once(way: Way, code: str | None) -> None:
    """The first request pays for it, no later one does."""
    upstream = PlayedUpstream(refusing(way, "temperature", code))
    async with calling(app_of(upstream)) as client:
        door = Door(way, client, upstream)
        await door.talks(temperature=0.3)
        asked = len(upstream.requests)
        await door.talks(temperature=0.3)
    assert len(upstream.requests) == asked + 1


async def test_it_is_learnt_of_that_model_only(way: Way) -> None:
    """Where callers name the model, what one refuses another may need."""
    upstream = PlayedUpstream(refusing(way, "temperature", "unsupported_parameter"))
    async with calling(app_of(upstream)) as client:
        door = Door(way, client, upstream)
        await door.talks(model="thinker", temperature=0.3)
        upstream.stage("upstream").plays(scene_of(way, answer(HELLO)))
        assert (await door.talks(model="talker", temperature=0.3))["temperature"] == 0.3
        assert "temperature" not in await door.talks(model="thinker", temperature=0.3)


async def test_one_callers_bad_value_is_not_every_callers(way: Way) -> None:
    """It is left out of this request, and nothing is learnt from it."""
    refuses = refusing(way, "temperature", "decimal_above_max_value")
    upstream = PlayedUpstream(refuses)
    async with calling(app_of(upstream)) as client:
        door = Door(way, client, upstream)
        await door.talks(temperature=5)
        upstream.stage("upstream").plays(scene_of(way, answer(HELLO)))
        assert (await door.talks(temperature=0.3))["temperature"] == 0.3


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
    """The upstream's 400 is passed on: an agent without its tools would be worse, and silent."""
    upstream = PlayedUpstream(refusing(way, param, code, name="tools"))
    async with calling(app_of(upstream)) as client:
        door = Door(way, client, upstream)
        response = await door.post(tools=[TOOL])
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param
        upstream.stage("upstream").plays(scene_of(way, answer(HELLO)))
        assert "tools" in await door.talks(tools=[TOOL])


async def test_a_limit_goes_by_the_name_that_the_model_knows() -> None:
    """`max_tokens` ↔ `max_completion_tokens`, learnt once; refused under both it is left out."""
    upstream = PlayedUpstream(refusing(CHAT, "max_tokens", "unsupported_parameter"))
    async with calling(app_of(upstream)) as client:
        door = Door(CHAT, client, upstream)
        assert (await door.talks(max_tokens=99))["max_completion_tokens"] == 99
        asked = len(upstream.requests)
        assert "max_tokens" not in await door.talks(max_tokens=99)
        assert len(upstream.requests) == asked + 1


async def test_what_we_added_is_taken_back(way: Way) -> None:
    """A 400 that names nothing: once more without our own fields, and never again with them."""

    def strict(seen: Seen) -> Script:
        if way.over_chat and seen.path == "/responses":
            return refused(404)
        ours = {"safety_identifier", "prompt_cache_key", "stream_options"} & seen.json.keys()
        return refused(400, message=f"Extra inputs: {ours}") if ours else answer(HELLO)

    upstream = PlayedUpstream(strict)
    async with calling(app_of(upstream)) as client:
        door = Door(way, client, upstream)
        await door.talks(user_id="kim")
        asked = len(upstream.requests)
        await door.talks(user_id="kim")
    assert len(upstream.requests) == asked + 1


async def test_a_refusal_without_remedy_is_passed_on(door: Door) -> None:
    """Status, message, param and code are the upstream's."""
    script = refused(400, message="Too long.", param="messages", code="context_length_exceeded")
    door.upstream.stage("upstream").plays(scene_of(door.way, script))
    response = await door.post()
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["message"], error["param"], error["code"]) == (
        "Too long.",
        "messages",
        "context_length_exceeded",
    )


async def test_a_platforms_whole_request(door: Door) -> None:
    """Everything at once, as a platform sends it."""
    asked = await door.talks(
        tools=[TOOL],
        temperature=0.3,
        max_tokens=-1,
        reasoning_effort=None,
        stream_options={"include_usage": True},
        **PLATFORM_ONLY,
    )
    assert json.dumps(asked["tools"]).count("look_up") == 1
    assert not asked.keys() & {"max_tokens", "reasoning_effort", *PLATFORM_ONLY}
