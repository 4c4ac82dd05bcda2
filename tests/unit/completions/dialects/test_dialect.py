"""What both dialects derive from a request: identifiers, and whether its history was spoken."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from completions.dialects import chat, responses
from completions.dialects.dialect import (
    METADATA_PAIRS,
    SPOKEN_LIMIT_CHARS,
    Dialect,
    as_metadata,
    cache_key,
    clean_if_spoken,
    safety_identifier,
)
from completions.dialects.request import ParsedRequest


def test_a_safety_identifier_is_a_hash() -> None:
    """The same user always has the same one, and it does not reveal who that is."""
    assert safety_identifier("kim") == hashlib.sha256(b"kim").hexdigest()[:32]


def test_requests_that_share_prompt_and_tools_share_a_cache_key() -> None:
    """A change to either makes another key; OpenAI's API takes at most 64 characters."""
    key = cache_key("Be brief.", [{"name": "f"}])
    assert key == cache_key("Be brief.", [{"name": "f"}])
    assert len({key, cache_key("Be long.", [{"name": "f"}]), cache_key("Be brief.", None)}) == 3
    assert len(key) <= 64


@pytest.mark.parametrize(
    ("texts", "spoken"),
    [
        ((), True),
        (("Hello.",) * 500, True),
        (("x" * (SPOKEN_LIMIT_CHARS - 64),), True),
        (("x" * SPOKEN_LIMIT_CHARS,), False),
        (("x",) * 5000, False),
    ],
    ids=["none", "a long call", "just", "one too long", "too many"],
)
def test_only_a_history_that_was_spoken_is_cleaned(texts: tuple[str, ...], spoken: bool) -> None:
    """One longer than hours of speech has no buffer words, and searching it would take long."""
    request = ParsedRequest({}, stream=True, model="m", assistant_texts=texts)
    assert (clean_if_spoken(str.upper, request)("a") == "A") is spoken


@pytest.mark.parametrize("dialect", [chat, responses])
def test_a_long_history_is_sent_unchanged(dialect: Dialect) -> None:
    """Both dialects clean only histories as short as a call's."""
    for size, sent in ((10, "HELLO."), (SPOKEN_LIMIT_CHARS, "Hello.")):
        history = [
            {"role": "assistant", "content": "Hello."},
            {"role": "assistant", "content": "." * size},
            {"role": "user", "content": "Hello?"},
        ]
        field = "messages" if dialect is chat else "input"
        request = dialect.parse({"model": "m", "stream": True, field: history})
        prepared = dialect.prepare(request, model="m", extra_body={}, clean=str.upper)
        assert f"'{sent}'" in str(prepared.body[field])


def test_metadata_is_text_within_openais_limits() -> None:
    """Numbers and objects become JSON, and what is too long is left out."""
    given = {"a": "b", "n": 3, "o": {"id": 1}, "none": None, "x" * 65: "y", "y": "x" * 513}
    assert as_metadata(given) == {"a": "b", "n": "3", "o": '{"id":1}'}
    assert len(as_metadata({str(n): "x" for n in range(99)}) or ()) == METADATA_PAIRS
    for nothing in ({}, {"none": None}, ["a"], "a", None):
        assert as_metadata(nothing) is None


@pytest.mark.parametrize(
    ("store", "in_chat", "in_responses"),
    [(True, True, True), (False, False, False), (None, False, True)],
)
def test_metadata_is_sent_if_the_response_is_stored(
    store: bool | None, in_chat: bool, in_responses: bool
) -> None:
    """OpenAI refuses it otherwise; its Responses API stores by default."""
    body: dict[str, Any] = {"store": store, "metadata": {"n": 1}, "input": "Hi"}
    body["messages"] = [{"role": "user", "content": "Hi"}]
    for dialect, kept in ((chat, in_chat), (responses, in_responses)):
        for sent, extra in ((body, {}), ({**body, "store": None}, {"store": store})):
            prepared = dialect.prepare(dialect.parse(sent), model="m", extra_body=extra, clean=str)
            assert prepared.body.get("metadata") == ({"n": "1"} if kept else None)
