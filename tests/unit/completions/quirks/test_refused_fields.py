"""Refused fields: which part of a request a refusal blames, however it says so."""

from __future__ import annotations

from typing import Any

import pytest

from completions.quirks.refused_fields import blames_value, refused_fields

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"default": {"type": "string", "default": "x"}},
}
GROQ = (
    "'messages.1' : for 'role:user' the following must be satisfied[('messages.1' : "
    "property 'models' is unsupported, did you mean 'role'?)]"
)
BODY: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
    "n": 1,
    "temperature": 1,
    "top_p": 1,
    "max_tokens": 5,
    "frequency_penalty": 0,
    "stop": ["x"],
    "metadata": {"x": 1},
    "store": True,
    "user": "u",
    "prompt_cache_key": "k",
    "seed": 1,
    "reasoning_effort": "low",
    "max_completion_tokens": 3,
    "parallel_tool_calls": True,
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u", "name": "bob", "models": 1},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "extra_content": {}}]},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "t", "strict": True, "description": "d", "parameters": SCHEMA},
        }
    ],
}


@pytest.mark.parametrize(
    ("told", "paths"),
    [
        ("seed", ["seed"]),
        ("metadata.x", ["metadata"]),
        ("stream_options.include_usage", ["stream_options.include_usage"]),
        ("messages.1.user.name", ["messages[user].name"]),
        ("messages[1].name", ["messages[user].name"]),
        ("tools.0.function-wrap[validate()].function.strict", ["tools[].function.strict"]),
        ("tools[0].function.strict", ["tools[].function.strict"]),
        ("parameter.seed", ["seed"]),
        ("messages.[2].role", []),
        ("messages.9.name", []),
        ("model", []),
        ("tools[0].function.name", []),
        ("not_there", []),
    ],
)
def test_a_place_counts_if_the_request_has_it(told: str, paths: list[str]) -> None:
    """The path is cut to what may be left out; required fields do not count."""
    assert refused_fields([told], "", BODY) == paths


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        ("Unsupported: 'max_tokens'. Use 'max_completion_tokens' instead.", ["max_tokens"]),
        ("zai does not support parameters: ['top_p', 'seed'], for model=m.", ["top_p", "seed"]),
        (
            "property 'store' is unsupported\nuser: property 'user' is unsupported",
            ["store", "user"],
        ),
        (GROQ, ["messages[].models"]),
        ("Model m does not support parameter frequencyPenalty.", ["frequency_penalty"]),
        ("Argument not supported on this model: frequencyPenalty", ["frequency_penalty"]),
        ('Unknown name "store": Cannot find field.', ["store"]),
        (
            "Unknown name \"additionalProperties\" at 'tools[0].x[0]': Cannot find field.",
            ["tools[].function.parameters.**.additionalProperties"],
        ),
        ("Unrecognized request arguments supplied: user, seed", ["user", "seed"]),
        ('json: unknown field "seed"', ["seed"]),
        ("Unknown field: seed", ["seed"]),
        ("unknown field `seed`, expected one of `model`, `temperature`, `stop`", ["seed"]),
        ("temperature: Extra inputs are not permitted", ["temperature"]),
        ("The parameter temperature is not supported for this model", ["temperature"]),
        ("This model does not support the stop parameter.", ["stop"]),
        ("library/gemma:2b does not support tools", ["tools"]),
        ("Extra inputs are not allowed: 'tools[0].function.strict'", ["tools[].function.strict"]),
        ("'temperature' does not support 0.4. Only the default (1) is supported.", ["temperature"]),
        ("invalid temperature: only 0.6 is allowed for this model", ["temperature"]),
        ("`temperature` and `top_p` cannot both be specified. Please use only one.", ["top_p"]),
        (
            "Function tools with reasoning_effort are not supported in /v1/chat/completions.",
            ["reasoning_effort"],
        ),
        ("Additional properties are not allowed ('seed' was unexpected) - 'messages.0'", ["seed"]),
        ("extraneous key [stop] is not permitted", ["stop"]),
        ("property 'extra_content' is unsupported", ["messages[].tool_calls[].extra_content"]),
        ("property 'name' is unsupported", ["messages[].name"]),
        ("Please remove the unsupported parameter 'seed'.", ["seed"]),
        ("body.user: property 'body.user' is unsupported", ["user"]),
        ("litellm: 400 - {'error': {'message': \"Unsupported parameter: 'top_p'.\"}}", ["top_p"]),
    ],
)
def test_a_name_is_read_from_words(words: str, paths: list[str]) -> None:
    """Each API has its own wording, and the field that it recommends instead is not counted."""
    assert refused_fields([], words, BODY) == paths


@pytest.mark.parametrize(
    "words",
    [
        "messages: this conversation cannot be continued",
        "temperature must be between 0 and 2",
        "The user said that they want to stop. Text is not supported.",
        "Model does not support image input",
        "Your organization does not support this model",
        "'messages.1.content' : value must be a string",
        "Invalid role: developer",
        "the tools are gone",
        "Rate limit reached for requests with max_tokens 5",
        "Unknown parameter: 'not_there'",
        "Unexpected role 'user' after role 'tool'",
        "Invalid schema: 'additionalProperties' is required to be supplied and to be false.",
        "This model's maximum context length is 8192. Please reduce max_tokens or the messages.",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
    ],
)
def test_other_words_name_nothing(words: str) -> None:
    """A field that is only mentioned is kept."""
    assert refused_fields([], words, BODY) == []


def test_a_place_counts_before_words() -> None:
    """Words may quote other fields."""
    words = "Unsupported parameters: 'top_p', 'seed'"
    assert refused_fields(["user"], words, BODY) == ["user"]
    assert refused_fields(["not_there"], words, BODY) == ["top_p", "seed"]


def test_words_about_a_value_differ_from_words_about_a_field() -> None:
    """The former concern one request, the latter the model."""
    assert blames_value("temperature must be at most 2")
    assert not blames_value("temperature is not supported")
    assert not blames_value("No.")
