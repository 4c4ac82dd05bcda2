"""The identifiers that both dialects derive from a request."""

from __future__ import annotations

import hashlib

from completions.dialects.dialect import cache_key, safety_identifier


def test_a_safety_identifier_is_a_hash() -> None:
    """It is the same for the same user, and does not tell who that is."""
    assert safety_identifier("kim") == hashlib.sha256(b"kim").hexdigest()[:32]


def test_requests_that_share_prompt_and_tools_share_a_cache_key() -> None:
    """Any other part makes another key; OpenAI's API takes 64 characters at most."""
    key = cache_key("Be brief.", [{"name": "f"}])
    assert key == cache_key("Be brief.", [{"name": "f"}])
    assert len({key, cache_key("Be long.", [{"name": "f"}]), cache_key("Be brief.", None)}) == 3
    assert len(key) <= 64
