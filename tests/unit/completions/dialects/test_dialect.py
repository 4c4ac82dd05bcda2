"""What both dialects derive from a request: identifiers, and whether its history was spoken."""

from __future__ import annotations

import hashlib

import pytest

from completions.dialects import chat, responses
from completions.dialects.dialect import (
    SPOKEN_LIMIT_CHARS,
    Dialect,
    cache_key,
    clean_if_spoken,
    safety_identifier,
)
from completions.dialects.request import ParsedRequest


def test_a_safety_identifier_is_a_hash() -> None:
    """It is the same for the same user, and does not tell who that is."""
    assert safety_identifier("kim") == hashlib.sha256(b"kim").hexdigest()[:32]


def test_requests_that_share_prompt_and_tools_share_a_cache_key() -> None:
    """Any other part makes another key; OpenAI's API takes 64 characters at most."""
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
    """More than hours of speech holds no buffer words of ours, and would take long to search."""
    request = ParsedRequest({}, stream=True, model="m", assistant_texts=texts)
    assert (clean_if_spoken(str.upper, request)("a") == "A") is spoken


@pytest.mark.parametrize("dialect", [chat, responses])
def test_a_longer_history_goes_up_as_it_came(dialect: Dialect) -> None:
    """Both dialects leave its texts alone, and clean those of a call."""
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
