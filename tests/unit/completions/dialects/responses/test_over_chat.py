"""A Responses request for an upstream that has only chat completions."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects import chat, responses

TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}


def messages(*items: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """The chat messages that these items become."""
    return list(responses.as_chat({"input": list(items), **fields})["messages"])


def call(name: str, call_id: str) -> dict[str, Any]:
    """A tool call as an item."""
    return {"type": "function_call", "name": name, "call_id": call_id, "arguments": "{}"}


def called(name: str, call_id: str) -> dict[str, Any]:
    """The same call in a chat message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def test_instructions_and_a_string_are_two_messages() -> None:
    """This is the shortest request."""
    assert responses.as_chat({"model": "m", "input": "Hi", "instructions": "Be brief."}) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
    }


def test_calls_join_the_words_before_them_and_their_results_follow() -> None:
    """Text and parallel calls of one turn become one assistant message."""
    got = messages(
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "summary": []},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Sure."}]},
        call("f", "c1"),
        call("g", "c2"),
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "two"}, {"type": "input_text", "text": "2"}],
        },
        call("f", "c3"),
        {"type": "function_call_output", "call_id": "c3", "output": {"three": 3}},
    )
    assert got == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "Sure.",
            "tool_calls": [called("f", "c1"), called("g", "c2")],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "two\n2"},
        {"role": "assistant", "content": None, "tool_calls": [called("f", "c3")]},
        {"role": "tool", "tool_call_id": "c3", "content": '{"three":3}'},
    ]


def test_parts_become_a_string_unless_there_is_more_than_text() -> None:
    """Every server takes a string."""
    text = {"type": "input_text", "text": "Look:"}
    image = {"type": "input_image", "image_url": "https://x/y.png"}
    file = {"type": "input_file", "file_id": "file_1"}
    audio = {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}
    only, mixed = messages(
        {"role": "user", "content": [text, text]},
        {"role": "user", "content": [text, image, file, audio]},
    )
    assert only["content"] == "Look:\nLook:"
    assert mixed["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "auto"}},
        {"type": "file", "file": {"file_id": "file_1"}},
        audio,
    ]


def test_a_developer_message_becomes_a_system_message() -> None:
    """Servers without `/responses` do not know the newer role either."""
    assert messages({"role": "developer", "content": "x"}) == [{"role": "system", "content": "x"}]


def test_a_stored_history_leaves_an_empty_prompt() -> None:
    """Chat completions need a message, even if another upstream holds the history."""
    body = {"previous_response_id": "resp_1", "input": []}
    assert chat.parse(responses.as_chat(body)).roles == ("system",)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 50}, {"max_tokens": 50}),
        ({"max_tokens": 50}, {"max_tokens": 50}),
        ({"temperature": 0, "top_p": None}, {"temperature": 0}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {}, "text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"user_id": "u", "stream": True}, {"user_id": "u", "stream": True}),
        ({"elevenlabs_extra_body": {"language": "de"}},) * 2,
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {
                "text": {
                    "format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {}, "strict": True},
                }
            },
        ),
        ({"tools": [TOOL]}, {"tools": [{"type": "function", "function": FUNCTION}]}),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, {}),
        ({"previous_response_id": "r", "store": True, "include": [], "truncation": "auto"}, {}),
    ],
)
def test_fields_are_translated(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """A field without a counterpart is left out."""
    got = responses.as_chat({"input": "Hi", **fields})
    assert got == {"messages": [{"role": "user", "content": "Hi"}], **expected}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, "required"),
        ({"type": "web_search"}, None),
        (None, None),
    ],
)
def test_the_choice_of_a_tool_is_nested(choice: Any, expected: Any) -> None:
    """It takes the shape of chat completions, or is left to the model."""
    got = responses.as_chat({"input": "Hi", "tools": [TOOL], "tool_choice": choice})
    assert got.get("tool_choice") == expected


def test_both_readings_of_a_request_agree() -> None:
    """The turn reads the same from a request and from its translation."""
    body = {
        "model": "m",
        "stream": True,
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Sure."}]},
            call("f", "c1"),
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
        ],
        "tools": [TOOL],
        "elevenlabs_extra_body": {"language": "de", "buffer_words": ["Hm... "]},
    }
    direct, over = responses.parse(body), chat.parse(responses.as_chat(body))
    for name in (
        *("stream", "model", "answers", "speakable", "user_spoke", "assistant_spoke_since"),
        *("after_tool_result", "assistant_texts", "calls", "tools", "extra"),
    ):
        assert getattr(direct, name) == getattr(over, name), name
