"""The deployment beside the page: `python -m local run` as a child, its model behind a proxy.

Knows four command lines of `local` and the line that says it is ready; imports nothing from it.
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

from ops.command_problem import Problem
from ops.talk.fault_injection import FaultInjector

OPENAI, OPENAI_BASE_URL = "openai", "https://api.openai.com/v1"
_READY = re.compile(r"ready (http://\S+) key=(\S+)")
LINES = 5000
"""Lines of the log to keep for the page."""


class LocalDeployment:
    """Started on entering, ended on leaving; `model` is the one that its agent names.

    UPSTREAM and the other variables of `make run` choose what is started.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._upstream = os.environ.get("UPSTREAM", "")
        self._key = os.environ.get("UPSTREAM_KEY", "")
        self._children: list[subprocess.Popen[str]] = []
        self._log: deque[str] = deque(maxlen=LINES)
        self.fault_injector: FaultInjector
        self.url = ""
        self.key = ""

    def log_lines(self, call_id: str) -> list[str]:
        """Return the log lines of this call's finished turns, oldest first."""
        return [line for line in list(self._log) if call_id in line and "turn.finished" in line]

    def __enter__(self) -> Self:
        self._check_options()
        try:
            self.fault_injector = FaultInjector(self._real())
            self._start_function()
            self._play_first_turn()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop()

    def _check_options(self) -> None:
        """Read the variables as `make run` does, and refuse them in its words."""
        if subprocess.run([sys.executable, "-m", "local.options"], check=False).returncode:
            raise Problem("", status=2)

    def _real(self) -> str:
        """Return the base URL of the model behind the proxy."""
        if self._upstream in {"", "model"}:
            return self._start_model()
        if self._upstream == OPENAI:
            self._key = self._key or os.environ["OPENAI_API_KEY"]
            return OPENAI_BASE_URL
        return self._upstream

    def _play_first_turn(self) -> None:
        """At a terminal, say in the words of `make run` if no model answers."""
        if self._upstream in {"", "model"}:
            return
        subprocess.run(
            [sys.executable, "-m", "local.first_turn", self.url, self._model],
            env={**os.environ, "CALLER_KEY": self.key},
            start_new_session=True,
            check=False,
        )

    def _start_model(self) -> str:
        print("loading the model", file=sys.stderr, flush=True)
        address = self._out(self._start("local.model")).readline().strip()
        if not address:
            raise Problem("the model did not start: make run says why")
        return f"{address}/v1"

    def _start_function(self) -> None:
        print("starting the deployment", file=sys.stderr, flush=True)
        env = {"PORT": "0", "UPSTREAM": self.fault_injector.base_url, "UPSTREAM_KEY": self._key}
        env |= {"LOG_LINES": "json", "REAL_TURN": "0"}
        # The deployment ends with this process, however that ends.
        child = self._start("local", "run", "--ends-with-stdin", **env)
        for line in self._out(child):
            if ready := _READY.search(line):
                self.url, self.key = ready[1], ready[2]
                threading.Thread(target=self._keep, args=(child.stdout,), daemon=True).start()
                return
        end = "\n".join(list(self._log)[-5:])
        raise Problem(f"the deployment did not start:\n{end}")

    def _start(self, *argv: str, **env: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-m", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **{name: value for name, value in env.items() if value}},
            # Ctrl-C in a terminal reaches the whole group, but this process decides the order.
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
        if hasattr(self, "fault_injector"):
            self.fault_injector.close()
