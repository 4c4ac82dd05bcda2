"""What is read in a Responses request, and what an upstream receives of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completions.dialects import chat, responses
from completions.dialects.dialect import TOKEN_LIMIT
from completions.dialects.request import ParsedRequest, PastCall, Tool
from completions.dialects.responses.ids import new_buffer_words_id, new_id
from completions.errors import ChainNotFound, InvalidRequest

USER = {"role": "user", "content": "What is the weather?"}
CALL = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"a":1}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FLAT = {"type": "function", "name": "get_weather", "description": "Asks.", "parameters": SCHEMA}
NESTED = {"type": "function", "function": {k: v for k, v in FLAT.items() if k != "type"}}


def assistant(text: str, kind: str = "output_text") -> dict[str, Any]:
    """An assistant's message in parts."""
    return {"role": "assistant", "content": [{"type": kind, "text": text}]}


def parsed_with(*items: dict[str, Any], **fields: Any) -> ParsedRequest:
    """A streamed request with these items."""
    return responses.parse({"model": "m", "stream": True, "input": list(items), **fields})


def sent(body: dict[str, Any], **options: Any) -> dict[str, Any]:
    """What the upstream receives."""
    options = {"model": "", "extra_body": {}, "clean": str, **options}
    return responses.prepare(responses.parse(body), **options).body


def test_a_string_is_a_user_s_message() -> None:
    """The shortest request there is."""
    request = responses.parse({"model": "m", "input": "Hello?"})
    assert (request.model, request.stream, request.speakable, request.answers) == (
        *("m", False),
        *(False, 1),
    )
    assert (request.roles, request.user_spoke, request.wants_usage) == (("user",), True, True)


@pytest.mark.parametrize(
    ("items", "spoke"),
    [
        ([USER], True),
        ([{"role": "user", "content": " ... "}], False),
        ([{"role": "user", "content": [{"type": "input_text", "text": "..."}]}], False),
        ([USER, {"role": "user", "content": "..."}], False),
        ([{"role": "system", "content": "Greet."}], False),
        ([assistant("Hello?")], False),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}], True),
    ],
)
def test_silence_and_a_missing_user_are_no_speech(items: list[dict[str, Any]], spoke: bool) -> None:
    """Buffer words are for callers who have said something."""
    assert parsed_with(*items).user_spoke is spoke


def test_the_upstream_may_hold_the_user_message() -> None:
    """A tool's result with the id of the response that called it is a conversation."""
    request = parsed_with(RESULT, previous_response_id="resp_1")
    assert (request.user_spoke, request.after_tool_result) == (True, True)


def test_the_history_is_read_from_every_kind_of_item() -> None:
    """Roles, the assistant's words and its calls, recent or not."""
    request = parsed_with(
        assistant("Hi, who is there?"),
        USER,
        CALL,
        RESULT,
        {"role": "assistant", "content": "Sunny."},
        USER,
        {**CALL, "name": "end_call", "arguments": None},
        instructions="Be brief.",
    )
    roles = "system assistant user assistant tool assistant user assistant"
    assert request.roles == tuple(roles.split())
    assert request.assistant_texts == ("Hi, who is there?", "Sunny.")
    assert request.calls == (
        PastCall("get_weather", '{"a":1}', recent=False),
        PastCall("end_call", "{}", recent=True),
    )
    assert (request.assistant_spoke_since, request.after_tool_result) == (False, False)


def test_what_follows_the_last_user_message_is_read() -> None:
    """It may be words already spoken in this turn, and a tool's result at the end."""
    request = parsed_with(USER, assistant("One moment."), CALL, RESULT)
    assert (request.assistant_spoke_since, request.after_tool_result) == (True, True)
    assert not parsed_with(USER, assistant(" "), CALL).assistant_spoke_since


@pytest.mark.parametrize("tool", [FLAT, NESTED, {**FLAT, "type": None}])
def test_tools_are_read_flat_and_nested(tool: dict[str, Any]) -> None:
    """Clients of both APIs send theirs; the upstream gets the flat shape."""
    body = {"input": "Hi", "tools": [tool, {"type": "web_search"}], "tool_choice": "auto"}
    assert responses.parse(body).tools == {"get_weather": Tool("get_weather", "Asks.", SCHEMA)}
    assert sent(body)["tools"] == [FLAT, {"type": "web_search"}]


def test_a_nested_choice_of_a_tool_is_flattened() -> None:
    """The upstream gets the flat shape, as it does of the tool."""
    choice = {"type": "function", "function": {"name": "get_weather"}}
    body = {"input": "Hi", "tools": [FLAT], "tool_choice": choice}
    assert sent(body)["tool_choice"] == {"type": "function", "name": "get_weather"}


