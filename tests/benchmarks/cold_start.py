"""From the start of a process to its first poll, and to its first word, on CPython 3.13.

Ours: the built package, started through the layer's bootstrap, without a snapshot. Usual: the
usual packages, wired as `usual.py` has it, packed as SAM's own builder packs them, under
`awslambdaric`. Nothing is compiled for the next start, because Lambda mounts code read-only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from local.layout import Launch
from tests.benchmarks.figures import Figure, spread
from tests.benchmarks.lambda_path import model
from tests.benchmarks.process import Caller, Pace, shuffled
from tests.benchmarks.relay import PACES
from tests.benchmarks.sandbox import environment, function_url, sandbox


async def measure(*, starts: int, packages: Path) -> list[Figure]:
    """Measure all cold starts. Raises CodeError if the package or CPython 3.13 is missing."""
    async with AsyncExitStack() as stack:
        speaking = await stack.enter_async_context(model())
        here = await stack.enter_async_context(
            sandbox(speaking.url, built=True, parameters={"SnapStart": "Off"})
        )
        launches = {"ours": here.ours, "usual": here.usual(packages)}
        polls: dict[str, list[float]] = {name: [] for name in launches}
        words: dict[int, dict[str, list[float]]] = {
            ms: {name: [] for name in launches} for ms in PACES
        }
        # The first start of each reads the files from disk.
        for _ in range(starts + 1):
            for name, launch in shuffled(launches.items()):
                polls[name].append(await _to_poll_ms(launch))
                for ms, pace in PACES.items():
                    words[ms][name].append(
                        await _to_word_ms(launch, pace, buffered=name == "usual")
                    )
    poll = "cold start: process to first poll"
    word = "cold first token: process to first content, model at {} ms"
    return [
        _figure(poll, polls, limit=0.22, aim=0.18),
        *(_figure(word.format(ms), words[ms]) for ms in list(PACES)[:-1]),
        _figure(word.format(max(PACES)), words[max(PACES)], limit=0.5, aim=0.35),
    ]


def _figure(
    title: str,
    taken: Mapping[str, list[float]],
    *,
    limit: float | None = None,
    aim: float | None = None,
) -> Figure:
    ours, usual = (spread(taken[name][1:]) for name in ("ours", "usual"))
    return Figure(title, "ms", ours, limit, aim, "usual", usual)


async def _to_poll_ms(launch: Launch) -> float:
    began = time.perf_counter()
    async with environment(launch):
        return (time.perf_counter() - began) * 1000


async def _to_word_ms(launch: Launch, pace: Pace, *, buffered: bool) -> float:
    mode = "BUFFERED" if buffered else "RESPONSE_STREAM"
    async with function_url(launch, mode) as (url, _), Caller(url) as caller:
        return (await caller.ask(5, pace)).first_s * 1000
