"""Whatever a voice platform sends, the model receives a request that it understands.

Whole requests through the whole app, in both dialects, and over chat where the upstream has no
`/responses`. Bodies that are no requests belong to `web/test_body.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from completions.dialects.call_pairs import INTERRUPTED
from local.scripted.script import answer
from tests.support import history
from tests.support.deployment import calling
from tests.support.endpoint import ABSENT, HELLO, USER, Endpoint, app_over, scene_for
from tests.support.in_process import PlayedUpstream
from tests.support.ways import CHAT, OVER_CHAT, RESPONSES, Way

SYSTEM = {"role": "system", "content": "Be brief."}

# -- paths


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/", "/v1/v1", "//v1/", "/a/b%2Fc/€", "/v1/x y"])
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("end", ["", "/", "//", "?", "?a=1&b=%20", "/?api-version=2024-10-21"])
async def test_every_path_that_people_paste_is_answered(
    endpoint: Endpoint, prefix: str, times: int, end: str
) -> None:
    """Any prefix, the suffix once or more, extra slashes and a query work."""
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
async def test_only_the_body_decides_about_streaming(
    endpoint: Endpoint, headers: dict[str, Any], stream: bool | None
) -> None:
    """Headers do not; the stream is never compressed and never cached."""
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
    """They reach the model in order, unchanged but for a missing result."""
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
    assert history.texts(received) == expected


async def test_a_text_cut_in_mid_character_is_answered(endpoint: Endpoint) -> None:
    """The platform repeats such a text all call long, as an escape or as invalid UTF-8."""
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
        assert history.texts(received)[-1] == ("user", "Hi \ufffd")


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
    """The parts have the types of the caller's API."""
    kind = PARTS[endpoint.way.name]
    parts = [{"type": kind, "text": "What "}, {"type": kind, "text": "now?"}]
    users = [{"role": "user", "content": parts}]
    received = await endpoint.model_receives(**history.of(endpoint.way, users))
    assert "".join(history.texts(received)[-1][1].split()) == "Whatnow?"


async def test_an_input_may_be_a_string() -> None:
    """This is the Responses API's shortest request."""
    for way in (RESPONSES, OVER_CHAT):
        upstream = PlayedUpstream(scene_for(way, answer(HELLO)))
        async with calling(app_over(upstream)) as client:
            await Endpoint(way, client, upstream).model_receives(input="Hello?")
        assert history.texts(upstream.requests[-1].json)[-1] == ("user", "Hello?")
