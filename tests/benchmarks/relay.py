"""What a server adds between the caller and the model: time, processor time, memory.

All servers in one run, taking turns, against the same model on the same machine: only the ratios
between them mean anything. Times are the caller's; processor time and memory are the server
process's own, from /proc (Linux).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
READY_S = 30
KEY = "caller-key-for-tests"


class Process:
    """A server in a process of its own; it prints its URL first."""

    def __init__(self, *argv: str, **environment: str) -> None:
        self._argv = argv
        self._environment = environment
        self.url = ""

    async def __aenter__(self) -> Self:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._process = await asyncio.create_subprocess_exec(
            *self._argv,
            cwd=ROOT,
            env={**kept, **self._environment},
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_S):
            self.url = (await self._process.stdout.readline()).decode().strip()
        if not self.url:
            raise RuntimeError(f"{self._argv} did not start")
        self._drain = asyncio.create_task(self._process.stdout.read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._process.kill()
        await self._process.wait()
        await self._drain

    @property
    def cpu_s(self) -> float:
        """Processor time so far, of all threads, in seconds."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    @property
    def memory_mib(self) -> float:
        """Memory in use now (VmRSS), in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Caller:
    """One kept connection, read by hand: a client that costs next to nothing."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._url.hostname, self._url.port
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._writer.close()

    async def ask(self, chunks: int, *, paced: bool = False) -> float:
        """Seconds from the request to the first byte of content; returns after the last byte."""
        body = json.dumps(
            {
                "model": "m",
                "stream": True,
                "max_tokens": chunks,
                "messages": [{"role": "user", "content": "Hello?"}],
                **({"stop": "paced"} if paced else {}),
            }
        )
        head = (
            f"POST {self._url.path}/chat/completions HTTP/1.1\r\nhost: {self._url.netloc}\r\n"
            f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        self._writer.write((head + body).encode())
        first_s, heard, tail = 0.0, 0, b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            data = await self._reader.read(65536)
            if not data:
                raise RuntimeError(f"{self._url.netloc} closed the connection")
            if not heard and b"word" in data:
                first_s = time.perf_counter() - began
            heard += data.count(b"word ")
            tail = (tail + data)[-8:]
        # A chunk can be cut in the middle of the word by a packet's end; most are not.
        if heard < chunks * 0.9:
            raise RuntimeError(f"{self._url.netloc} sent {heard} of {chunks} chunks")
        return first_s


@dataclass
class Figures:
    """What was measured of one server."""

    first_content_ms: list[float] = field(default_factory=list)
    cpu_s_per_1000: list[float] = field(default_factory=list)
    memory_one_mib: float = 0.0
    memory_many_mib: float = 0.0


async def measure(
    names: Sequence[str], interpreters: dict[str, str], *, requests: int, bursts: int, streams: int
) -> dict[str, Figures]:
    """The figures of each server, and of the model asked directly under the name `direct`."""
    python = sys.executable
    path = {"PYTHONPATH": f"{ROOT}/functions:{ROOT}"}
    async with Process(python, "-m", "tests.benchmarks.upstream", **path) as model:
        servers = {
            name: Process(
                interpreters.get(name, python),
                str(HERE / "serve.py"),
                str(HERE / f"{name}.py"),
                UPSTREAM=model.url,
                POWERTOOLS_SERVICE_NAME="bench",
                POWERTOOLS_METRICS_NAMESPACE="Bench",
            )
            for name in names
        }
        for server in servers.values():
            await server.__aenter__()
        try:
            figures = {name: Figures() for name in ("direct", *names)}
            await _latency({"direct": model, **servers}, figures, requests)
            await _bursts(servers, figures, bursts)
            await _memory(servers, figures, streams)
        finally:
            for server in servers.values():
                await server.__aexit__(None, None, None)
    return figures


async def _latency(servers: dict[str, Process], figures: dict[str, Figures], requests: int) -> None:
    callers = {name: Caller(server.url) for name, server in servers.items()}
    for caller in callers.values():
        await caller.__aenter__()
        for _ in range(10):  # imports on first use, connections, caches
            await caller.ask(5)
    for _ in range(requests):
        for name, caller in callers.items():
            figures[name].first_content_ms.append(await caller.ask(5) * 1000)
    for caller in callers.values():
        await caller.__aexit__(None, None, None)


async def _bursts(servers: dict[str, Process], figures: dict[str, Figures], bursts: int) -> None:
    chunks = 2000
    for _ in range(bursts):
        for name, server in servers.items():
            async with Caller(server.url) as caller:
                before_s = server.cpu_s
                await caller.ask(chunks)
                spent_s = server.cpu_s - before_s
            figures[name].cpu_s_per_1000.append(spent_s / chunks * 1000)


async def _memory(servers: dict[str, Process], figures: dict[str, Figures], streams: int) -> None:
    for name, server in servers.items():
        async with Caller(server.url) as caller:
            talking = asyncio.create_task(caller.ask(100, paced=True))
            await asyncio.sleep(0.5)
            figures[name].memory_one_mib = server.memory_mib
            await talking
        callers = [await Caller(server.url).__aenter__() for _ in range(streams)]
        talks = [asyncio.create_task(caller.ask(100, paced=True)) for caller in callers]
        peak = 0.0
        while not all(talk.done() for talk in talks):
            peak = max(peak, server.memory_mib)
            await asyncio.sleep(0.1)
        await asyncio.gather(*talks)
        figures[name].memory_many_mib = peak
        for caller in callers:
            await caller.__aexit__(None, None, None)


def table(figures: dict[str, Figures], peer: str) -> str:
    """One row a server, with the ratio to the peer where there is one."""
    direct_ms = statistics.median(figures["direct"].first_content_ms)
    servers = {name: each for name, each in figures.items() if name != "direct"}
    added_ms = {
        name: statistics.median(each.first_content_ms) - direct_ms for name, each in servers.items()
    }
    cpu_s = {name: statistics.median(each.cpu_s_per_1000) for name, each in servers.items()}

    def ratio(values: dict[str, float], name: str) -> str:
        return f"({values[name] / values[peer]:.2f}x)" if peer in values else ""

    lines = [
        f"first content when asked directly: {direct_ms:.2f} ms",
        "              added to it, ms   CPU s per 1,000 chunks   MiB with 1 -> many streams",
    ]
    for name, each in servers.items():
        one, many = each.memory_one_mib, each.memory_many_mib
        lines.append(
            f"{name:12} {added_ms[name]:8.2f} {ratio(added_ms, name):8}"
            f" {cpu_s[name]:12.4f} {ratio(cpu_s, name):8}"
            f" {one:12.0f} -> {many:.0f} ({many / one:.2f}x)"
        )
    return "\n".join(lines)
