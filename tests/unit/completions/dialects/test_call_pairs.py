"""Calls and results in pairs, in either dialect, whatever a platform made of the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from completions.dialects import chat, responses
from completions.dialects.call_pairs import INTERRUPTED, content_lines
from tests.support import histories
from tests.support.history import called, result

USER = {"role": "user", "content": "Hello?"}
MADE = "MADE: "
"""Stands for words of ours, which are removed from what the assistant said."""


def without_ours(text: str) -> str:
    """Clean one text as a turn does."""
    return text.replace(MADE, "")


def sent(
    messages: list[dict[str, Any]], clean: Callable[[str], str] = without_ours
) -> list[dict[str, Any]]:
    """The messages that a chat upstream receives."""
    request = chat.parse({"model": "m", "stream": True, "messages": messages})
    body = chat.prepare(request, model="", extra_body={}, clean=clean).body
    return list(body["messages"])


def sent_items(items: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    """The items that an upstream with `/responses` receives."""
    request = responses.parse({"model": "m", "stream": True, "input": items, **fields})
    body = responses.prepare(request, model="", extra_body={}, clean=without_ours).body
    return list(body["input"])


def item(call_id: str = "c1") -> dict[str, Any]:
    """A call as an item."""
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


def output(text: str, call_id: str = "c1") -> dict[str, Any]:
    """Its output."""
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def message(text: str) -> dict[str, Any]:
    """A user's item."""
    return {"type": "message", "role": "user", "content": text}


A, B, BOTH = (
    called("f", "{}", "a"),
    called("g", "{}", "b"),
    {
        **called("f", "{}", "a"),
        "tool_calls": called("f", "{}", "a")["tool_calls"] + called("g", "{}", "b")["tool_calls"],
    },
)
IN_PAIRS: dict[str, tuple[list[Any], list[Any]]] = {
    "in order": ([USER, BOTH, result("2", "b"), result("1", "a"), USER],) * 2,
    "interrupted": ([A, USER], [A, result(INTERRUPTED, "a"), USER]),
    "at the end": ([USER, A], [USER, A, result(INTERRUPTED, "a")]),
    "half of two": (
        [BOTH, result("2", "b"), USER],
        [BOTH, result("2", "b"), result(INTERRUPTED, "a"), USER],
    ),
    "late": (
        [A, USER, B, result("2", "b"), result("1", "a")],
        [A, result("1", "a"), USER, B, result("2", "b")],
    ),
    "early": ([result("1", "a"), A, USER], [A, result("1", "a"), USER]),
    "numbered anew in each turn": (
        [A, USER, A, result("2", "a"), USER],
        [A, result(INTERRUPTED, "a"), USER, A, result("2", "a"), USER],
    ),
    "told twice": ([A, result("1", "a"), result("1", "a")], [A, result("1", "a")]),
    "told in two": (
        [A, result("wait", "a"), USER, result("1", "a")],
        [A, result("wait\n1", "a"), USER],
    ),
    "nobody's": (
        [USER, {**result("1", "x"), "name": "f"}, result("2", "y"), result("", "z")],
        [
            USER,
            {"role": "user", "content": "[Result of f] 1"},
            {"role": "user", "content": "[Result of a tool] 2"},
        ],
    ),
    "amid a step": (
        [BOTH, result("1", "a"), result("x", "x"), result("2", "b")],
        [
            *(BOTH, result("1", "a"), result("2", "b")),
            {"role": "user", "content": "[Result of a tool] x"},
        ],
    ),
}


@pytest.mark.parametrize("name", IN_PAIRS)
def test_each_call_is_followed_by_its_one_result(name: str) -> None:
    """Results move to their calls, missing ones are filled in, and orphans become text."""
    given_, expected = IN_PAIRS[name]
    assert sent(given_) == expected


ITEMS_IN_PAIRS: dict[str, tuple[list[Any], list[Any]]] = {
    "in order": ([item("a"), item("b"), output("2", "b"), output("1", "a"), message("Hi")],) * 2,
    "one by one": ([item("a"), output("1", "a"), item("b"), output("2", "b")],) * 2,
    "interrupted": ([item(), message("Hi")], [item(), output(INTERRUPTED), message("Hi")]),
    "late": ([item(), message("Hi"), output("1")], [item(), output("1"), message("Hi")]),
    "told in two": ([item(), output("wait"), output("1")], [item(), output("wait\n1")]),
    "nobody's": ([message("Hi"), output("1")], [message("Hi"), message("[Result of a tool] 1")]),
    "two of one id": (
        [item(), item(), output("1"), output("2")],
        [item(), {**item(), "call_id": "call_1_0"}, output("1", "call_1_0"), output("2")],
    ),
    "a tool of another kind": (
        [{"type": "custom_tool_call", "call_id": "x", "name": "f", "input": "i"}],
        [
            {"type": "custom_tool_call", "call_id": "x", "name": "f", "input": "i"},
            {"type": "custom_tool_call_output", "call_id": "x", "output": INTERRUPTED},
        ],
    ),
}


@pytest.mark.parametrize("name", ITEMS_IN_PAIRS)
def test_each_call_item_is_followed_by_its_output(name: str) -> None:
    """The Responses API only wants it somewhere later; other servers want it next."""
    given_, expected = ITEMS_IN_PAIRS[name]
    assert sent_items(given_) == expected


def test_a_chained_history_is_not_paired() -> None:
    """The upstream may hold the call that a result belongs to."""
    for chain in ({"previous_response_id": "resp_1"}, {"conversation": "conv_1"}):
        assert sent_items([output("1")], **chain) == [output("1")]


def test_a_healthy_history_is_not_copied() -> None:
    """Every ordinary turn has one, and it may be long."""
    messages = [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "assistant", "content": "Hello."},
        BOTH,
        result("1", "a"),
        result("2", "b"),
    ]
    kept = sent(messages)
    assert len(kept) == len(messages)
    assert all(one is other for one, other in zip(kept, messages, strict=True))


@given(histories.messages())
@settings(max_examples=300, deadline=None)
def test_any_chat_history_becomes_one_that_strict_servers_take(messages: list[Any]) -> None:
    """Wrong order, cuts, orphans, empty messages and nulls are repaired, and no word is lost."""
    before = repr(messages)
    kept = sent(messages)
    assert histories.faults(kept) == []
    assert histories.words(kept) == histories.words(messages)
    assert repr(messages) == before
    # The next turn sends it again: a repaired history stays as it is.
    assert sent(kept) == kept


@given(histories.items())
@settings(max_examples=300, deadline=None)
def test_any_items_become_a_history_that_strict_servers_take(items: list[Any]) -> None:
    """This holds for `/responses` and for upstreams that have only chat completions."""
    before = repr(items)
    kept = sent_items(items)
    assert histories.item_faults(kept) == []
    assert histories.words(kept) == histories.words(items)
    assert sent_items(kept) == kept
    over_chat = sent(responses.as_chat({"input": items})["messages"])
    assert histories.faults(over_chat) == []
    assert histories.words(over_chat) == histories.words(items)
    assert repr(items) == before


def test_a_text_is_read_from_any_content() -> None:
    """Parts without text yield nothing."""
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"text": None}, {"text": "b"}]
    assert [content_lines(content) for content in ("a", None, [], parts)] == ["a", "", "", "a\nb"]
