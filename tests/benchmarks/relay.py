"""What a server adds between the caller and the model: time, processor time, memory.

All servers take turns in one run, against the same model on the same machine, under plain uvicorn.
The floors do not read what they relay: nginx, if Debian's is installed, and a bare relay on
asyncio.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from tests.benchmarks import nginx
from tests.benchmarks.figures import Figure, Spread, spread
from tests.benchmarks.process import ROOT, Caller, Pace, Process, cpu_s, memory_mib, shuffled

HERE = Path(__file__).parent
PEER, VENDOR = "memorysync", "vendor"
TURNS_BEFORE_MEMORY = 10
BURST, PACED = 2000, 500
NGINX, BARE = "nginx", "asyncio"
FLOORS = (NGINX, BARE)
PACES = {0: Pace(), 60: Pace(first_ms=60)}
"""The model's time to its first word, in milliseconds. Limits apply to the last one."""


def servers(model_url: str, interpreters: Mapping[str, str]) -> dict[str, Process]:
    """Return the servers that can be started here, ours first."""
    found = {
        name: Process(
            interpreters.get(name, sys.executable),
            str(HERE / "serve.py"),
            str(HERE / f"{name}.py"),
            UPSTREAM=model_url,
            POWERTOOLS_SERVICE_NAME="bench",
            POWERTOOLS_METRICS_NAMESPACE="Bench",
        )
        for name in ("ours", *interpreters)
    }
    found[BARE] = Process(sys.executable, str(HERE / "bare.py"), UPSTREAM=model_url)
    # Debian installs it in a folder that only root's PATH has.
    if command := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        found[NGINX] = nginx.process(command, model_url)
    else:
        print("no nginx here: that floor is left out (Debian: apt-get install nginx-light)")
    return found


async def measure(
    interpreters: Mapping[str, str], *, requests: int = 200, bursts: int = 10
) -> list[Figure]:
    """Measure the figures; a peer that is missing in `interpreters` has none."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(
            Process(
                sys.executable,
                "-m",
                "tests.benchmarks.upstream",
                PYTHONPATH=f"{ROOT}/functions:{ROOT}",
            )
        )
        running = {
            name: await stack.enter_async_context(server)
            for name, server in servers(model.url, interpreters).items()
        }
        memory = {name: await _memory(server) for name, server in running.items()}
        added = {}
        for ms, pace in PACES.items():
            # Fewer if each takes long: the added time spreads no further.
            taken = await _first_content(
                {"direct": model, **running}, pace, max(1, requests // (2 if ms else 1))
            )
            direct_ms = taken.pop("direct").median
            added[ms] = {name: each.minus(direct_ms) for name, each in taken.items()}
        burst = await _cpu(running, bursts, BURST, Pace())
        paced = await _cpu(running, 2 * bursts, PACED, Pace(between_ms=2))
    *quick, slow = PACES
    first = "added to first content, over uvicorn, model at {} ms"
    return [
        *(figure(first.format(ms), "ms", added[ms], PEER) for ms in quick),
        figure(first.format(slow), "ms", added[slow], PEER, limit=0.8, aim=0.7),
        figure("CPU per 1,000 chunks, burst of 2,000", "ms", burst, PEER, limit=0.45, aim=0.35),
        figure("CPU per 1,000 chunks, 2 ms apart", "ms", paced, PEER, limit=0.7, aim=0.6),
        figure("memory after ten turns", "MiB", memory, VENDOR, limit=1.25, aim=1.0),
    ]


def figure(
    name: str,
    unit: str,
    of: dict[str, Spread],
    peer: str,
    *,
    limit: float | None = None,
    aim: float | None = None,
) -> Figure:
    """Return one row from all servers' measurements."""
    others = {one: each for one, each in of.items() if one not in {"ours", peer, *FLOORS}}
    floors = {one: of.get(one) for one in FLOORS}
    if peer not in of:  # Limits apply to the ratio to it.
        return Figure(name, unit, of["ours"], floors=floors, also=others)
    return Figure(name, unit, of["ours"], limit, aim, peer, of[peer], floors, others)


async def _first_content(
    servers: Mapping[str, Process], pace: Pace, requests: int
) -> dict[str, Spread]:
    """Measure the milliseconds to the first byte of content, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in servers}
    async with AsyncExitStack() as stack:
        callers = {
            name: await stack.enter_async_context(Caller(server.url))
            for name, server in servers.items()
        }
        for caller in callers.values():
            for _ in range(10):  # imports on first use, connections, caches
                await caller.ask(5)
        for _ in range(requests):
            for name, caller in shuffled(callers.items()):
                taken[name].append((await caller.ask(5, pace)).first_s * 1000)
    return {name: spread(each) for name, each in taken.items()}


async def _cpu(
    running: Mapping[str, Process], rounds: int, words: int, pace: Pace
) -> dict[str, Spread]:
    """Measure the milliseconds of processor time per 1,000 chunks, in turns."""
    spent: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, server in shuffled(running.items()):
            async with Caller(server.url) as caller:
                before_s = cpu_s(server.pid)
                await caller.ask(words, pace)
                spent[name].append((cpu_s(server.pid) - before_s) * 1e6 / words)
    return {name: spread(each) for name, each in spent.items()}


async def _memory(server: Process) -> Spread:
    """Measure the MiB after a process's first turns."""
    async with Caller(server.url) as caller:
        for _ in range(TURNS_BEFORE_MEMORY):
            await caller.ask(100)
    return spread([memory_mib(server.pid)])
