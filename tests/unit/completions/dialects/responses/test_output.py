"""What a Responses answer consists of."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects import responses
from completions.dialects.responses.output import (
    OUTPUT_TEXT,
    SUMMARY_TEXT,
    ItemLookup,
    OutputItem,
    finished_response,
    new_message,
    new_response,
)


def test_parts_are_numbered_within_their_list() -> None:
    """Content and summary are two lists of one item."""
    item = OutputItem({"type": "reasoning", "id": "rs_1"})
    kinds = (OUTPUT_TEXT, SUMMARY_TEXT, OUTPUT_TEXT)
    assert [item.add_part(kind).index for kind in kinds] == [0, 0, 1]


def test_a_complete_item_has_the_text_that_was_delivered() -> None:
    """The upstream's part is kept with its annotations if it has the same text."""
    item = OutputItem(new_message())
    item.add_part(OUTPUT_TEXT).pieces += ["Hel", "lo."]
    received: dict[str, Any] = {"type": "output_text", "text": "Hello.", "annotations": [1]}
    for text, kept in (("Hello.", [1]), ("Hm... Hello.", [])):
        own = {**item.announced, "content": [{**received, "text": text}]}
        (part,) = item.as_json("completed", own)["content"]
        assert (part["text"], part["annotations"]) == ("Hello.", kept)


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"output_index": 0, "item_id": "anything"}, "first"),
        ({"item_id": "item_1"}, "first"),
        ({"item_id": "call_2"}, "second"),
        ({"item_id": "unknown"}, "second"),
        ({}, "second"),
        ({"item": {}}, "second"),
        ({"item": {"id": "item_1"}}, "first"),
        ({"item": {"id": "item_9"}}, None),
    ],
    ids=repr,
)
def test_an_event_leads_to_its_item(event: dict[str, Any], found: str | None) -> None:
    """The index decides, else the id, else it is the latest, unless the event has a new item."""
    lookup: ItemLookup[str] = ItemLookup()
    lookup.add("first", {"output_index": 0}, {"id": "item_1"})
    lookup.add("second", {}, {"call_id": "call_2"})
    assert lookup.find(event) == found


@pytest.mark.parametrize(
    ("finish", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_the_finish_decides_the_status(finish: str, status: str, details: Any) -> None:
    """Finish reasons of Chat Completions are translated into this API's terms."""
    response = new_response(responses.parse({"input": "Hi"}))
    got = finished_response(response, finish, [], None)
    assert (got["status"], got["incomplete_details"]) == (status, details)
