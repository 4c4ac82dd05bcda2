"""No history ends a call, with any model API's stand-in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.matrix import platforms
from tests.matrix.play import Played, call, faults, is_late
from tests.matrix.stand_ins import STAND_INS, StandIn
from tests.support import histories
from tests.support.ways import CHAT, RESPONSES

EXAMPLES = 250
"""In each part, which one worker plays."""
PARTS = [0, *(pytest.param(part, marks=pytest.mark.slow) for part in (1, 2, 3))]


def play(examples: int, first: int | None = None) -> None:
    """Play so many histories three times each, with a known provider if there is one.

    `first` is the seed that repeats them.
    """

    @settings(max_examples=examples, deadline=None)
    @given(st.sampled_from(STAND_INS), st.booleans(), st.data())
    def answered(stand_in: StandIn, items: bool, data: st.DataObject) -> None:
        request: dict[str, Any] = {"model": "m", "stream": True}
        if items:
            request["input"] = data.draw(histories.items())
        else:
            request["messages"] = data.draw(histories.messages())
        way = RESPONSES if items else CHAT
        turns = [(request, platforms.WORDS)] * 3
        played = call(stand_in, way, turns, known=bool(stand_in.url))
        if not stand_in.url and is_late(stand_in, way, played):
            played[0] = Played(played[0].requests)
        assert list(faults(played)) == []

    (answered if first is None else seed(first)(answered))()


@pytest.mark.parametrize("part", PARTS)
def test_no_history_is_the_end_of_a_call(part: int) -> None:
    """Any order of roles, cuts, orphans and empties is answered, the third time at once."""
    play(EXAMPLES, first=part)
