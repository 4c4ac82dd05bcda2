"""`make bench`: our figures beside those of others, measured in one run on this machine."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from tests.benchmarks import cold_start, relay


def main() -> None:
    """Measures and prints; judges nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--peer-python", default="", help="an interpreter with the peer installed")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--bursts", type=int, default=10)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--starts", type=int, default=7)
    options = parser.parse_args()
    names, interpreters = ["ours", "bare", "usual"], {}
    if Path(options.peer_python).is_file():
        names.insert(1, "memorysync")
        interpreters["memorysync"] = options.peer_python
    print("ours: this function · bare: our relay without the turn · usual: chunk by chunk", end="")
    print(" · memorysync: the peer" if interpreters else " (no peer: see make bench)")
    figures = asyncio.run(
        relay.measure(
            names,
            interpreters,
            requests=options.requests,
            bursts=options.bursts,
            streams=options.streams,
        )
    )
    print(relay.table(figures, peer="memorysync"))
    cold_start.run(options.starts)


if __name__ == "__main__":
    main()
