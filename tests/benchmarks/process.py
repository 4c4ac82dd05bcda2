"""A server in a separate process, and a caller with almost no cost of its own.

Processor time is the scheduler's (`/proc/<pid>/schedstat`, nanoseconds), memory is
resident memory (Linux).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
READY_S = 30
ANSWER_S = 60
KEY = "caller-key-for-tests"
REST_S = 0.02
"""After each answer, so that work after its last byte does not count for the next one."""

T = TypeVar("T")


def shuffled(things: Iterable[T]) -> list[T]:
    """Return a new order for each round, so that none always follows the same one."""
    listed = list(things)
    return random.sample(listed, len(listed))


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and all its threads so far, in seconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def memory_mib(pid: int) -> float:
    """Return a process's resident memory (VmRSS), in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Process:
    """A server; it prints its URL first."""

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
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._drain

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid


@dataclass(frozen=True, slots=True)
class Pace:
    """The model's pace (`upstream`): the time to the first word and between words."""

    first_ms: int = 0
    between_ms: int = 0


@dataclass(slots=True)
class Heard:
    """One answer: seconds from the request to the first content, and the times of all content."""

    first_s: float = 0.0
    moments: list[float] = field(default_factory=list)


class Caller:
    """One kept connection, read by hand."""

    def __init__(self, url: str, key: str = KEY, tls: ssl.SSLContext | None = None) -> None:
        self._url = urlsplit(url)
        self._key = key
        self.tls = tls

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._url.hostname, self._url.port, ssl=self.tls
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._writer.close()

    async def ask(self, words: int, pace: Pace | None = None) -> Heard:
        """Ask for so many words; return after the last byte and a rest."""
        async with asyncio.timeout(ANSWER_S):
            heard = await self._ask(request(words, pace), words)
        await asyncio.sleep(REST_S)
        return heard

    async def warm(self, environments: int = 1) -> bytes:
        """Post to `/warm`; return the answer's body after a rest."""
        self._post(f"/warm?environments={environments}", b"{}")
        head = await self._reader.readuntil(b"\r\n\r\n")
        left = _length_left(head)
        body = await self._reader.readexactly(left) if left >= 0 else b""
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"{self._url.netloc}: {head!r}")
        await asyncio.sleep(REST_S)
        return body

    def ask_and_leave(self, words: int, pace: Pace) -> None:
        """Ask for so many words and leave before the first, as a caller who goes on talking."""
        self._post("/chat/completions", request(words, pace))

    def _post(self, path: str, body: bytes) -> None:
        head = (
            f"POST {self._url.path}{path} HTTP/1.1\r\nhost: {self._url.netloc}\r\n"
            f"authorization: Bearer {self._key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)

    async def _ask(self, body: bytes, words: int) -> Heard:
        began = time.perf_counter()
        self._post("/chat/completions", body)
        heard, count, left, tail = Heard(), 0, -1, b""
        start = b""
        while left and not tail.endswith(b"0\r\n\r\n"):
            data = await self._reader.read(65536)
            if not data:
                raise RuntimeError(f"{self._url.netloc} closed the connection")
            if b"word" in data:
                heard.moments.append(time.perf_counter() - began)
            count += data.count(b"word ")
            tail = (tail + data)[-8:]
            if left < 0 and b"\r\n\r\n" not in start:
                start += data
                left = _length_left(start)
            elif left > 0:
                left -= len(data)
        # A packet may end within a word; most do not.
        if count < words * 0.9:
            raise RuntimeError(f"{self._url.netloc} sent {count} of {words} words: {start[:400]!r}")
        heard.first_s = heard.moments[0]
        return heard


def request(words: int, pace: Pace | None = None) -> bytes:
    """Return a turn that asks for so many words; the pace is in the field for stop words."""
    pace = pace or Pace()
    return json.dumps(
        {
            "model": "m",
            "stream": True,
            "max_tokens": words,
            "messages": [{"role": "user", "content": "Hello?"}],
            "stop": [str(pace.first_ms), str(pace.between_ms)],
        }
    ).encode()


def _length_left(start: bytes) -> int:
    """Return how many bytes of a body with a length are missing; -1 for one in chunks."""
    head, end, body = start.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n") if end else []:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value) - len(body)
    return -1
