"""Shapes: what APIs refuse in a history, told from their words, and mended."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.refused_shapes import mended, refused_shapes

CALL = {"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}}
ASKED = {"role": "user", "content": "Hi."}
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "ok"}
SIZES = {"type": "integer", "enum": [2, 4]}
TOOL = {"name": "t", "parameters": {"type": "object", "properties": {"size": SIZES}}}
BODIES: dict[str, dict[str, Any]] = {
    "developer": {"messages": [{"role": "developer", "content": "Be short."}, ASKED]},
    "signature": {"messages": [ASKED, CALLED, RESULT]},
    "reasoning": {"messages": [ASKED, CALLED, RESULT]},
    "thinking": {"messages": [ASKED, {**CALLED, "reasoning_content": ""}, RESULT]},
    "thinking-buffered": {"messages": [ASKED], "stream": False},
    "enum": {"messages": [ASKED], "tools": [{"type": "function", "function": TOOL}]},
}
"""For each row a request that it mends."""
REASONING = "The `reasoning_content` in the thinking mode must be passed back to the API."
OFF = {"type": "disabled"}
REFUSED = [
    ("developer", "developer is not one of ['system', 'assistant', 'user'] - 'messages.0.role'"),
    (
        "developer",
        "messages[0].role: unknown variant `developer`, expected one of `system`",
    ),
    ("developer", "Invalid role: developer"),
    ("signature", "Function call is missing a thought_signature in functionCall parts."),
    (
        "signature",
        "Unable to submit because function call `t` is missing a thought_signature",
    ),
    ("reasoning", REASONING),
    ("reasoning", "Missing `reasoning_content` field in the assistant message at message index 2."),
    ("reasoning", "The content[].thinking in the thinking mode must be passed back to the API."),
    ("thinking", REASONING),
    ("thinking-buffered", "parameter.enable_thinking must be set to false for non-streaming calls"),
    ("enum", "Invalid value at 'tools[0].x.properties[0].value.enum[0]' (TYPE_STRING), 2"),
    ("enum", "GenerateContentRequest.tools[0].enum: only allowed for STRING type"),
]


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_a_shape_is_told_from_an_apis_words(name: str, words: str) -> None:
    """The row whose words they are is found, and no other."""
    assert refused_shapes(words, BODIES[name]) == {name}


@pytest.mark.parametrize(("_", "words"), REFUSED)
def test_words_about_a_shape_that_is_not_there_tell_nothing(_: str, words: str) -> None:
    """A row that would change nothing is not what the API meant."""
    assert not refused_shapes(words, {"messages": [ASKED], "thinking": OFF, "stream": True})
    assert not refused_shapes(words, {"input": "Hi.", "stream": True})


@pytest.mark.parametrize("name", BODIES)
def test_a_mended_request_has_the_shape_no_longer(name: str) -> None:
    """Mending it again changes nothing, and what was sent in is left as it was."""
    body = BODIES[name]
    before = repr(body)
    once = mended(body, [name])
    assert once != body
    assert mended(once, [name]) is once
    assert repr(body) == before
    assert mended(body, []) is body


def test_instructions_of_a_developer_become_the_systems() -> None:
    """Nothing but the role changes, in either API."""
    sent = BODIES["developer"]["messages"]
    for name in ("messages", "input"):
        assert mended({name: sent}, ["developer"]) == {
            name: [{**sent[0], "role": "system"}, sent[1]]
        }


def test_a_key_that_is_refused_is_not_asked_for() -> None:
    """Groq's words against a key are not DeepSeek's for it."""
    words = "property 'reasoning_content' is unsupported"
    assert not refused_shapes(words, BODIES["reasoning"])


def test_a_shape_that_follows_another_waits_for_it() -> None:
    """Thoughts are given up only where empty ones were refused as well."""
    sent = BODIES["reasoning"]
    once = mended(sent, refused_shapes(REASONING, sent))
    assert "thinking" not in once
    twice = mended(once, refused_shapes(REASONING, once))
    assert twice["thinking"] == OFF
    assert not refused_shapes(REASONING, twice)
