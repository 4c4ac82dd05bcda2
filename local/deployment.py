"""The deployment: template, secrets, model, function and URL, started and stopped together.

One line starts it in a test:

    async with Deployment(upstream="http://127.0.0.1:9000/v1") as deployment:
        ... deployment.url, deployment.caller_key

This is the only module that knows all the others.
"""

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from local import file_watcher, layout, model, secrets, uvicorn_server
from local.environment import InitError
from local.function import Function, Throttled
from local.function_url import FunctionUrl
from local.options import CALLER_KEY
from local.payload import Response, clock, response_of
from local.service import Service
from local.template import Template
from local.wire import Server

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / ".local"
CALLER_SECRET, UPSTREAM_SECRET = "CallerKeySecret", "UpstreamKeySecret"
OPENAI_BASE_URL = "https://api.openai.com/v1"
# The user's variables that reach the function and override the template's.
PASSED_ON = ("COMPLETIONS_", "LAMBDA_STREAMING_", "POWERTOOLS_")


class Deployment:
    """Everything that `template.yaml` describes, on this machine, while the context is open.

    `upstream` is "model" (the embedded one, started here), "openai" or a base URL; `transport` is
    "lambda" or "uvicorn"; `code` is "source" or "built"; port 0 takes any free one. `parameters`
    replace the template's defaults, and `environment` overrides the function's variables in the
    template. `secret_values` holds the values of the template's further secrets, by logical id.
    `limit` is the number of processes at once. Without `log`, `log_text()` returns what the
    function and its platform write. `warm=False` leaves the first start, or with SnapStart the
    first restore, to the first request, as on Lambda. `freeze` stops idle processes.

    Raises, on entering, `TemplateError`, `CodeError`, `ServiceError`, `InitError` and OSError.
    """

    def __init__(
        self,
        *,
        template: Path = ROOT / "template.yaml",
        parameters: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        upstream: str = "model",
        upstream_key: str = "local-upstream-key",
        fallback_key: str = "local-fallback-key",
        caller_key: str = CALLER_KEY,
        secret_values: Mapping[str, str] | None = None,
        transport: str = "lambda",
        code: str = "source",
        port: int = 0,
        limit: int = 10,
        warm: bool = True,
        freeze: bool = False,
        log: IO[str] | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.caller_key = caller_key
        self._template = Template(template, parameters)
        self._environment = dict(environment or {})
        self._upstream = OPENAI_BASE_URL if upstream == "openai" else upstream
        self._secret_values: dict[str, Mapping[str, str] | str] = {
            CALLER_SECRET: {"key": caller_key},
            UPSTREAM_SECRET: {"upstream": upstream_key, "fallback": fallback_key},
            **(secret_values or {}),
        }
        self._transport = transport
        self._code = code
        self._port = port
        self._limit = limit
        self._warm = warm
        self._freeze = freeze
        self._log = log
        self._progress = progress
        self._stack = contextlib.AsyncExitStack()
        self._services: list[Service] = []
        self.url = ""
        self.function: Function | None = None
        self.secrets: Service | None = None
        """Secrets Manager: the endpoint for boto3, and a child that a test may stop."""

    @property
    def base_url(self) -> str:
        """The base URL for an OpenAI client."""
        return f"{self.url}/v1"

    async def invoke(self, event: dict[str, Any]) -> Response:
        """Give an event to the function directly, without the Function URL, as if it arrived now.

        Raises `Throttled` and `InitError`. Only with the transport "lambda".
        """
        if self.function is None:
            raise ValueError("events need the transport lambda")
        context = {**event.get("requestContext", {}), **clock(time.time())}
        payload = json.dumps({**event, "requestContext": context}).encode()
        invocation = await self.function.invoke(payload)
        return await response_of(await invocation.answer, self._template.function.invoke_mode)

    async def follow_changes(self) -> None:
        """Run the new code after each change of the function's files, until cancelled.

        Does nothing for a built package or with uvicorn.
        """
        if self.function is None or self._code == "built":
            return
        folder = self._template.function.folder
        async for changed in file_watcher.since(self._files, folder):
            name = changed.relative_to(folder.parent)
            try:
                await self.function.renew()
            except (InitError, Throttled) as error:
                why = str(error) or "all processes are busy"
                self._progress(f"{name} has changed, but does not start: {why}")
            else:
                self._progress(f"{name} has changed: the next turn runs it")

    async def ended(self) -> str:
        """Wait until a child ends without being asked to; return which, and how."""
        children = [asyncio.ensure_future(each.ended()) for each in self._services]
        try:
            done, _ = await asyncio.wait(children, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for child in children:
                child.cancel()

    def log_text(self) -> str:
        """Return what has been logged so far, unless a `log` was given."""
        return self._log_path.read_text("utf-8", "replace")

    async def __aenter__(self) -> Self:
        async with self._stack as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        folder = _run_folder()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._log_path = folder / "log"
        log = self._log or stack.enter_context(self._log_path.open("a", encoding="utf-8"))
        spec = self._template.function
        self._files = file_watcher.look(spec.folder)
        # First, because it finds mistakes.
        launch = layout.prepare(
            spec,
            root=self._template.path.parent,
            built=self._code == "built",
            folder=folder,
            log=log,
        )
        try:
            async with asyncio.TaskGroup() as group:
                keys = group.create_task(self._start_secrets(stack, log))
                base_url = group.create_task(self._start_model(stack, log))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None  # the others were cancelled because of it
        variables = {
            "COMPLETIONS_UPSTREAM_BASE_URL": base_url.result(),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": keys.result(),
            **self._environment,
        }
        self._progress("starting the function")
        if self._transport == "uvicorn":
            service = await uvicorn_server.start(spec, variables, self._port, log)
            self._keep(stack, service)
            self.url = service.address
            return
        launch = launch.with_variables(variables)
        self.function = await stack.enter_async_context(
            Function(launch, self._limit, freeze=self._freeze)
        )
        if self._warm:
            await self.function.warm()
        elif spec.snap_start:
            await self.function.publish()
        function_url = FunctionUrl(self.function, spec.invoke_mode)
        server = await stack.enter_async_context(Server(function_url.handle, self._port))
        self.url = f"http://127.0.0.1:{server.port}"

    async def _start_secrets(self, stack: contextlib.AsyncExitStack, log: IO[str]) -> str:
        self._progress("starting Secrets Manager")
        self.secrets = service = await secrets.start(log)
        self._keep(stack, service)
        await secrets.create(service.address, self._template.secrets, self._secret_values)
        return service.address

    async def _start_model(self, stack: contextlib.AsyncExitStack, log: IO[str]) -> str:
        if self._upstream != "model":
            return self._upstream
        self._progress("loading the model")
        service = await model.start(log)
        self._keep(stack, service)
        return f"{service.address}/v1"

    def _keep(self, stack: contextlib.AsyncExitStack, service: Service) -> None:
        """Stop this child when the deployment stops."""
        stack.push_async_callback(service.stop)
        self._services.append(service)


def _run_folder() -> Path:
    """Make a folder under `.local`, named after this process; remove those of dead ones."""
    RUNS.mkdir(exist_ok=True)
    for folder in RUNS.glob("run-*-*"):
        try:
            os.kill(int(folder.name.split("-")[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            pass  # another user's, and alive
    return Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=RUNS))


def passed_variables(
    environ: Mapping[str, str] = os.environ, template: Path = ROOT / "template.yaml"
) -> dict[str, str]:
    """Return the user's variables that a command line deployment gives to the function.

    Ours are known by their prefix, an agent's by name, from the template.
    """
    named = {name for name in Template(template).function.environment if name[:4] != "AWS_"}
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(PASSED_ON) or name in named
    }
