"""What APIs refuse in a history: recognised from their words and repaired, without a loss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from completions.dialects import chat
from completions.quirks.history_shapes import HISTORIES
from completions.quirks.shapes import mended, refused_shapes
from tests.support import histories
from tests.support.history import called, result
from tests.support.strict_servers import SERVERS, first_refusal

SYSTEM = {"role": "system", "content": "Be short."}
USER = {"role": "user", "content": "Hi."}
SAID = {"role": "assistant", "content": "Hello."}
CALLS = called("look_up", '{"q": "a"}')
RESULT = result("found")
PARTS = [{"type": "text", "text": "Look:"}, {"type": "text", "text": "here."}]

HISTORY: dict[str, tuple[list[Any], list[Any]]] = {
    "developer": ([{**SYSTEM, "role": "developer"}, USER], [SYSTEM, USER]),
    "calls": (
        [USER, {**CALLS, "content": "One moment."}, RESULT],
        [
            USER,
            {"role": "assistant", "content": "One moment."},
            {"role": "user", "content": '[Result of look_up {"q": "a"}] found'},
        ],
    ),
    "calls-in-turns": (
        [USER, CALLS, RESULT],
        [USER, {"role": "user", "content": '[Result of look_up {"q": "a"}] found'}],
    ),
    "system": (
        [SYSTEM, SAID, USER, SYSTEM],
        [
            {"role": "user", "content": "Be short."},
            SAID,
            {"role": "user", "content": "Hi.\nBe short."},
        ],
    ),
    "system-in-turns": (
        [SYSTEM, USER],
        [{"role": "user", "content": "Be short.\nHi."}],
    ),
    "turns": (
        [
            SYSTEM,
            {"role": "developer", "content": PARTS},
            SAID,
            USER,
            SYSTEM,
            SAID,
            CALLS,
            RESULT,
            SAID,
        ],
        [
            {"role": "system", "content": [{"type": "text", "text": "Be short."}, *PARTS]},
            {"role": "user", "content": "..."},
            SAID,
            {"role": "user", "content": "Hi.\nBe short."},
            {**CALLS, "content": "Hello."},
            RESULT,
            SAID,
            {"role": "user", "content": "..."},
        ],
    ),
    "answered": (
        [USER, CALLS, RESULT, USER, USER],
        [
            *(USER, CALLS, RESULT, {"role": "assistant", "content": "..."}),
            {"role": "user", "content": "Hi.\nHi."},
        ],
    ),
    "parts": (
        [{"role": "user", "content": PARTS}, {**RESULT, "content": PARTS}],
        [{"role": "user", "content": "Look:\nhere."}, {**RESULT, "content": "Look:\nhere."}],
    ),
    "empty": (
        [
            {**SYSTEM, "content": ""},
            {"role": "user", "content": " "},
            CALLS,
            {**RESULT, "content": ""},
        ],
        [{"role": "user", "content": "..."}, CALLS, {**RESULT, "content": "..."}],
    ),
    "null": (
        [CALLS, {"role": "assistant", "content": None, "refusal": "No."}],
        [{**CALLS, "content": ""}, {"role": "assistant", "content": "No.", "refusal": "No."}],
    ),
    "ids": (
        [CALLS, RESULT, CALLS, RESULT, called("f", "{}", "abcdef123"), result("x", "abcdef123")],
        [
            *(called("look_up", '{"q": "a"}', "I7Rkbc8JP"), result("found", "I7Rkbc8JP")),
            *(called("look_up", '{"q": "a"}', "mHuEZQMcR"), result("found", "mHuEZQMcR")),
            *(called("f", "{}", "abcdef123"), result("x", "abcdef123")),
        ],
    ),
    "names": ([CALLS, RESULT], [CALLS, {**RESULT, "name": "look_up"}]),
    "arguments": (
        [called("f", '{"q": "a'), called("g", "[1]"), CALLS],
        [called("f", '{"text":"{\\"q\\": \\"a"}'), called("g", '{"text":"[1]"}'), CALLS],
    ),
}
"""For each row a history that it repairs, and the result."""

REFUSED = [
    ("developer", "developer is not one of ['system', 'assistant', 'user'] - 'messages.0.role'"),
    (
        "developer",
        "messages[0].role: unknown variant `developer`, expected one of `system`, `user`",
    ),
    ("developer", "Invalid role: developer"),
    ("developer", "input[0].role\nInvalid value: 'developer'. Supported values are: 'system'"),
    ("developer", "body.messages.0.role: Input should be 'system', 'user' or 'assistant'"),
    ("developer", "Unsupported value: 'messages[0].role' does not support 'developer'."),
    ("system", "System role not supported"),
    ("system", "Only user, assistant and tool roles are supported, got system."),
    ("system", "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
    ("system", "Developer instruction is not enabled for models/gemma-3-27b-it"),
    ("system-in-turns", "Conversation roles must alternate user/assistant/user/assistant/..."),
    ("turns", "Jinja Exception: System message must be at the beginning."),
    ("turns", "Only one system message is allowed."),
    ("turns", 'messages: first message must use the "user" role'),
    ("turns", "A conversation must start with a user message. Try again with one."),
    ("turns", "* GenerateContentRequest.contents: contents is not specified\n"),
    ("turns", "messages: at least one message is required"),
    ("turns", "No user query found in messages."),
    ("turns", "This model does not support assistant message prefill."),
    ("turns", "The conversation must end with a user message."),
    ("turns", "The last message must have role user."),
    ("turns", "Please ensure that multiturn requests ends with a user role."),
    ("turns", "multiple consecutive user messages are not allowed"),
    ("answered", "Unexpected role 'user' after role 'tool'"),
    ("answered", "Conversation roles must alternate user/assistant/user/assistant/..."),
    ("parts", "('messages.0.content' : value must be a string)"),
    ("parts", "Failed to deserialize: messages[1]: invalid type: sequence, expected a string"),
    ("parts", "body.messages.0.system.content.str: Input should be a valid string"),
    ("empty", "messages.1: all messages must have non-empty content"),
    ("empty", "Each message must have at least one content element."),
    ("empty", "('messages.1.content' : minimum string length is 1, but found 0)"),
    ("empty", "messages: text content blocks must be non-empty"),
    ("empty", "Unable to submit request because it has an empty text parameter."),
    ("null", "invalid message content type: <nil>"),
    ("null", "Invalid value for 'content': expected a string, got null."),
    ("null", "'NoneType' object is not iterable"),
    ("ids", "Tool call id was call_0 but must be a-z, A-Z, 0-9, with a length of 9."),
    ("ids", "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"),
    ("ids", "messages: `tool_use` ids must be unique"),
    ("ids", "Invalid 'messages[2].tool_calls[0].id': string too long, maximum length is 40."),
    ("names", "contents[2].parts[0].function_response.name: Name cannot be empty."),
    ("arguments", "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101]"),
    ("arguments", "Unterminated string starting at: line 1 column 7 (char 6)"),
    ("calls", "The following tool_call_ids did not have response messages: call_0"),
    ("calls", "No tool output found for function call call_0."),
    ("calls", "number of function response parts is equal to the number of function call parts"),
    ("calls", "invalid params, tool result's tool id(call_0) not found (2013)"),
    ("calls", "Each `tool_result` block must have a corresponding `tool_use` block before it."),
    ("calls", "The toolConfig field must be defined when using toolUse content blocks."),
    ("calls-in-turns", "Conversation roles must alternate user/assistant/user/assistant/..."),
]


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_a_shape_is_recognised_by_an_apis_words(name: str, words: str) -> None:
    """The row with these words is found, besides at most `turns`."""
    found = refused_shapes(words, {"messages": HISTORY[name][0]})
    assert name in found
    assert found <= {name, "turns"}


def test_vague_words_stand_for_all_that_their_api_refuses() -> None:
    """MiniMax refuses a second system message and a developer's with the same words."""
    words = "invalid params, invalid chat setting (2013)"
    assert refused_shapes(words, {"messages": HISTORY["turns"][0]}) == {"developer", "turns"}
    assert refused_shapes(words, {"messages": HISTORY["developer"][0]}) == {"developer"}


