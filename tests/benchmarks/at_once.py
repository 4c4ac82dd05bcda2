"""Many streams at once in one process, as with AWS_LAMBDA_MAX_CONCURRENCY."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Figure, spread
from tests.benchmarks.lambda_path import model
from tests.benchmarks.process import KEY, ROOT, Pace, memory_mib, request
from tests.benchmarks.sandbox import sandbox
from tests.support.runtime_api import FakeRuntimeApi, Post

STREAMS, WORDS, APART = (64, 128), 100, Pace(between_ms=20)
Bounds = tuple[float | None, float | None]
"""The limit and the aim."""
MEMORY: dict[int, Bounds] = {64: (1.1, None), 128: (None, 1.1)}
GAPS: dict[int, Bounds] = {64: (25.0, None)}
_NONE: Bounds = (None, None)
_EVENT = json.loads((ROOT / "tests" / "reference" / "url-event.json").read_text())


async def measure(*, rounds: int) -> list[Figure]:
    """Measure memory and regularity of many streams, compared with one."""
    counts = (1, *STREAMS)
    most_mib: dict[int, list[float]] = {count: [] for count in counts}
    gap_ms: dict[int, list[float]] = {count: [] for count in counts}
    async with AsyncExitStack() as stack:
        speaking = await stack.enter_async_context(model())
        here = await stack.enter_async_context(
            sandbox(speaking.url, built=False, parameters={"SnapStart": "Off"})
        )
        for _ in range(rounds):
            async with FakeRuntimeApi() as api:
                process = await _start(here.ours.argv, here.ours.cwd, api, here.ours.environment)
                try:
                    await _streams(api, 1)
                    for count in counts:
                        memory, gaps = await _watched(process.pid, _streams(api, count))
                        most_mib[count].append(memory)
                        gap_ms[count].append(_p99(gaps))
                finally:
                    process.kill()
                    await process.wait()
    figures = []
    for count in STREAMS:
        one, many = spread(most_mib[1]), spread(most_mib[count])
        figures.append(
            Figure(
                f"memory with {count} streams",
                "MiB",
                many,
                *MEMORY.get(count, _NONE),
                "one stream",
                one,
            )
        )
        figures.append(
            Figure(
                f"gaps of {count} streams, 20 ms between chunks, p99",
                "ms",
                spread(gap_ms[count]),
                *GAPS.get(count, _NONE),
                also={"one stream": spread(gap_ms[1])},
            )
        )
    return figures


async def _start(
    argv: tuple[str, ...], cwd: Path, api: FakeRuntimeApi, variables: Any
) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env={
            **variables,
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_LAMBDA_MAX_CONCURRENCY": str(max(STREAMS)),
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    await api.polled()
    return process


async def _streams(api: FakeRuntimeApi, count: int) -> list[float]:
    """Return the gaps between all words of so many answers, in milliseconds."""
    path = "/v1/chat/completions"
    http = {**_EVENT["requestContext"]["http"], "method": "POST", "path": path}
    context = {**_EVENT["requestContext"], "http": http, "timeEpoch": int(time.time() * 1000)}
    event = {
        **_EVENT,
        "rawPath": path,
        "requestContext": context,
        "headers": {"x-api-key": KEY},
        "body": request(WORDS, APART).decode(),
    }
    for _ in range(count):
        api.invoke(event)
    posts = [await api.post() for _ in range(count)]
    return [gap for each in await asyncio.gather(*map(_gaps, posts)) for gap in each]


async def _gaps(post: Post) -> list[float]:
    moments = []
    while (piece := await post.piece()) is not None:
        if b"word" in piece:
            moments.append(time.perf_counter() * 1000)
    assert len(moments) > WORDS * 0.8, post.pieces[:2]
    return [after - before for before, after in itertools.pairwise(moments)]


async def _watched(pid: int, talking: Any) -> tuple[float, list[float]]:
    """Return the highest memory during the streams, and their results."""
    task = asyncio.ensure_future(talking)
    most = 0.0
    while not task.done():
        most = max(most, memory_mib(pid))
        await asyncio.wait({task}, timeout=0.1)
    return most, task.result()


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]
