"""`python -m tests.soak --turns 20000 --seed 7`: a longer soak, with a summary by kind."""

from __future__ import annotations

import argparse
import os
import sys

# Before `completions` is imported: Powertools reads its names at import.
os.environ |= {"POWERTOOLS_SERVICE_NAME": "completions", "POWERTOOLS_METRICS_NAMESPACE": "Voice"}

from tests.soak.soak import Plan, run


def main() -> int:
    """Run the soak; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--turns", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds with this in their names")
    parser.add_argument("--memory-only", action="store_true", help="no turns over sockets")
    parser.add_argument("--all", action="store_true", help="also count known violations")
    options = parser.parse_args()
    plan = Plan(
        options.turns,
        options.seed,
        options.only,
        sockets=not options.memory_only,
        known=not options.all,
    )
    summary = run(plan)
    print(summary.table())
    print(summary.verdict())
    return 1 if summary.violated or summary.growth else 0


if __name__ == "__main__":
    sys.exit(main())