def test_reasoning_is_no_turn() -> None:
    """It neither stands in for a missing turn nor separates two of the same role."""
    thought = {"type": "reasoning", "summary": []}
    silent = {"type": "message", "role": "user", "content": "..."}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": ""}
    parted = [{"type": "message", **USER}, thought, {"type": "message", **USER}]
    joined = {"type": "message", "role": "user", "content": "Hi.\nHi."}
    assert mended({"input": parted}, ["turns"])["input"] == [joined, thought]
    kept = mended({"input": [thought, call, output]}, ["turns"])["input"]
    assert kept == [silent, thought, call, output]
    spoken: list[Any] = [{"type": "message", **USER}, {"type": "message", **SAID}]
    for items in ([thought], [*spoken, thought]):
        assert mended({"input": items}, ["turns"])["input"] == [*items, silent]
    user = {"type": "message", **USER}
    kept = mended({"input": [user, call, output, thought, user]}, ["answered"])["input"]
    assert kept == [user, call, output, thought, {**silent, "role": "assistant"}, user]


def test_instructions_that_become_a_user_message_lose_their_name() -> None:
    """Some APIs refuse the name of another user."""
    named = {**SYSTEM, "name": "desk"}
    kept = mended({"messages": [SYSTEM, USER, SAID, named]}, ["turns"])["messages"]
    assert kept[-1] == {"role": "user", "content": "Be short."}


