"""One request for one model: what is sent, and what is sent again after a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from local.scripted.script import (
    Raw,
    Reply,
    Role,
    Script,
    answer,
    calls,
    refused,
)
from local.scripted.script_player import RecordedRequest, Scene
from tests.support import history
from tests.support.in_process import PlayedUpstream
from tests.support.strict_servers import first_refusal
from tests.support.ways import CHAT, OVER_CHAT, RESPONSES, Way

pytestmark = pytest.mark.looptime

Refuses = Callable[[dict[str, Any]], bool]


def strict(refuses: Refuses, script: Script) -> Scene:
    """Return a model that answers every request that it does not refuse."""

    def scene(seen: RecordedRequest) -> Script:
        return script if refuses(seen.json) else answer("Sunny.")

    return scene


def having(field: str) -> Refuses:
    """Return a refusal of requests with this field."""
    return lambda body: field in body


async def test_a_field_refused_by_name_is_left_out(way: Way) -> None:
    """Once refused, it is not sent in later turns."""
    script = refused(400, param="temperature", message="Unsupported parameter.")
    upstream = PlayedUpstream(strict(having("temperature"), script))
    caller = way.caller(upstream)
    for _ in range(2):
        got = way.read(await way.post(caller, way.body(temperature=0.5)))
        assert got.text == "Sunny."
    sent = ["temperature" in seen.json for seen in upstream.requests]
    assert sent == [True, False, False]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_field_refused_by_a_path_into_it_is_left_out(way: Way, stream: bool) -> None:
    """A refusal of `metadata.a` counts for `metadata`."""
    script = refused(422, param="metadata.a")
    upstream = PlayedUpstream(strict(having("metadata"), script))
    # Over chat no metadata is sent.
    got = way.read(
        await way.post(
            way.caller(upstream), way.body(metadata={"a": "b"}, store=True, stream=stream)
        )
    )
    assert got.text == "Sunny."


@pytest.mark.parametrize(
    ("given", "other"),
    [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")],
)
async def test_a_token_limit_is_sent_under_its_other_name(given: str, other: str) -> None:
    """Newer models know only one name, older servers only the other; the limit stays the same."""
    upstream = PlayedUpstream(strict(having(given), refused(400, param=given)))
    caller = CHAT.caller(upstream)
    for _ in range(2):
        got = CHAT.read(await CHAT.post(caller, CHAT.body() | {given: 50}))
        assert got.text == "Sunny."
    assert [seen.json.get(given) for seen in upstream.requests] == [50, None, None]
    assert [seen.json.get(other) for seen in upstream.requests] == [None, 50, 50]


async def test_a_limit_refused_under_both_names_is_left_out() -> None:
    """After three requests the caller hears an answer."""
    upstream = PlayedUpstream(
        refused(400, param="max_tokens"),
        refused(400, param="max_completion_tokens"),
        answer("Sunny."),
    )
    got = CHAT.read(await CHAT.post(CHAT.caller(upstream), CHAT.body(max_tokens=50)))
    assert got.text == "Sunny."
    assert not {"max_tokens", "max_completion_tokens"} & upstream.requests[2].json.keys()


@pytest.mark.parametrize("status", [400, 422])
async def test_a_refusal_without_a_name_removes_what_we_added(way: Way, status: int) -> None:
    """That is done once, and a caller's own fields are kept."""
    upstream = PlayedUpstream(strict(having("prompt_cache_key"), refused(status)))
    caller = way.caller(upstream)
    for _ in range(2):
        got = way.read(await way.post(caller, way.body(temperature=0.5, user_id="u")))
        assert got.text == "Sunny."
    first, second, third = (seen.json for seen in upstream.requests)
    added = first.keys() - second.keys()
    assert {"prompt_cache_key", "safety_identifier"} <= added
    assert second.keys() == third.keys()
    assert second["temperature"] == 0.5
    assert second["stream"] is True


async def test_a_guess_that_did_not_help_is_forgotten(way: Way) -> None:
    """If the second request is refused, too, the next turn sends all fields again."""
    upstream = PlayedUpstream(refused(400), refused(400), answer("Sunny."))
    caller = way.caller(upstream)
    heard = await way.post(caller, on_failure="error")
    assert heard.status == 400
    assert way.read(await way.post(caller)).text == "Sunny."
    first, second, third = (seen.json.keys() for seen in upstream.requests)
    assert "prompt_cache_key" in first - second
    assert third == first


