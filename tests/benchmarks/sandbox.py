"""Function URL, Runtime API and process as on Lambda, around any handler; secrets from moto.

What `local.Deployment` does for the template's function, for other functions.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from local import layout, secrets
from local.environment import Environment
from local.function import Function
from local.function_url import FunctionUrl
from local.layout import Launch
from local.template import FunctionSpec, Template
from local.wire import Server
from tests.benchmarks.process import KEY, ROOT

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How our function would be started, and a folder for other files."""

    ours: Launch
    folder: Path
    spec: FunctionSpec

    def usual(self, packages: Path) -> Launch:
        """Return the packages in `packages/usual`, wired as in `usual.py`, packed as by SAM.

        There is no bytecode, and nothing is compiled for the next start: Lambda mounts code
        read-only. `awslambdaric`, which on Lambda has its bytecode, is in `packages/lambda`.
        """
        task = self.folder / "usual"
        shutil.copytree(packages / "usual", task)
        shutil.copy(HERE / "usual.py", task)
        # The wrapper precedes the interpreter; without it the ordinary runtime starts.
        plain = tuple(part for part in self.ours.argv if not part.endswith("/bootstrap"))
        launch = dataclasses.replace(self.ours, argv=plain, cwd=task).with_variables(
            {
                "_HANDLER": "usual.handler",
                "LAMBDA_TASK_ROOT": str(task),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": str((packages / "lambda").resolve()),
            }
        )
        return without_wrapper(launch)

    def canned(self) -> Launch:
        """Return our function with another handler."""
        return dataclasses.replace(self.ours, cwd=HERE).with_variables(
            {"_HANDLER": "canned.handler", "LAMBDA_TASK_ROOT": str(HERE)}
        )


def without_wrapper(launch: Launch) -> Launch:
    """Return the same without the layer."""
    kept = {name: value for name, value in launch.environment.items() if name != layout.WRAPPER}
    return dataclasses.replace(launch, environment=kept)


@asynccontextmanager
async def sandbox(
    model_url: str, *, built: bool, parameters: Mapping[str, str] | None = None
) -> AsyncIterator[Sandbox]:
    """Lay everything out and start Secrets Manager. Raises CodeError."""
    template = Template(ROOT / "template.yaml", parameters)
    runs = ROOT / ".local"
    runs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=runs) as made:
        folder = Path(made)
        inner = folder / "sandbox"
        inner.mkdir()
        with (folder / "log").open("w", encoding="utf-8") as log:
            ours = layout.prepare(template.function, root=ROOT, built=built, folder=inner, log=log)
            service = await secrets.start(log)
            try:
                values = {
                    "CallerKeySecret": {"key": KEY},
                    "UpstreamKeySecret": {"upstream": "upstream-key"},
                }
                await secrets.create(service.address, template.secrets, values)
                variables = {
                    "COMPLETIONS_UPSTREAM_BASE_URL": model_url,
                    "AWS_ENDPOINT_URL_SECRETS_MANAGER": service.address,
                }
                yield Sandbox(ours.with_variables(variables), folder, template.function)
            finally:
                await service.stop()


@asynccontextmanager
async def function_url(
    launch: Launch, mode: str = "RESPONSE_STREAM", limit: int = 2
) -> AsyncIterator[tuple[str, Function]]:
    """Return a Function URL for this launch, whose processes start on demand."""
    async with (
        Function(launch, limit=limit) as function,
        Server(FunctionUrl(function, mode).handle) as server,
    ):
        yield f"http://127.0.0.1:{server.port}/v1", function


@asynccontextmanager
async def environment(launch: Launch) -> AsyncIterator[Environment]:
    """Start one process, up to its first poll."""
    started = Environment(launch)
    await started.start()
    try:
        yield started
    finally:
        await started.kill()
