"""Requests that name stored responses and items, and which ids an upstream receives."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects import responses
from completions.dialects.responses.ids import new_buffer_words_id, new_id
from completions.errors import ChainNotFound
from tests.support.responses_requests import CALL, RESULT, USER, assistant, parsed_with, sent

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
def test_whole_items_are_sent_without_ids(store: bool | None) -> None:
    """An upstream that keeps nothing or did not make them answers 404 to their ids."""
    assert ids_sent(*RETURNED, store=store) == [None] * 6
    texts = [one.get("content") for one in sent({"input": RETURNED, "store": store})["input"]]
    assert "Sunny." in str(texts)
    assert "Bye." in str(texts)


def test_reasoning_by_id_keeps_the_ids_around_it() -> None:
    """The upstream that stores it knows the other items by their ids, but not by ours."""
    ids = [None, "rs_1", "rs_2", "fc_1", None, "msg_1", None]
    for store in (None, True):
        assert ids_sent(USER, REASONING, *RETURNED[1:], store=store) == ids


@pytest.mark.parametrize(
    ("fields", "extra_body"), [({"store": False}, {}), ({}, {"store": False})], ids=str
)
def test_reasoning_that_is_not_stored_is_not_sent(
    fields: dict[str, Any], extra_body: dict[str, Any]
) -> None:
    """OpenAI's API answers 404 to it, whether the caller or the deployment turned storage off."""
    assert ids_sent(USER, REASONING, *RETURNED[1:], **fields, extra_body=extra_body) == [None] * 6


def test_our_own_reasoning_is_not_sent() -> None:
    """No upstream knows it."""
    own = {**REASONING, "id": new_id("reasoning")}
    items = sent({"input": [USER, REASONING, own, {**CALL, "id": "fc_1"}, RESULT]})["input"]
    assert [one.get("id") for one in items] == [None, "rs_1", "fc_1", None]


def test_our_buffer_words_are_no_history() -> None:
    """Whether whole or named by id, they are removed and make no chain."""
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
def test_a_link_to_an_id_of_ours_is_refused_at_once(body: dict[str, Any]) -> None:
    """The text behind it is stored nowhere."""
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
    """A caller who refers to stored items wants this response stored, too."""
    got = sent({"input": "Hi", **chain})
    assert "store" not in got
    for name in ("previous_response_id", "conversation"):
        assert got.get(name) == chain.get(name)


@pytest.mark.parametrize("given", [None, False, True])
def test_the_caller_chooses_what_is_stored(given: bool | None) -> None:
    """Clients that name items by id rely on it; the deployment's field wins."""
    assert sent({"input": "Hi", "store": given}).get("store") is given
    assert sent({"input": "Hi", "store": given}, extra_body={"store": False})["store"] is False