async def test_a_callers_mistake_is_reported_to_the_caller(way: Way) -> None:
    """A required field is never left out, and nothing is learnt."""
    for param in ("messages", "input", "messages[3].content", "model", "input[2]"):
        upstream = PlayedUpstream(refused(400, param=param, message="Wrong."))
        heard = await way.post(way.caller(upstream), on_failure="error")
        got = way.read(heard)
        assert heard.status == 400
        assert got.error is not None
        assert (got.error["message"], got.error["param"]) == ("Wrong.", param)
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [400, 422, 500])
async def test_a_history_that_a_model_refuses_is_adapted(way: Way, status: int) -> None:
    """Once refused, its shape is not sent in later turns, whatever the refusal's status."""

    def history(seen: RecordedRequest) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = seen.json.get("messages") or seen.json["input"]
        return sent

    def scene(seen: RecordedRequest) -> Script:
        told = any(message.get("role") == "developer" for message in history(seen))
        return refused(status, message="Unknown role: developer") if told else answer("Sunny.")

    upstream = PlayedUpstream(scene)
    caller = way.caller(upstream)
    request = way.body(history=[("developer", "Be short."), ("user", "Hi.")])
    for _ in range(2):
        assert way.read(await way.post(caller, request)).text == "Sunny."
    # Over chat this role is never sent.
    assert len(upstream.requests) == (2 if way is OVER_CHAT else 3)
    assert all("Be short." in str(history(seen)) for seen in upstream.requests)


async def test_two_shapes_refused_in_sequence_cost_one_turn() -> None:
    """A turn's three requests are enough, and each has the whole conversation."""

    def scene(seen: RecordedRequest) -> Script:
        refusal = first_refusal("Mistral", seen.json["messages"])
        return refused(400, message=refusal) if refusal else answer("Sunny.")

    upstream = PlayedUpstream(scene)
    caller = CHAT.caller(upstream)
    called = history.called("look_up", '{"q": "city one"}', "call_abc")
    messages = [
        {"role": "user", "content": "word two"},
        called,
        {"role": "user", "content": "word three"},
        {"role": "assistant", "content": "word four"},
    ]
    for requests in (3, 4):
        heard = await CHAT.post(caller, CHAT.body(messages=messages))
        assert CHAT.read(heard).text == "Sunny."
        assert len(upstream.requests) == requests
    phrases = ("city one", "word two", "word three", "word four")
    assert all(word in str(seen.json) for word in phrases for seen in upstream.requests)


async def test_lessons_are_kept_for_each_model(way: Way) -> None:
    """One model's refusal does not change requests to another."""
    script = refused(400, param="temperature")
    upstream = PlayedUpstream(
        strict(lambda body: body["model"] == "small" and "temperature" in body, script)
    )
    caller = way.caller(upstream)
    for model in ("small", "large", "small"):
        await way.post(caller, way.body(model=model, temperature=0.5))
    sent = [(seen.json["model"], "temperature" in seen.json) for seen in upstream.requests]
    assert sent == [("small", True), ("small", False), ("large", True), ("small", False)]


@pytest.mark.parametrize(
    ("named", "candidate"), [("", "fallback"), ("safety_identifier", "upstream")]
)
async def test_a_waiting_fallback_gets_the_last_request_instead_of_a_guess(
    named: str, candidate: str
) -> None:
    """After a refusal without a field's name it is asked; a named field is left out instead."""

    def scene(seen: RecordedRequest) -> Script:
        if seen.path.endswith("/responses"):
            return refused(404)
        return refused(400, param=named) if "safety_identifier" in seen.json else answer("Sunny.")

    upstream = PlayedUpstream(scene, fallback=answer("Cloudy."))
    request = RESPONSES.body(user_id="u-1")
    got = RESPONSES.read(await RESPONSES.post(RESPONSES.caller(upstream), request))
    assert upstream.requests[-1].candidate == candidate
    assert len(upstream.requests) == 3
    assert got.text == ("Cloudy." if candidate == "fallback" else "Sunny.")


async def test_a_fallback_has_quirks_of_its_own(way: Way) -> None:
    """Of three requests the first fails, and the fallback is asked twice."""
    upstream = PlayedUpstream(
        refused(500), fallback=strict(having("temperature"), refused(400, param="temperature"))
    )
    got = way.read(await way.post(way.caller(upstream), way.body(temperature=0.5)))
    assert got.text == "Sunny."
    assert [seen.candidate for seen in upstream.requests] == ["upstream", "fallback", "fallback"]


