"""One request to a model, as its sender records it."""

from __future__ import annotations

import asyncio

import pytest

from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.settings import Candidate
from completions.upstream.exchange import Exchange


def test_two_requests_to_one_model_are_distinct() -> None:
    """Their facts may be equal, but only one of them answered."""
    first, second = (Exchange(Candidate("upstream", "http://a/v1")) for _ in range(2))
    assert first != second
    assert [first, second].index(second) == 1


async def test_nothing_after_a_finish_is_a_failure() -> None:
    """The model had finished, whatever happened to the connection."""
    exchange = Exchange(Candidate("upstream", "http://a/v1"))
    exchange.finishes()
    ended_at = exchange.ended_at
    exchange.ends(UpstreamUnavailable("Gone."), whole=False, by_itself=False)
    assert (exchange.finished, exchange.error_code, exchange.ended_at) == (True, "", ended_at)


async def test_a_first_word_is_not_later_than_the_end() -> None:
    """Both may come in one piece, of which the finish is read first."""
    exchange = Exchange(Candidate("upstream", "http://a/v1"))
    exchange.finishes()
    await asyncio.sleep(0)
    exchange.speaks()
    assert exchange.first_word_at == exchange.ended_at


@pytest.mark.parametrize(
    ("error", "whole", "by_itself", "code"),
    [
        (UpstreamTimeout("Late."), False, False, "upstream_timeout"),
        (None, True, True, ""),
        (None, False, True, "upstream_unavailable"),
        (None, False, False, ""),
    ],
    ids=["failed", "terminated", "closed by the API", "closed by us"],
)
async def test_an_end_without_a_finish(
    error: CompletionsError | None, whole: bool, by_itself: bool, code: str
) -> None:
    """It is a failure unless the terminator came or the rest was not wanted."""
    exchange = Exchange(Candidate("upstream", "http://a/v1"))
    exchange.ends(error, whole=whole, by_itself=by_itself)
    assert (exchange.error_code, exchange.finished) == (code, whole)
    assert exchange.ended_at is not None
