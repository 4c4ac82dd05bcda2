"""What an upstream receives of a Responses request."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from completions.dialects import responses
from completions.dialects.dialect import TOKEN_LIMIT
from tests.support.responses_requests import CALL, FLAT, RESULT, USER, assistant, sent


def test_only_known_fields_reach_the_upstream() -> None:
    """Strict upstreams answer 400 to others; nulls are dropped, too."""
    body = {
        "model": "m",
        "input": "Hi",
        "temperature": 0.5,
        "top_p": None,
        "metadata": {"a": "b"},
        "service_tier": "priority",
        "call": {},
        "phoneNumber": {},
        "customer": {},
        "user_id": "u1",
        "elevenlabs_extra_body": {},
        "background": True,
        "messages": [],
        "stream_options": {"include_usage": True},
        "tools": [],
        "tool_choice": "auto",
        "stream": True,
    }
    got = sent(body)
    assert got.pop("prompt_cache_key")
    assert got == {
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "service_tier": "priority",
        "safety_identifier": hashlib.sha256(b"u1").hexdigest()[:32],
        "stream": True,
    }


def test_obfuscation_may_be_turned_off() -> None:
    """It is the only stream option of this API."""
    options = {"include_obfuscation": False, "include_usage": True}
    body = {"input": "Hi", "stream": True, "stream_options": options}
    assert sent(body)["stream_options"] == {"include_obfuscation": False}
    assert "stream_options" not in sent({**body, "stream": False})


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (-1, None),
        (0, None),
        (None, None),
        (float("nan"), None),
        (0.5, 1),
        (5000, 5000),
        (5000.0, 5000),
        (10**9, TOKEN_LIMIT),
        (float("inf"), TOKEN_LIMIT),
    ],
)
@pytest.mark.parametrize("name", ["max_output_tokens", "max_tokens"])
def test_the_token_limit_is_dropped_or_clamped(name: str, limit: Any, expected: Any) -> None:
    """Platforms send -1 for unlimited; models refuse values beyond their limits."""
    got = sent({"input": "Hi", name: limit})
    assert got.get("max_output_tokens") == expected
    assert "max_tokens" not in got


def test_the_deployments_model_and_fields_win() -> None:
    """`model` replaces the caller's; `extra_body` replaces any field."""
    body = {"model": "agent", "input": "Hi", "temperature": 1}
    got = sent(body, model="gpt", extra_body={"temperature": 0, "store": True})
    assert (got["model"], got["temperature"], got["store"]) == ("gpt", 0, True)


def test_fields_that_we_added_are_listed() -> None:
    """An upstream that refuses them can be asked without them."""
    request = responses.parse({"input": "Hi", "user_id": 7, "prompt_cache_key": "mine"})
    prepared = responses.prepare(request, model="", extra_body={"service_tier": "flex"}, clean=str)
    assert prepared.added == {"safety_identifier", "service_tier"}
    assert prepared.body["prompt_cache_key"] == "mine"


def test_requests_with_the_same_prompt_and_tools_share_a_cache_key() -> None:
    """It is a hash of both, wherever the prompt stands."""
    key = sent({"input": "a", "instructions": "Be brief.", "tools": [FLAT]})["prompt_cache_key"]
    other = sent({"input": "b", "instructions": "Be brief.", "tools": [FLAT]})["prompt_cache_key"]
    third = sent({"input": "b", "instructions": "Be long.", "tools": [FLAT]})["prompt_cache_key"]
    assert key == other != third
    prompts = [[{"role": "system", "content": text}, USER] for text in ("a", "b")]
    first, second = (sent({"input": prompt})["prompt_cache_key"] for prompt in prompts)
    assert first != second


def test_our_own_words_are_taken_out_of_the_history() -> None:
    """Each assistant text passes `clean`, and a message that ends up empty is not sent."""
    items = [
        {**assistant("Hm... Sunny."), "id": None},
        assistant("Hm... "),
        {"role": "assistant", "content": "Hm... "},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "Hm... "},
    ]
    got = sent({"input": items}, clean=lambda text: text.replace("Hm... ", ""))
    assert got["input"] == [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Sunny."}],
        },
        {"type": "message", "role": "user", "content": "Hm... "},
    ]


def test_parts_get_the_type_that_their_role_has() -> None:
    """Strict upstreams refuse an assistant's `input_text`, and chat's `text`."""
    items = [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        assistant("b", "input_text"),
        assistant("c", "text"),
    ]
    parts = [item["content"][0]["type"] for item in sent({"input": items})["input"]]
    assert parts == ["input_text", "output_text", "output_text"]


def test_arguments_and_results_become_strings() -> None:
    """Some clients send objects."""
    items = [USER, {**CALL, "arguments": {"a": 1}}, {**RESULT, "output": {"b": 2}}]
    _, call, result = sent({"input": items})["input"]
    assert (call["arguments"], result["output"]) == ('{"a":1}', '{"b":2}')


def test_instructions_alone_become_the_input() -> None:
    """A call in which nobody has spoken has no items, and OpenAI's API requires an input."""
    got = sent({"input": [], "instructions": "Greet the caller."})
    assert got["input"] == [{"type": "message", "role": "system", "content": "Greet the caller."}]
    assert "instructions" not in got


def test_feedback_is_appended_after_the_answer() -> None:
    """The assistant's words, if any, come first; a string input becomes items."""
    body = sent({"input": [USER], "previous_response_id": "r"})
    note = {"type": "message", "role": "user", "content": "Again."}
    words = {"type": "message", "role": "assistant", "content": "Well."}
    first = {**USER, "type": "message"}
    assert responses.with_feedback(body, "Well.", "Again.")["input"] == [first, words, note]
    assert responses.with_feedback({"input": "Hi"}, "", "Again.")["input"][1:] == [note]
    assert responses.with_feedback({}, " ", "Again.")["input"] == [note]
