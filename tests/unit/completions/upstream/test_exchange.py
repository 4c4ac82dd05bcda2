"""One request to a model, as it is filled in by whoever sends it."""

from __future__ import annotations

from completions.settings import Candidate
from completions.upstream.exchange import Exchange


def test_two_requests_to_one_model_are_two() -> None:
    """What is known of them may be the same; which of them answered is not."""
    first, second = (Exchange(Candidate("upstream", "http://a/v1")) for _ in range(2))
    assert first != second
    assert [first, second].index(second) == 1
