"""From the start of a process to its first poll for an event, as deployed on CPython 3.13.

Ours: the built package, started through the layer's bootstrap. Usual: the same packages, wired
as `usual.py` has it and packed as SAM's own builder packs them, without bytecode, under the
ordinary buffered runtime. The code folder is read-only on Lambda, so nothing is compiled for
the next start.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from local import layout
from local.environment import Environment
from local.layout import CodeError, Launch
from local.template import Template

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


async def _start_ms(launch: Launch) -> float:
    environment = Environment(launch)
    began = time.perf_counter()
    await environment.start()
    took_ms = (time.perf_counter() - began) * 1000
    await environment.kill()
    return took_ms


async def measure(starts: int) -> dict[str, float]:
    """Median milliseconds of each; empty where the package or CPython 3.13 is missing."""
    runs = ROOT / ".local"
    runs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=runs) as made:
        folder = Path(made)
        with (folder / "log").open("w", encoding="utf-8") as log:
            sandbox = folder / "sandbox"
            sandbox.mkdir()
            function = Template(ROOT / "template.yaml").function
            try:
                ours = layout.prepare(function, root=ROOT, built=True, folder=sandbox, log=log)
            except CodeError as error:
                print(f"no cold starts: {error}")
                return {}
            launches = {"ours": ours, "usual": _usual(ours, folder / "task")}
            took = {name: [await _start_ms(launch)] for name, launch in launches.items()}
            for _ in range(starts):
                for name, launch in launches.items():
                    took[name].append(await _start_ms(launch))
    # The first one reads the files from disk.
    return {name: statistics.median(each[1:]) for name, each in took.items()}


def _usual(ours: Launch, task: Path) -> Launch:
    ignored = shutil.ignore_patterns("__pycache__", "completions", "*.pyc")
    shutil.copytree(ours.cwd, task, ignore=ignored)
    shutil.copy(HERE / "usual.py", task)
    # What stands before the interpreter is the wrapper: without it the ordinary runtime starts.
    plain = [part for part in ours.argv if not part.endswith("/bootstrap")]
    variables = {"_HANDLER": "usual.handler", "LAMBDA_TASK_ROOT": str(task)}
    launch = dataclasses.replace(ours, argv=tuple(plain), cwd=task)
    return launch.with_variables({**variables, "PYTHONDONTWRITEBYTECODE": "1"})


def table(took_ms: dict[str, float]) -> str:
    """One row each."""
    ratio = took_ms["ours"] / took_ms["usual"]
    return (
        "process start -> first poll, CPython 3.13\n"
        f"ours         {took_ms['ours']:8.0f} ms ({ratio:.2f}x)\n"
        f"usual        {took_ms['usual']:8.0f} ms"
    )


def run(starts: int) -> None:
    """Measures and prints."""
    took_ms = asyncio.run(measure(starts))
    if took_ms:
        print(table(took_ms))