async def test_a_model_that_always_refuses_is_asked_three_times(way: Way) -> None:
    """Requests after a refusal count like all others."""
    names = iter(["temperature", "top_p", "tool_choice", "service_tier"])

    def scene(_: RecordedRequest) -> Script:
        return refused(400, param=next(names))

    upstream = PlayedUpstream(scene)
    request = way.body(temperature=1, top_p=1, service_tier="auto", tools=[])
    heard = await way.post(way.caller(upstream), request, on_failure="error")
    assert heard.status == 400
    assert len(upstream.requests) <= 3


async def test_a_request_with_feedback_keeps_what_was_learnt(way: Way) -> None:
    """A field refused the first time is not in the request with the feedback, either."""
    tool = {
        "name": "t",
        "description": "",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    }

    def scene(seen: RecordedRequest) -> Script:
        if "temperature" in seen.json:
            return refused(400, param="temperature")
        return calls("t", {"a": "x"}) if len(upstream.requests) == 2 else answer("Sunny.")

    upstream = PlayedUpstream(scene)
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[tool], temperature=1)))
    assert got.text == "Sunny."
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_a_history_that_ends_with_the_assistant_gets_a_user_turn_if_needed(
    way: Way, stream: bool
) -> None:
    """llama.cpp takes the last turn as complete and answers nothing; others need no change."""

    def scene(seen: RecordedRequest) -> Script:
        sent: list[dict[str, Any]] = seen.json.get("messages") or seen.json["input"]
        return answer("" if sent[-1]["role"] == "assistant" else "Sunny.")

    for turns, requests in (
        ([("user", "Hi."), ("assistant", "Hello.")], 2),
        ([("user", "Hi.")], 1),
    ):
        upstream = PlayedUpstream(scene)
        request = way.body(history=turns, stream=stream)
        got = way.read(await way.post(way.caller(upstream), request))
        assert got.text == "Sunny."
        assert len(upstream.requests) == requests


def says(value: Any, status: int = 400) -> Script:
    """Return a refusal with this body."""
    return [Reply(json.dumps(value).encode(), status)]


FORBIDDEN = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}
SHAPES_OF_A_REFUSAL = [
    {"error": {"message": "Unsupported parameter: 'seed'.", "param": "seed"}},
    [{"error": {"code": 400, "message": 'Unknown name "seed": Cannot find field.'}}],
    {"message": {"detail": [{**FORBIDDEN, "loc": ["body", "seed"]}]}, "param": None},
    {"detail": [{**FORBIDDEN, "loc": ["body", "seed"]}]},
    {"message": json.dumps({"detail": [{**FORBIDDEN, "loc": ["body", "seed"]}]})},
    {"message": "property 'seed' is unsupported", "param": "validation_error"},
    {"error": {"message": "No.", "metadata": {"raw": '{"error": "Unknown field: seed"}'}}},
    {"code": "Invalid argument", "error": "Argument not supported on this model: seed"},
    {"Message": "extraneous key [seed] is not permitted"},
    "Unrecognized request argument supplied: seed",
]


@pytest.mark.parametrize("error", SHAPES_OF_A_REFUSAL, ids=str)
async def test_a_field_is_left_out_whatever_the_refusals_shape(error: Any) -> None:
    """One more request gets the answer, and the next turn gets it at once."""
    upstream = PlayedUpstream(strict(having("seed"), says(error, 422)))
    caller = CHAT.caller(upstream)
    for _ in range(2):
        got = CHAT.read(await CHAT.post(caller, CHAT.body(seed=1, top_p=1)))
        assert got.text == "Sunny."
    assert ["seed" in seen.json for seen in upstream.requests] == [True, False, False]
    assert all("top_p" in seen.json for seen in upstream.requests)


async def test_a_model_that_refuses_field_after_field_costs_one_turn() -> None:
    """The third request has nothing left to refuse, and related fields are dropped from then on."""
    fields = ("max_tokens", "temperature", "top_p", "stop", "presence_penalty", "logit_bias")

    def scene(seen: RecordedRequest) -> Script:
        left = [name for name in fields if name in seen.json]
        return refused(400, param=left[0]) if left else answer("Sunny.")

    upstream = PlayedUpstream(scene)
    caller = CHAT.caller(upstream)
    request = CHAT.body() | dict.fromkeys(fields, 1)
    for requests in (3, 4, 5):
        assert CHAT.read(await CHAT.post(caller, request)).text == "Sunny."
        assert len(upstream.requests) == requests
    assert upstream.requests[-1].json["max_completion_tokens"] == 1


