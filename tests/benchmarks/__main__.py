"""`make bench`: compare our figures with others, measured in one run on this machine."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from local.layout import CodeError, interpreter
from tests.benchmarks import at_once, cold_start, first_turns, lambda_path, package, relay
from tests.benchmarks.figures import Figure, table
from tests.benchmarks.publish import publish

DOCS = Path(__file__).parents[2] / "docs"
PARTS = ("relay", "lambda", "cold", "restore", "first_turns", "at_once", "package")
_PACKAGES = ("fastapi", "openai", "aiohttp", "mangum", "uvicorn", "boto3")


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--peers", required=True, help="prefix of the names of their environments")
    parser.add_argument("--result", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--publish", action="store_true", help="also write into docs/")
    parser.add_argument("--only", default="", help=", ".join(PARTS))
    options = parser.parse_args()
    only = {part.strip() for part in options.only.split(",") if part.strip()}
    if unknown := only - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    if options.publish and only:
        parser.error("--publish writes whole tables: leave out --only")
    about = machine(options.peers)
    print("\n".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    figures = asyncio.run(measure(options.peers, options.requests, options.rounds, only))
    print(table(figures))
    result = {"machine": about, "figures": [figure.as_json() for figure in figures]}
    options.result.parent.mkdir(exist_ok=True)
    options.result.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {options.result}")
    if options.publish:
        shutil.copy(options.result, DOCS / "benchmarks.json")
        publish(figures, about)


async def measure(peers: str, requests: int, rounds: int, only: set[str]) -> list[Figure]:
    """Return every figure that this machine can measure, in the table's order."""
    figures: list[Figure] = []

    def wanted(part: str) -> bool:
        return not only or part in only

    if wanted("relay") or wanted("lambda"):
        found = {
            name: str(python)
            for name, python in (
                (relay.PEER, Path(f"{peers}-memorysync", "bin", "python")),
                (relay.VENDOR, Path(f"{peers}-vendor", "bin", "python")),
            )
            if python.exists()
        }
        measured = await relay.measure(found, requests=requests, bursts=rounds)
        first = dict(zip(relay.PACES, measured, strict=False))
        if wanted("lambda"):
            beside = {ms: figure.theirs for ms, figure in first.items()}
            through = await lambda_path.added(
                beside, f"{relay.PEER} over uvicorn", requests=requests
            )
            measured[len(first) : len(first)] = through
        figures += measured
    built = _is_built()
    if wanted("cold"):
        try:
            figures += await cold_start.measure(starts=rounds, packages=Path(f"{peers}-lambda"))
        except (CodeError, FileNotFoundError) as error:
            print(f"no cold starts: {error}")
    if wanted("restore"):
        figures += await lambda_path.restore(rounds=rounds, built=built)
    if wanted("first_turns"):
        figures += await first_turns.measure(rounds=rounds, built=built)
    if wanted("at_once"):
        figures += await at_once.measure(rounds=max(1, rounds // 3))
    if wanted("package"):
        try:
            figures.append(package.measure())
        except CodeError as error:
            print(f"no package: {error}")
    return figures


def _is_built() -> bool:
    """Return whether there are packages, and a CPython 3.13 to run them."""
    try:
        interpreter("python3.13")
        package.measure()
    except CodeError:
        return False
    return True


def machine(peers: str) -> dict[str, Any]:
    """Return what was measured, and on which machine."""
    load = os.getloadavg()[0]
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    try:
        lambdas = subprocess.run(
            [interpreter("python3.13"), "-VV"], capture_output=True, text=True, check=False
        ).stdout.split(" (")[0]
    except CodeError:
        lambdas = "none"
    versions = {name: metadata.version(name) for name in _PACKAGES}
    peer = Path(f"{peers}-memorysync", "bin", "python")
    if peer.exists():
        code = "import importlib.metadata as m; print(m.version('elevenlabs-memorysync'))"
        versions["elevenlabs-memorysync"] = subprocess.run(
            [peer, "-c", code], capture_output=True, text=True, check=False
        ).stdout.strip()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=DOCS,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "code": commit.stdout.strip() or "not from a repository",
        "processor": f"{model}, {os.cpu_count()} cores, load {load:.1f} before",
        "system": platform.system(),
        "python": f"{platform.python_version()}, for cold starts {lambdas}",
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


if __name__ == "__main__":
    main()
