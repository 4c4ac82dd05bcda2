"""Every platform with every model API's stand-in answers each turn with words or a call."""

from __future__ import annotations

import pytest

from tests.matrix import page, platforms
from tests.matrix.play import play
from tests.matrix.stand_ins import STAND_INS, StandIn

QUARTERS = [0, *(pytest.param(quarter, marks=pytest.mark.slow) for quarter in (1, 2, 3))]


@pytest.mark.parametrize("stand_in", STAND_INS, ids=lambda one: one.name)
@pytest.mark.parametrize("quarter", QUARTERS)
def test_every_platforms_calls_are_answered_by_every_model_api(
    stand_in: StandIn, quarter: int
) -> None:
    """Each turn gets words or a call within three requests, as the page shows."""
    # Each quarter has every platform and every model API.
    first = (STAND_INS.index(stand_in) + quarter) % 4
    names = list(platforms.EVENTS)[first::4]
    cells = {name: play(name, stand_in) for name in names}
    assert {name: cell.wrong for name, cell in cells.items() if cell.wrong} == {}
    assert [cell.shown for cell in cells.values()] == page.row_on_page(stand_in)[first::4]


def test_the_page_has_the_platforms_and_model_apis_that_are_played() -> None:
    """The page has the platforms and model APIs that are played; `make matrix` writes it."""
    text = page.PAGE.read_text()
    assert text.startswith(page.head(late=" / 3* |" in text))
    assert f"| model API | {' | '.join(platforms.EVENTS)} |" in text
    for one in STAND_INS:
        assert f"| {one.name} | {one.refuses} | {one.speaks} |" in text