@pytest.mark.parametrize(
    ("text", "speakable"),
    [
        (None, True),
        ({}, True),
        ({"format": None}, True),
        ({"format": {"type": "text"}}, True),
        ({"format": {"type": "json_object"}}, False),
        ({"format": {"type": "json_schema", "name": "x", "schema": {}}}, False),
    ],
)
def test_only_streamed_text_is_speakable(text: Any, speakable: bool) -> None:
    """JSON and buffered answers have no room for words of our own."""
    assert parsed_with(USER, text=text).speakable is speakable
    assert not parsed_with(USER, text=text, stream=False).speakable


def test_the_extra_body_is_read_and_taken_out() -> None:
    """What an agent may set for itself."""
    extra = {"buffer_words": ["Hm... "], "language": "de", "conversation_id": "conv_1"}
    body = {"input": "Hi", "elevenlabs_extra_body": extra}
    assert responses.parse(body).extra.language == "de"
    assert "elevenlabs_extra_body" not in sent(body)
    assert sent(body)["prompt_cache_key"] == "conv_1"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": 1}, "input"),
        ({"input": {}}, "input"),
        ({"input": "x", "model": 1}, "model"),
        ({"input": "x", "stream": "yes"}, "stream"),
        ({"input": "x", "instructions": ["a"]}, "instructions"),
        ({"input": "x", "max_output_tokens": "1"}, "max_output_tokens"),
        ({"input": "x", "max_output_tokens": True}, "max_output_tokens"),
        ({"input": "x", "temperature": "hot"}, "temperature"),
        ({"input": "x", "text": "plain"}, "text"),
        ({"input": "x", "text": {"format": "json"}}, "text.format"),
        ({"input": "x", "tools": {}}, "tools"),
        ({"input": "x", "tools": ["f"]}, "tools[0]"),
        ({"input": "x", "tools": [FLAT, {"type": "function"}]}, "tools[1].name"),
        ({"input": "x", "tools": [{"type": "function", "function": 1}]}, "tools[0]"),
        ({"input": [USER, "x"]}, "input[1]"),
        ({"input": [USER, USER, {"content": "x"}]}, "input[2].role"),
        ({"input": [{"role": 1, "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 1}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]},
            "input[0].content[0].text",
        ),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": 1, "role": "user"}]}, "input[0].type"),
        ({"input": "x", "elevenlabs_extra_body": []}, "elevenlabs_extra_body"),
        (
            {"input": "x", "elevenlabs_extra_body": {"language": 1}},
            "elevenlabs_extra_body.language",
        ),
        ({"input": "x", "user_id": ["u"]}, "user_id"),
    ],
)
def test_a_wrong_type_is_named(body: dict[str, Any], param: str) -> None:
    """The error names the field, down to its place in a list."""
    with pytest.raises(InvalidRequest) as caught:
        responses.parse(body)
    assert caught.value.param == param
    assert f"'{param}'" in caught.value.message


def test_only_known_fields_reach_the_upstream() -> None:
    """Strict upstreams answer 400 to any other; nulls are dropped, too."""
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
    """The one stream option that this API has."""
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
    """Platforms send -1 for unlimited; models refuse what they do not allow."""
    got = sent({"input": "Hi", name: limit})
    assert got.get("max_output_tokens") == expected
    assert "max_tokens" not in got


def test_the_deployment_s_model_and_fields_win() -> None:
    """`model` replaces the caller's; `extra_body` replaces any field."""
    body = {"model": "agent", "input": "Hi", "temperature": 1}
    got = sent(body, model="gpt", extra_body={"temperature": 0, "store": True})
    assert (got["model"], got["temperature"], got["store"]) == ("gpt", 0, True)


def test_what_we_added_is_named() -> None:
    """An upstream that refuses it can be asked without it."""
    request = responses.parse({"input": "Hi", "user_id": 7, "prompt_cache_key": "mine"})
    prepared = responses.prepare(request, model="", extra_body={"service_tier": "flex"}, clean=str)
    assert prepared.added == {"safety_identifier", "service_tier"}
    assert prepared.body["prompt_cache_key"] == "mine"


def test_requests_with_the_same_prompt_and_tools_share_a_cache_key() -> None:
    """It is the hash of what they have in common, wherever the prompt stands."""
    key = sent({"input": "a", "instructions": "Be brief.", "tools": [FLAT]})["prompt_cache_key"]
    other = sent({"input": "b", "instructions": "Be brief.", "tools": [FLAT]})["prompt_cache_key"]
    third = sent({"input": "b", "instructions": "Be long.", "tools": [FLAT]})["prompt_cache_key"]
    assert key == other != third
    prompts = [[{"role": "system", "content": text}, USER] for text in ("a", "b")]
    first, second = (sent({"input": prompt})["prompt_cache_key"] for prompt in prompts)
    assert first != second


def test_our_own_words_are_taken_out_of_the_history() -> None:
    """Each assistant text passes `clean`, and a message without a word left is not sent."""
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


def test_calls_and_results_are_strings() -> None:
    """Some clients send the objects."""
    items = [USER, {**CALL, "arguments": {"a": 1}}, {**RESULT, "output": {"b": 2}}]
    _, call, result = sent({"input": items})["input"]
    assert (call["arguments"], result["output"]) == ('{"a":1}', '{"b":2}')


OWN, WORDS = new_id("message"), new_buffer_words_id()
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}
RETURNED: list[dict[str, Any]] = [
    USER,
    {**REASONING, "id": "rs_2", "encrypted_content": "x"},
    {**CALL, "id": "fc_1"},
    RESULT,
    {**assistant("One moment... "), "id": WORDS, "type": "message"},
    {**assistant("Sunny."), "id": "msg_1", "type": "message", "status": "completed"},
    {**assistant("Bye."), "id": OWN, "type": "message"},
]


