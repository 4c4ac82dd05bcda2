"""Shapes that APIs refuse in a request: recognised from their words and repaired."""

from __future__ import annotations

from typing import Any

import pytest

from completions.quirks.shapes import mended, refused_shapes

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
"""For each row a request that it repairs."""
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
def test_a_shape_is_recognised_by_an_apis_words(name: str, words: str) -> None:
    """The row with these words is found, and no other."""
    assert refused_shapes(words, BODIES[name]) == {name}


@pytest.mark.parametrize(("_", "words"), REFUSED)
def test_words_about_an_absent_shape_are_ignored(_: str, words: str) -> None:
    """The API cannot have meant a row that would change nothing."""
    assert not refused_shapes(words, {"messages": [ASKED], "thinking": OFF, "stream": True})
    assert not refused_shapes(words, {"input": "Hi.", "stream": True})


@pytest.mark.parametrize("name", BODIES)
def test_a_repaired_request_no_longer_has_the_shape(name: str) -> None:
    """A second repair changes nothing, and the input is not modified."""
    body = BODIES[name]
    before = repr(body)
    once = mended(body, [name])
    assert once != body
    assert mended(once, [name]) is once
    assert repr(body) == before
    assert mended(body, []) is body


def test_a_developer_message_becomes_a_system_message() -> None:
    """Only the role changes, in either API."""
    sent = BODIES["developer"]["messages"]
    for name in ("messages", "input"):
        assert mended({name: sent}, ["developer"]) == {
            name: [{**sent[0], "role": "system"}, sent[1]]
        }


def test_a_refused_key_is_not_taken_for_a_required_one() -> None:
    """Groq refuses the key that DeepSeek asks for."""
    words = "property 'reasoning_content' is unsupported"
    assert not refused_shapes(words, BODIES["reasoning"])


def test_a_shape_that_follows_another_waits_for_it() -> None:
    """Thinking is switched off only if empty reasoning was refused as well."""
    sent = BODIES["reasoning"]
    once = mended(sent, refused_shapes(REASONING, sent))
    assert "thinking" not in once
    twice = mended(once, refused_shapes(REASONING, once))
    assert twice["thinking"] == OFF
    assert not refused_shapes(REASONING, twice)
