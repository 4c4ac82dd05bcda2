"""The deployment beside the page: `python -m local run` as a child, its model behind a stand-in.

Knows two command lines of `local` and the line in which it says that it is ready; imports nothing
of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import deque
from types import TracebackType
from typing import IO, Self

from ops.problem import Problem
from ops.talk.stand_in import StandIn

_READY = re.compile(r"ready (http://\S+) key=(\S+)")
LINES = 5000
"""Of the log, kept for the page."""


class Beside:
    """Started on entering, ended on leaving."""

    def __init__(self, upstream: str, upstream_key: str) -> None:
        self._upstream = upstream
        self._key = upstream_key
        self._children: list[subprocess.Popen[str]] = []
        self._log: deque[str] = deque(maxlen=LINES)
        self.stand_in: StandIn
        self.url = ""
        self.key = ""

    def log_lines(self, call_id: str) -> list[str]:
        """Return the lines that tell of this call's finished turns, oldest first."""
        return [line for line in list(self._log) if call_id in line and "turn.finished" in line]

    def __enter__(self) -> Self:
        try:
            real = self._upstream or self._start_model()
            self.stand_in = StandIn(real)
            self._start_function()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop()

    def _start_model(self) -> str:
        print("loading the model", file=sys.stderr, flush=True)
        address = self._out(self._start("local.model")).readline().strip()
        if not address:
            raise Problem("the model did not start: make run says why")
        return f"{address}/v1"

    def _start_function(self) -> None:
        print("starting the deployment", file=sys.stderr, flush=True)
        env = {"PORT": "0", "UPSTREAM": self.stand_in.base_url, "UPSTREAM_KEY": self._key}
        env["LOG_LINES"] = "json"
        child = self._start("local", "run", **env)
        for line in self._out(child):
            if ready := _READY.search(line):
                self.url, self.key = ready[1], ready[2]
                threading.Thread(target=self._keep, args=(child.stdout,), daemon=True).start()
                return
        said = "\n".join(list(self._log)[-5:])
        raise Problem(f"the deployment did not start:\n{said}")

    def _start(self, *argv: str, **env: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-m", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **{name: value for name, value in env.items() if value}},
            # Ctrl-C in a terminal goes to the whole group: this process decides the order.
            start_new_session=True,
        )
        self._children.append(child)
        threading.Thread(target=self._keep, args=(child.stderr,), daemon=True).start()
        return child

    def _keep(self, lines: IO[str]) -> None:
        self._log.extend(lines)

    def _out(self, child: subprocess.Popen[str]) -> IO[str]:
        assert child.stdout is not None  # noqa: S101 - a pipe was asked for
        return child.stdout

    def _stop(self) -> None:
        for child in reversed(self._children):
            child.terminate()
        for child in reversed(self._children):
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
        if hasattr(self, "stand_in"):
            self.stand_in.close()