def ids_sent(*items: dict[str, Any], **fields: Any) -> list[str | None]:
    """The ids of the items that the upstream receives."""
    options = {"extra_body": fields.pop("extra_body", {})}
    return [one.get("id") for one in sent({"input": [*items], **fields}, **options)["input"]]


@pytest.mark.parametrize("store", [None, True, False])
def test_whole_items_go_up_without_ids(store: bool | None) -> None:
    """Nobody looks them up then: not who keeps nothing, nor who did not make them."""
    assert ids_sent(*RETURNED, store=store) == [None] * 6
    texts = [one.get("content") for one in sent({"input": RETURNED, "store": store})["input"]]
    assert "Sunny." in str(texts)
    assert "Bye." in str(texts)


def test_reasoning_that_is_nothing_but_an_id_keeps_what_belongs_to_it() -> None:
    """The upstream that stores it knows the others by their ids, but none of ours."""
    ids = [None, "rs_1", "rs_2", "fc_1", None, "msg_1", None]
    for store in (None, True):
        assert ids_sent(USER, REASONING, *RETURNED[1:], store=store) == ids


@pytest.mark.parametrize(
    ("fields", "extra_body"), [({"store": False}, {}), ({}, {"store": False})], ids=str
)
def test_reasoning_that_nobody_keeps_is_not_sent(
    fields: dict[str, Any], extra_body: dict[str, Any]
) -> None:
    """OpenAI's API answers 404 to it, whoever said that nothing is stored."""
    assert ids_sent(USER, REASONING, *RETURNED[1:], **fields, extra_body=extra_body) == [None] * 6


def test_reasoning_of_ours_is_not_sent() -> None:
    """No upstream has heard of it."""
    own = {**REASONING, "id": new_id("reasoning")}
    items = sent({"input": [USER, REASONING, own, {**CALL, "id": "fc_1"}, RESULT]})["input"]
    assert [one.get("id") for one in items] == [None, "rs_1", "fc_1", None]


def test_our_buffer_words_are_no_history() -> None:
    """Whole or by their id, they are taken out, and chain nothing."""
    named = {"type": "item_reference", "id": WORDS}
    request = parsed_with(USER, named, {**assistant("Hm... "), "id": WORDS})
    assert (request.chained, request.roles, request.assistant_texts) == (False, ("user",), ())
    assert ids_sent(USER, {"id": WORDS}, USER) == [None, None]


@pytest.mark.parametrize(
    "body",
    [
        {"previous_response_id": new_id("response")},
        {"input": [{"type": "item_reference", "id": OWN}, USER]},
        {"input": [{"id": new_id("function_call")}, RESULT]},
    ],
    ids=["a response", "an item", "a call"],
)
def test_a_link_that_we_made_up_is_refused_at_once(body: dict[str, Any]) -> None:
    """The text behind it is kept nowhere, and no upstream has heard of it."""
    body = {"input": "Hi", **body}
    with pytest.raises(ChainNotFound):
        responses.parse(body)


@pytest.mark.parametrize(
    "chain",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"input": [{"type": "item_reference", "id": "msg_1"}, USER]},
        {"input": [{"id": "msg_1"}, USER]},
    ],
)
def test_a_chained_request_is_not_changed(chain: dict[str, Any]) -> None:
    """Whoever refers to what is stored wants this stored too."""
    got = sent({"input": "Hi", **chain})
    assert "store" not in got
    for name in ("previous_response_id", "conversation"):
        assert got.get(name) == chain.get(name)


