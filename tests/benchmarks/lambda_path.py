"""The path through Lambda: Function URL, Runtime API and layer around the function.

A Mangum function with a canned answer shows the path's cost. Our cost is our time less that, and
less the model's when asked directly. After a restore, a first turn is compared with a warm one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack

from tests.benchmarks.figures import Figure, Spread, spread
from tests.benchmarks.process import ROOT, Caller, Process, shuffled
from tests.benchmarks.relay import PACES
from tests.benchmarks.sandbox import function_url, sandbox


def model() -> Process:
    """The model for all measurements."""
    path = f"{ROOT}/functions:{ROOT}"
    return Process(sys.executable, "-m", "tests.benchmarks.upstream", PYTHONPATH=path)


async def added(peers: Mapping[int, Spread | None], peer: str, *, requests: int) -> list[Figure]:
    """Measure what we add on this path, compared with the peer over uvicorn, at the same pace."""
    async with AsyncExitStack() as stack:
        speaking = await stack.enter_async_context(model())
        off = {"SnapStart": "Off"}
        here = await stack.enter_async_context(sandbox(speaking.url, built=False, parameters=off))
        urls = {"direct": speaking.url}
        for name, launch in {"ours": here.ours, "canned": here.canned()}.items():
            urls[name], function = await stack.enter_async_context(function_url(launch))
            await function.warm()
        callers = {name: await stack.enter_async_context(Caller(url)) for name, url in urls.items()}
        for caller in callers.values():
            for _ in range(10):
                await caller.ask(5)
        figures = []
        for ms, pace in PACES.items():
            taken: dict[str, list[float]] = {name: [] for name in callers}
            for _ in range(max(1, requests // (2 if ms else 1))):
                for name, caller in shuffled(callers.items()):
                    taken[name].append((await caller.ask(5, pace)).first_s * 1000)
            figures.append(
                _added(ms, {name: spread(each) for name, each in taken.items()}, peers[ms], peer)
            )
    return figures


def _added(ms: int, of: Mapping[str, Spread], theirs: Spread | None, peer: str) -> Figure:
    limit, aim = (0.55, 0.45) if theirs and ms == max(PACES) else (None, None)
    return Figure(
        f"added to first content, through URL, Runtime API and layer, model at {ms} ms",
        "ms",
        of["ours"].minus(of["canned"].median + of["direct"].median),
        limit,
        aim,
        peer if theirs else "",
        theirs,
        also={"canned": of["canned"], "whole way": of["ours"], "direct": of["direct"]},
    )


async def restore(*, rounds: int, built: bool) -> list[Figure]:
    """Measure from the answer to `restore/next` to the first byte of content, and a warm turn."""
    figures = []
    async with AsyncExitStack() as stack:
        speaking = await stack.enter_async_context(model())
        here = await stack.enter_async_context(
            sandbox(speaking.url, built=built, parameters={"SnapStart": "On"})
        )
        for ms, pace in PACES.items():
            first, warm = [], []
            for _ in range(rounds):
                async with function_url(here.ours) as (url, function), Caller(url) as caller:
                    await function.publish()
                    # The first request restores the snapshot.
                    first.append((await caller.ask(5, pace)).first_s * 1000)
                    warm += [(await caller.ask(5, pace)).first_s * 1000 for _ in range(5)]
            limit, aim = (1.5, 1.2) if ms == max(PACES) else (None, None)
            figures.append(
                Figure(
                    f"restore to first content, all next door, model at {ms} ms",
                    "ms",
                    spread(first),
                    limit,
                    aim,
                    "a warm turn",
                    spread(warm),
                )
            )
    return figures
