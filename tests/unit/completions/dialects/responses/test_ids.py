"""Ids that we make up and recognise later."""

from __future__ import annotations

import pytest

from completions.dialects.responses.ids import (
    is_buffer_words,
    is_ours,
    new_buffer_words_id,
    new_id,
)

KINDS = ("message", "function_call", "call", "reasoning", "response", "other")


def test_ids_have_the_prefix_of_their_type() -> None:
    """OpenAI's API refuses other ids in a history."""
    prefixes = [new_id(kind).partition("_")[0] for kind in KINDS]
    assert prefixes == ["msg", "fc", "call", "rs", "resp", "item"]
    assert new_buffer_words_id().startswith("msg_")


def test_our_ids_are_recognised() -> None:
    """Each is new, short enough for OpenAI's API, and tells buffer words apart."""
    ids = [new_id(kind) for kind in (*KINDS, *KINDS)]
    assert len({*ids}) == len(ids)
    for one in (*ids, new_buffer_words_id()):
        assert len(one) <= 64
        assert is_ours(one)
        assert is_buffer_words(one) is ("vcw" in one)


@pytest.mark.parametrize(
    "value",
    [
        *("", "msg_1", "msg_vc_", "msg_vc_x", "msg_68f1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9"),
        *(f"x {new_id('message')}", f"{new_id('message')}0", 7, None, {"id": "a"}),
    ],
    ids=lambda value: type(value).__name__,  # Each worker makes up its own ids.
)
def test_other_ids_are_not_taken_for_ours(value: object) -> None:
    """This includes ids that only resemble ours."""
    assert not is_ours(value)
    assert not is_buffer_words(value)