@pytest.mark.parametrize("given", [None, False, True])
def test_what_is_stored_is_the_caller_s_choice(given: bool | None) -> None:
    """Clients that name items by their ids rely on it; the deployment's field wins."""
    assert sent({"input": "Hi", "store": given}).get("store") is given
    assert sent({"input": "Hi", "store": given}, extra_body={"store": False})["store"] is False


def test_instructions_alone_become_the_input() -> None:
    """Before anybody spoke a call has nothing else, and OpenAI's API requires an input."""
    got = sent({"input": [], "instructions": "Greet the caller."})
    assert got["input"] == [{"type": "message", "role": "system", "content": "Greet the caller."}]
    assert "instructions" not in got


def test_feedback_is_appended_behind_what_was_said() -> None:
    """The assistant's words come first, if there are any; a string becomes items."""
    body = sent({"input": [USER], "previous_response_id": "r"})
    note = {"type": "message", "role": "user", "content": "Again."}
    words = {"type": "message", "role": "assistant", "content": "Well."}
    first = {**USER, "type": "message"}
    assert responses.with_feedback(body, "Well.", "Again.")["input"] == [first, words, note]
    assert responses.with_feedback({"input": "Hi"}, "", "Again.")["input"][1:] == [note]
    assert responses.with_feedback({}, " ", "Again.")["input"] == [note]


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.floats()
    | st.sampled_from(["", "...", "message", "function", "function_call", "user", "assistant"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "name", "call_id", "output", "format"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
_TEXTS = st.sampled_from(["", " ", "...", "Hello."])
_PARTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["input_text", "output_text", "text", "input_image", "refusal"])},
        optional={"text": _TEXTS, "image_url": _TEXTS, "detail": st.none()},
    ),
    max_size=2,
)
_ITEMS = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "developer", "tool"])},
        optional={"content": _TEXTS | _PARTS | st.none(), "type": st.just("message")},
    ),
    st.just(CALL),
    st.just(RESULT),
    st.sampled_from([{"type": "reasoning", "summary": []}, {"id": "msg_1"}, {"type": "x"}]),
)
_NUMBERS = st.integers() | st.floats() | st.none()
_BODY = st.fixed_dictionaries(
    {"input": st.lists(_ITEMS, min_size=1, max_size=4) | st.just("Hi")},
    optional={
        "instructions": _TEXTS | st.none(),
        "model": _TEXTS,
        "stream": st.booleans(),
        "tools": st.lists(st.sampled_from([FLAT, NESTED, {"type": "web_search"}]), max_size=2),
        "tool_choice": st.sampled_from(["auto", {"type": "function", "name": "f"}, {}]),
        "text": st.sampled_from([{}, {"format": {"type": "json_object"}}, {"format": {}}]),
        "reasoning": st.sampled_from([{}, {"effort": "low"}]),
        "max_output_tokens": _NUMBERS,
        "temperature": _NUMBERS,
        "user_id": st.text() | st.integers(),
    },
)
_NAMES = ["arguments", "call_id", "content", "id", "instructions", "input", "max_output_tokens"]
_NAMES += ["name", "output", "reasoning", "role", "text", "tool_choice", "tools", "type", "user_id"]
_NAMES += ["conversation", "elevenlabs_extra_body", "max_tool_calls", "prompt", "stream_options"]


@settings(max_examples=500, deadline=None)
@given(_BODY, st.lists(st.tuples(st.sampled_from(_NAMES), st.integers(0, 3), _JSON), max_size=2))
def test_a_request_is_understood_or_refused_by_name(
    body: dict[str, Any], spoils: list[tuple[str, int, Any]]
) -> None:
    """This holds for both ways to an upstream, and nothing else is raised."""
    for name, position, value in spoils:
        items = body["input"] if isinstance(body["input"], list) else []
        where = items[position] if position < len(items) else body
        if isinstance(where, dict):
            spoilt = {**where, name: value}
            body = spoilt if where is body else {**body, "input": [*items, spoilt]}
    with contextlib.suppress(Refused):
        parsed = _refused_by_name(responses.parse, body)
        prepared = responses.prepare(parsed, model="m", extra_body={}, clean=str.strip)
        json.dumps(responses.with_feedback(prepared.body, "answer", "feedback"))
        over = _refused_by_name(chat.parse, responses.as_chat(body))
        chat.prepare(over, model="m", extra_body={}, clean=str.strip)


class Refused(Exception):
    """The request was refused, and the error named the field."""


def _refused_by_name(
    parse: Callable[[dict[str, Any]], ParsedRequest], body: dict[str, Any]
) -> ParsedRequest:
    try:
        return parse(body)
    except InvalidRequest as error:
        if not error.param:
            raise
        raise Refused from error