@pytest.mark.parametrize(("_", "words"), REFUSED)
def test_words_about_an_absent_history_shape_are_ignored(_: str, words: str) -> None:
    """A single plain message has none."""
    assert not refused_shapes(words, {"messages": [{"role": "user", "content": "Hi."}]})
    assert not refused_shapes(words, {"input": "Hi."})


@pytest.mark.parametrize(
    "words",
    [
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "property 'prompt_cache_key' is unsupported",
        'Unknown name "seed": Cannot find field.',
        "metadata.x: expected a string, but got an integer instead.",
        "tool_choice is only allowed when tools are specified",
        "This model's maximum context length is 8192 tokens.",
        "The response was filtered due to the prompt triggering a content management policy.",
        "The model `m` does not exist or you do not have access to it.",
        "The server had an error while processing your request.",
    ],
)
def test_refusals_of_other_things_change_no_history(words: str) -> None:
    """Words about a field, a limit or a filter match no shape."""
    for history, _ in HISTORY.values():
        assert not refused_shapes(words, {"messages": history})


@pytest.mark.parametrize("name", HISTORY)
def test_a_repaired_history_no_longer_has_the_shape(name: str) -> None:
    """It is repaired as expected, once, in a copy."""
    history, expected = HISTORY[name]
    body = {"messages": history}
    before = repr(body)
    once = mended(body, [name])
    assert once == {"messages": expected}
    assert mended(once, [name]) is once
    assert repr(body) == before
    assert mended(body, []) is body


def test_every_shape_is_tested() -> None:
    """Each row has a history above."""
    assert [shape.name for shape in HISTORIES] == list(HISTORY)


def test_items_are_repaired_like_messages() -> None:
    """The Responses API has the same roles, and calls as items of their own."""
    call = {"type": "function_call", "call_id": "c-1", "name": "f", "arguments": "{"}
    output = {"type": "function_call_output", "call_id": "c-1", "output": ""}
    told = [{"type": "message", **one} for one in (SYSTEM, SAID, USER, USER)]
    body = {"input": [*told, call, output]}
    others = {"system", "system-in-turns", "calls", "calls-in-turns"}
    kept = mended(body, [shape.name for shape in HISTORIES if shape.name not in others])
    system, first, spoken, user, call, output = kept["input"][:6]
    assert [system["role"], first, spoken] == ["system", {**told[2], "content": "..."}, told[1]]
    assert user["content"] == "Hi.\nHi."
    assert len(kept["input"]) == 6
    assert call["call_id"] == output["call_id"] != "c-1"
    assert (call["arguments"], output["output"]) == ('{"text":"{"}', "...")
    in_words = mended(body, ["calls", "system"])["input"]
    assert in_words[-1]["content"] == "[Result of f {] "
    assert [one["role"] for one in in_words] == ["user", "assistant", "user", "user", "user"]


def ready(messages: list[Any]) -> dict[str, Any]:
    """The request for a caller's messages before anything was learnt."""
    request = chat.parse({"model": "m", "stream": True, "messages": messages})
    return chat.prepare(request, model="", extra_body={}, clean=str).body


@pytest.mark.parametrize("server", SERVERS)
@given(histories.messages())
@settings(max_examples=30, deadline=None)
def test_any_history_is_answered_by_each_strict_server(server: str, messages: list[Any]) -> None:
    """Two refusals teach enough, no word is lost, and the next turn meets no refusal."""
    body = ready(messages)
    learnt: set[str] = set()
    for _ in range(2):
        refusal = first_refusal(server, body["messages"])
        if refusal is not None:
            found = refused_shapes(refusal, body)
            assert found, refusal
            learnt |= found
            body = mended(ready(messages), learnt)
    assert first_refusal(server, body["messages"]) is None
    assert histories.faults(body["messages"]) in ([], ["null content"])
    assert histories.words(body) == histories.words(messages)
    assert mended(body, learnt) is body
    assert mended(ready(messages), learnt) == body


@given(histories.messages())
@settings(max_examples=200, deadline=None)
def test_all_repairs_together_leave_a_history_in_order(messages: list[Any]) -> None:
    """One model may refuse every shape."""
    body = mended(ready(messages), [shape.name for shape in HISTORIES])
    assert histories.faults(body["messages"]) == []
    assert histories.words(body) == histories.words(messages)
