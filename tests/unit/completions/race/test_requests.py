"""The requests of one turn: how many there may be, which kind each is, and what they cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from completions.race.requests import REQUESTS_LIMIT, Requests
from completions.settings import Candidate


@given(st.lists(st.booleans(), max_size=REQUESTS_LIMIT + 2))
def test_every_request_is_the_first_a_hedge_or_a_retry(hedges: list[bool]) -> None:
    """The counts add up, and nobody asks more often than a turn may."""
    requests = Requests()
    made = [requests.ask(Candidate("upstream", "u"), 0, hedge=hedge) for hedge in [False, *hedges]]
    assert len(requests.exchanges) == sum(one is not None for one in made) <= REQUESTS_LIMIT
    assert len(requests.exchanges) == 1 + requests.hedges + requests.retries
