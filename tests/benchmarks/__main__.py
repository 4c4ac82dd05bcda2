"""`make bench`: our figures beside those of others, measured in one run on this machine."""

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
from tests.benchmarks import at_once, cold_start, lambda_path, package, relay
from tests.benchmarks.figures import Figure, table

DOCS = Path(__file__).parents[2] / "docs"
_BEGINS, _ENDS = "<!-- make bench writes this -->", "<!-- to here -->"
_PACKAGES = ("fastapi", "openai", "aiohttp", "mangum", "uvicorn", "boto3")


def main() -> None:
    """Measures, prints and writes; judges nothing but what stands beside its limit."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--peers", required=True, help="what the names of their environments begin with"
    )
    parser.add_argument("--result", type=Path, required=True, help="the JSON to write")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--publish", action="store_true", help="into docs/ as well")
    parser.add_argument("--only", default="", help="relay, lambda, cold, restore, at_once, package")
    options = parser.parse_args()
    about = machine(options.peers)
    print("\n".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    figures = asyncio.run(
        measure(options.peers, options.requests, options.rounds, set(options.only.split(",")))
    )
    print(table(figures))
    result = {"machine": about, "figures": [figure.as_json() for figure in figures]}
    options.result.parent.mkdir(exist_ok=True)
    options.result.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {options.result}")
    if options.publish:
        shutil.copy(options.result, DOCS / "benchmarks.json")
        page = DOCS / "benchmarks.md"
        before, mark, rest = page.read_text().partition(_BEGINS)
        listed = "\n".join(f"- {name}: {value}" for name, value in about.items())
        after = rest.partition(_ENDS)[2]
        page.write_text(f"{before}{mark}\n{table(figures)}\n\n{listed}\n{_ENDS}{after}")


async def measure(peers: str, requests: int, rounds: int, only: set[str]) -> list[Figure]:
    """Every figure that this machine can give, in the order of the table."""
    figures: list[Figure] = []

    def wanted(part: str) -> bool:
        return only <= {""} or part in only

    if wanted("relay") or wanted("lambda"):
        found = {
            name: str(python)
            for name, python in (
                (relay.PEER, Path(f"{peers}-memorysync", "bin", "python")),
                (relay.VENDOR, Path(f"{peers}-vendor", "bin", "python")),
            )
            if python.exists()
        }
        figures += await relay.measure(found, requests=requests, bursts=rounds)
        beside = figures[0]
        figures.insert(
            1,
            await lambda_path.added(
                beside.theirs, f"{beside.peer} over uvicorn", requests=requests
            ),
        )
    built = True
    try:
        if wanted("cold"):
            figures += await cold_start.measure(starts=rounds, packages=Path(f"{peers}-lambda"))
    except (CodeError, FileNotFoundError) as error:
        print(f"no cold starts: {error}")
        built = False
    if wanted("restore"):
        figures.append(await lambda_path.restore(rounds=rounds, built=built))
    if wanted("at_once"):
        figures += await at_once.measure(rounds=max(1, rounds // 3))
    if wanted("package") and built:
        figures.append(package.measure())
    return figures


def machine(peers: str) -> dict[str, Any]:
    """What was measured on what."""
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
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()}, for cold starts {lambdas}",
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


if __name__ == "__main__":
    main()
