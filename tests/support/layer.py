"""The layer as Lambda unpacks it, started as Lambda starts it: through its bootstrap.

The folders stand for /opt, /var/task and /var/runtime. The process gets no PYTHONPATH, no variable
of ours and not the repository as its working directory.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

from tests.support.runtime_api import FakeRuntimeApi

REPOSITORY = Path(__file__).parents[2]
# Copied, not imported, since a Mangum needs an event loop when it is created.
STREAMING_APP = Path(__file__).with_name("streaming_app.py")
URL_EVENT = json.loads(
    (Path(__file__).parents[1] / "reference" / "url-event.json").read_text("utf-8")
)
PLAIN = "def handler(event, context): return event\n"
# A stand-in for the ordinary runtime, which prints that it was started and how.
_ORDINARY = """import json, os, sys
print(json.dumps({"argv": sys.argv, "python": sys.executable, "env": dict(os.environ)}))
"""


class UnpackedLayer:
    """The layer, laid out under `root`; `start` runs it against a Runtime API, with `python`."""

    def __init__(self, root: Path, python: Path | str = sys.executable) -> None:
        self.python = str(python)
        self.opt, self.task, self.runtime = root / "opt", root / "task", root / "runtime"
        for folder in (self.opt / "python", self.task, self.runtime):
            folder.mkdir(parents=True)
        source = REPOSITORY / "layers" / "streaming"
        shutil.copy2(source / "bootstrap", self.opt / "bootstrap")
        shutil.copytree(
            source / "lambda_streaming",
            self.opt / "python" / "lambda_streaming",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (self.runtime / "bootstrap.py").write_text(_ORDINARY)
        self._processes: list[asyncio.subprocess.Process] = []

    @property
    def command(self) -> list[str]:
        """Return what Lambda runs with AWS_LAMBDA_EXEC_WRAPPER=/opt/bootstrap."""
        return [str(self.opt / "bootstrap"), self.python, str(self.runtime / "bootstrap.py")]

    def environment(self, handler: str, **env: str) -> dict[str, str]:
        """Return Lambda's variables, as far as the layer reads them."""
        return {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "_HANDLER": handler,
            "LAMBDA_TASK_ROOT": str(self.task),
            "LAMBDA_RUNTIME_DIR": str(self.runtime),
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            # For tests only: a folder without bytecode, as /var/task is.
            "PYTHONDONTWRITEBYTECODE": "1",
            **env,
        }

    def code(self, source: str, name: str = "function.py") -> None:
        """Write a module into the function's code."""
        (self.task / name).write_text(source)

    async def start(
        self, api: FakeRuntimeApi | None, handler: str = "function.handler", **env: str
    ) -> asyncio.subprocess.Process:
        """Start an environment; `end` or the process itself ends it."""
        if api:
            env["AWS_LAMBDA_RUNTIME_API"] = api.address
        process = await asyncio.create_subprocess_exec(
            *self.command,
            env=self.environment(handler, **env),
            cwd=self.task,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._processes.append(process)
        return process

    async def end(self) -> None:
        """Kill what still runs."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Return the exit code and everything that the process wrote."""
    output, _ = await process.communicate()
    return process.returncode, output.decode()
