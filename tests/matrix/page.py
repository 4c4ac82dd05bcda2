"""The page that shows the matrix: docs/matrix.md, written by `python -m tests.matrix`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.matrix.platforms import EVENTS, STORIES
from tests.matrix.play import Cell
from tests.matrix.stand_ins import STAND_INS, StandIn

PAGE = Path(__file__).parents[2] / "docs" / "matrix.md"
_HEAD = """\
# Platforms and models

**These are all stand-ins:** no real platform or model API was asked. Each of the {platforms}
platforms of [platforms.md](platforms.md) is played by its file in `events/`, and by the calls that
follow from it. Each of the {models} model APIs is played by a server that refuses what, according
to its documentation or public reports, the API refuses, in the same words and shape, and that
streams in its style (`tests/matrix/stand_ins.py`, `tests/support/strict_servers.py`). `make matrix`
writes this page, and a test checks that it is current.

A cell is {stories} calls, each over Chat Completions and over the Responses API, whether the model
API has it or not: three turns; a tool call, its result, the next turn, and a caller who speaks
while the tool runs, twice; histories in which nobody has spoken, or the assistant has spoken last,
or contents are lists, empty or null; everything that an owner may have set; and answers in one
piece. In each turn the caller hears the model's words and nothing else, or gets its call, after at
most three requests; the last turn of each call takes one.

`1 / 3`: how many requests the first turn takes at the provider's own address (`·`: it has none),
and the most that any turn takes behind an unknown host and model, where everything is learnt from
refusals.
{notes}
"""
_NOTE = """\
`3*`: there, the first turn of one call ends in our words, and the next one is answered: the server
has no Responses API, and also refuses three things, one after another.
"""


def head(*, late: bool) -> str:
    """Return the text above the table; `late`: some first turn is not answered."""
    counts = {"platforms": len(EVENTS), "models": len(STAND_INS), "stories": len(STORIES)}
    return _HEAD.format(**counts, notes=_NOTE if late else "")


def written(cells: Mapping[tuple[str, str], Cell]) -> str:
    """Return the page for these cells, by platform and model API."""
    heading = ["model API", *EVENTS]
    rows = [[one.name, *(cells[name, one.name].shown for name in EVENTS)] for one in STAND_INS]
    told = [[one.name, one.refuses, one.speaks] for one in STAND_INS]
    return (
        head(late=any(cell.late for cell in cells.values()))
        + _table(heading, rows)
        + "\n## What each stand-in does\n"
        + _table(["stand-in", "refuses", "speaks"], told)
    )


def row_on_page(stand_in: StandIn) -> list[str]:
    """Return the page's row of this model API, by platform."""
    (line,) = re.findall(
        rf"^\| {re.escape(stand_in.name)} \| (.* / .*) \|$", PAGE.read_text(), re.MULTILINE
    )
    return [cell.strip() for cell in str(line).split("|")]


def _table(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, *rows]
    shown = [f"| {' | '.join(cells)} |" for cells in lines]
    shown.insert(1, "|" + "---|" * len(heading))
    return "\n".join(shown) + "\n"