async def test_fields_of_no_family_cost_one_request_each() -> None:
    """A field that the last request left out unasked is sent again, and learnt if it is refused."""
    fields = ("seed", "user", "verbosity")

    def scene(seen: RecordedRequest) -> Script:
        left = [name for name in fields if name in seen.json]
        return refused(400, param=left[0]) if left else answer("Sunny.")

    upstream = PlayedUpstream(scene)
    caller = CHAT.caller(upstream)
    request = CHAT.body() | dict.fromkeys(fields, "1") | {"temperature": 1}
    for requests in (3, 5, 6):
        assert CHAT.read(await CHAT.post(caller, request)).text == "Sunny."
        assert len(upstream.requests) == requests
    assert upstream.requests[-1].json["temperature"] == 1


async def test_a_lesson_is_kept_although_the_turn_failed(way: Way) -> None:
    """The refusal named the field, whatever became of the next request."""
    upstream = PlayedUpstream(refused(400, param="temperature"), refused(401), answer("Sunny."))
    caller = way.caller(upstream)
    await way.post(caller, way.body(temperature=1), on_failure="error")
    assert way.read(await way.post(caller, way.body(temperature=1))).text == "Sunny."
    sent = ["temperature" in seen.json for seen in upstream.requests]
    assert sent == [True, False, False]


async def test_a_refusal_may_come_as_an_event() -> None:
    """A template's refusal within a stream is handled like one by status, before any word."""
    failed = Raw(b'data: {"error":{"code":500,"message":"Jinja Exception: no developer role"}}\n\n')

    def scene(seen: RecordedRequest) -> Script:
        told = any(message["role"] == "developer" for message in seen.json["messages"])
        return [Role(), failed] if told else answer("Sunny.")

    upstream = PlayedUpstream(scene)
    caller = CHAT.caller(upstream)
    told = [("developer", "Be short."), ("user", "Hi.")]
    for _ in range(2):
        got = CHAT.read(await CHAT.post(caller, CHAT.body(history=told)))
        assert got.text == "Sunny."
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_a_model_miswrote_is_asked_for_again(stream: bool) -> None:
    """Groq's API refuses its own model's output; nothing is learnt from that."""
    error = {"message": "Failed to call a function.", "code": "tool_use_failed"}
    upstream = PlayedUpstream(says({"error": error}), answer("Sunny."))
    got = CHAT.read(await CHAT.post(CHAT.caller(upstream), CHAT.body(seed=1, stream=stream)))
    assert got.text == "Sunny."
    first, second = (seen.json for seen in upstream.requests)
    assert first == second


async def test_one_refusal_of_tools_is_not_remembered() -> None:
    """The turn is answered without them, and the next one sends them again."""
    script = refused(400, message="m does not support tools")
    upstream = PlayedUpstream(script, answer("Sunny."), answer("Sunny."))
    caller = CHAT.caller(upstream)
    for _ in range(2):
        request = CHAT.body(tools=[{"name": "t", "parameters": {}}], tool_choice="auto")
        assert CHAT.read(await CHAT.post(caller, request)).text == "Sunny."
    sent = ["tools" in seen.json for seen in upstream.requests]
    assert sent == [True, False, True]
    assert "tool_choice" not in upstream.requests[1].json


async def test_a_known_models_first_request_avoids_its_refusals() -> None:
    """It has only fields that the model is known to accept."""
    upstream = PlayedUpstream(answer("Sunny."))
    request = CHAT.body(model="gpt-5-mini", temperature=0.4, max_tokens=50)
    assert CHAT.read(await CHAT.post(CHAT.caller(upstream), request)).text == "Sunny."
    (seen,) = upstream.requests
    assert not {"temperature", "max_tokens"} & seen.json.keys()
    assert seen.json["max_completion_tokens"] == 50


async def test_the_deployments_fields_win(way: Way) -> None:
    """Its model and its extra body replace the caller's, and `stream` is unchanged."""
    upstream = PlayedUpstream(answer())
    caller = way.caller(
        upstream, upstream_model="gpt-x", upstream_extra_body={"service_tier": "priority"}
    )
    await way.post(caller, way.body(service_tier="flex"))
    body = upstream.requests[0].json
    assert (body["model"], body["stream"]) == ("gpt-x", True)
    assert body["service_tier"] == "priority"


async def test_an_answer_that_fails_after_a_lesson_is_a_failure(way: Way) -> None:
    """The model accepted the request, so the lesson was right, but the body is no answer."""
    upstream = PlayedUpstream(
        refused(400, param="temperature"), [Reply(b"<html>")], [Reply(b"<html>")]
    )
    caller = way.caller(upstream)
    heard = await way.post(caller, way.body(temperature=1), on_failure="error")
    assert heard.status == 502
    assert len(upstream.requests) == 3
