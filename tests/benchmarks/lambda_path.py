"""The way through Lambda: Function URL, Runtime API and layer around the function.

A Mangum function with canned bytes on the same way shows what the way costs; what is left of ours
without it, and without the model asked directly, is ours. After a restore: a first turn beside
a warm one.
"""

from __future__ import annotations

import sys
import time
from contextlib import AsyncExitStack

from tests.benchmarks.figures import Figure, Spread, spread
from tests.benchmarks.process import ROOT, Caller, Pace, Process, shuffled
from tests.benchmarks.sandbox import door, sandbox

SLOW = Pace(first_ms=300)


def model() -> Process:
    """The one that all are measured with."""
    path = f"{ROOT}/functions:{ROOT}"
    return Process(sys.executable, "-m", "tests.benchmarks.upstream", PYTHONPATH=path)


async def added(peer: Spread | None, peer_name: str, *, requests: int) -> Figure:
    """What we add on this way, beside what the peer adds over uvicorn."""
    async with AsyncExitStack() as stack:
        speaking = await stack.enter_async_context(model())
        off = {"SnapStart": "Off"}
        here = await stack.enter_async_context(sandbox(speaking.url, built=False, parameters=off))
        urls = {"direct": speaking.url}
        for name, launch in {"ours": here.ours, "canned": here.canned()}.items():
            urls[name], function = await stack.enter_async_context(door(launch))
            await function.warm()
        callers = {name: await stack.enter_async_context(Caller(url)) for name, url in urls.items()}
        taken: dict[str, list[float]] = {name: [] for name in callers}
        for caller in callers.values():
            for _ in range(10):
                await caller.ask(5)
        for _ in range(requests):
            for name, caller in shuffled(callers.items()):
                taken[name].append((await caller.ask(5)).first_s * 1000)
    of = {name: spread(each) for name, each in taken.items()}
    ours = of["ours"].minus(of["canned"].median + of["direct"].median)
    return Figure(
        "added to first content, through URL, Runtime API and layer",
        "ms",
        ours,
        1.0,
        0.7,
        peer_name if peer else "",
        peer,
        {"canned": of["canned"], "whole way": of["ours"], "direct": of["direct"]},
    )


async def restore(*, rounds: int, built: bool) -> Figure:
    """From the answer to `restore/next` to the first byte of content, beside a warm turn."""
    first, warm = [], []
    async with AsyncExitStack() as stack:
        speaking = await stack.enter_async_context(model())
        here = await stack.enter_async_context(
            sandbox(speaking.url, built=built, parameters={"SnapStart": "On"})
        )
        for _ in range(rounds):
            async with door(here.ours) as (url, function), Caller(url) as caller:
                await function.publish()
                began = time.perf_counter()
                # The first request restores the snapshot.
                heard = await caller.ask(5, SLOW)
                first.append(heard.first_s * 1000)
                assert time.perf_counter() - began >= heard.first_s
                warm += [(await caller.ask(5, SLOW)).first_s * 1000 for _ in range(5)]
    return Figure(
        "restore to first content, the model speaking after 300 ms",
        "ms",
        spread(first),
        1.5,
        1.2,
        "a warm turn",
        spread(warm),
    )
