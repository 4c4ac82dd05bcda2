"""`python -m tests.matrix` writes docs/matrix.md; `--histories 10000` plays so many histories."""

from __future__ import annotations

import argparse
import io
import os
import sys
from contextlib import redirect_stdout

# Before `completions` is imported: Powertools reads its names at import.
os.environ |= {"POWERTOOLS_SERVICE_NAME": "completions", "POWERTOOLS_METRICS_NAMESPACE": "Voice"}

from completions.observability import log
from tests.matrix import page, platforms, test_histories
from tests.matrix.play import Cell, play
from tests.matrix.stand_ins import STAND_INS


def main() -> int:
    """Return 1 if a cell is wrong; an unanswered history raises."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--histories", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    log.setLevel("CRITICAL")
    if options.histories:
        with redirect_stdout(io.StringIO()):  # The metrics of each turn.
            test_histories.play(options.histories, options.seed)
        print(f"{options.histories} histories, none dead")
        return 0
    cells: dict[tuple[str, str], Cell] = {}
    for stand_in in STAND_INS:
        with redirect_stdout(io.StringIO()):
            cells |= {(name, stand_in.name): play(name, stand_in) for name in platforms.EVENTS}
        print(stand_in.name, *(cells[name, stand_in.name].shown for name in platforms.EVENTS))
    page.PAGE.write_text(page.written(cells))
    for (name, model), cell in cells.items():
        for wrong in cell.wrong:
            print(f"{name} and {model}: {wrong}", file=sys.stderr)
    return 1 if any(cell.wrong for cell in cells.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
