"""From the start of a process to its first poll, and to its first word, on CPython 3.13.

Ours: the built package, started through the layer's bootstrap, without a snapshot. Usual: the
usual packages, wired as `usual.py` has it, packed as SAM's own builder packs them, under
`awslambdaric`. Nothing is compiled for the next start, because Lambda mounts code read-only.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from local.layout import Launch
from tests.benchmarks.figures import Figure, spread
from tests.benchmarks.lambda_path import model
from tests.benchmarks.process import Caller, shuffled
from tests.benchmarks.sandbox import door, environment, sandbox


async def measure(*, starts: int, packages: Path) -> list[Figure]:
    """Both figures. Raises CodeError where the package or CPython 3.13 is missing."""
    async with AsyncExitStack() as stack:
        speaking = await stack.enter_async_context(model())
        here = await stack.enter_async_context(
            sandbox(speaking.url, built=True, parameters={"SnapStart": "Off"})
        )
        launches = {"ours": here.ours, "usual": here.usual(packages)}
        polls: dict[str, list[float]] = {name: [] for name in launches}
        words: dict[str, list[float]] = {name: [] for name in launches}
        # The first of each reads the files from disk.
        for _ in range(starts + 1):
            for name, launch in shuffled(launches.items()):
                polls[name].append(await _to_poll_ms(launch))
                words[name].append(await _to_word_ms(launch, buffered=name == "usual"))
    return [
        Figure(
            title,
            "ms",
            spread(taken["ours"][1:]),
            0.5,
            0.35,
            "usual",
            spread(taken["usual"][1:]),
        )
        for title, taken in (
            ("cold start: process to first poll", polls),
            ("cold first token: process to first content", words),
        )
    ]


async def _to_poll_ms(launch: Launch) -> float:
    began = time.perf_counter()
    async with environment(launch):
        return (time.perf_counter() - began) * 1000


async def _to_word_ms(launch: Launch, *, buffered: bool) -> float:
    mode = "BUFFERED" if buffered else "RESPONSE_STREAM"
    async with door(launch, mode) as (url, _), Caller(url) as caller:
        return (await caller.ask(5)).first_s * 1000
