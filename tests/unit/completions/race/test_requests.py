"""The requests of one turn: how many it may make, of which kind, and what they cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from completions.race.requests import REQUESTS_LIMIT, TOKENS_LIMIT, Requests
from completions.settings import Candidate

A = Candidate("upstream", "http://a.invalid/v1")
B = Candidate("fallback", "http://b.invalid/v1")


@given(st.lists(st.booleans(), max_size=REQUESTS_LIMIT + 2))
def test_every_request_is_the_first_a_hedge_or_a_retry(hedges: list[bool]) -> None:
    """The counts add up, and no turn makes more requests than it may."""
    requests = Requests()
    made = [requests.reserve(A, 0, hedge=hedge) for hedge in [False, *hedges]]
    assert len(requests.exchanges) == sum(one is not None for one in made) <= REQUESTS_LIMIT
    assert len(requests.exchanges) == 1 + requests.hedges + requests.retries


def test_the_exchange_that_answered_is_the_winners_last_one() -> None:
    """An attempt may have made several requests, of which the last was answered."""
    requests = Requests()
    for candidate, source in ((A, 0), (B, 1), (B, 1)):
        exchange = requests.reserve(candidate, source, hedge=False)
        assert exchange is not None
        exchange.headers_at = 1.0
    assert requests.answered(B, 1) is requests.exchanges[2]
    assert requests.answered(A, 0) is requests.exchanges[0]


def test_an_agents_turn_ends_with_its_last_answered_exchange() -> None:
    """The agent itself made no request, and requests without headers do not count."""
    requests = Requests()
    assert requests.answered(None, 0) is None
    first, second = (requests.reserve(A, source, hedge=False) for source in range(2))
    assert first is not None
    first.headers_at = 1.0
    assert second is not None
    assert requests.answered(Candidate("responder", ""), 0) is first


def test_each_question_has_three_requests_within_the_turns_limit() -> None:
    """Each request counts in its question and in the turn; each question has a first one."""
    turn = Requests(limit=5)
    one, other = turn.of_one_question(), turn.of_one_question()
    made = [one.reserve(A, 0, hedge=hedge) for hedge in (False, True, False, False)]
    assert [exchange is not None for exchange in made] == [True, True, True, False]
    assert (one.left, other.left, turn.left) == (0, 2, 2)
    made = [other.reserve(B, 0, hedge=False) for _ in range(3)]
    assert [exchange is not None for exchange in made] == [True, True, False]
    assert turn.exchanges == one.exchanges + other.exchanges
    assert (turn.hedges, turn.retries, turn.left) == (1, 2, 0)
    assert turn.of_one_question().left == 0


def test_tokens_are_summed_under_any_of_their_names() -> None:
    """Missing or impossible counts are left out, and without any the sum is None."""
    requests = Requests()
    assert requests.tokens("prompt_tokens") is None
    usages = (
        {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}},
        {"input_tokens": 6, "input_tokens_details": {"cached_tokens": 1}},
        {"input_tokens": TOKENS_LIMIT, "input_tokens_details": None},
    )
    for usage in usages:
        exchange = requests.reserve(A, 0, hedge=False)
        assert exchange is not None
        exchange.usage = usage
    assert requests.tokens("prompt_tokens", "input_tokens") == 11
    assert requests.tokens("output_tokens") is None
    assert requests.cached_tokens == 3
