"""`aws.Account` with Function URLs that answer: it runs the functions on this machine.

moto has the stack's resources; each Function URL is a server on its own port, which unpacks the
function's uploaded package at its first request. It plays the parts of CloudWatch that moto lacks:
a function's log goes to its log group, and metrics are made from its lines.
"""

from __future__ import annotations

import asyncio
import copy
import io
import json
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from moto.cloudformation.models import cloudformation_backends

from local import layout
from local.function import Function
from local.function_url import FunctionUrl
from local.intrinsics import ACCOUNT, REGION
from local.template import FunctionSpec, Layer
from local.wire import Exchange, Server
from tests.support import aws

FORBIDDEN = b'{"Message":"Forbidden. For troubleshooting Function URL authorization issues ..."}'


class LocalUrl:
    """One Function URL, with a fixed address in front of the latest deployment."""

    def __init__(self, cloud: Cloud, stack: str, logical_id: str) -> None:
        self._cloud, self._stack, self._logical_id = cloud, stack, logical_id
        self._running = AsyncExitStack()
        self._url: FunctionUrl | None = None
        self.server = Server(self.handle)

    async def handle(self, exchange: Exchange) -> None:
        """Answer as the function's URL."""
        if self._cloud.auth(self._stack, self._logical_id) == "AWS_IAM":
            await exchange.body(0)
            await exchange.answer(
                403, FORBIDDEN, "application/json", x_amzn_errortype="AccessDeniedException"
            )
            return
        assert self._url is not None, "the URL was called before its function was deployed"
        await self._cloud.answer(self._url, exchange, self._logical_id)

    async def renew(self) -> None:
        """Switch to the latest deployment, and take its snapshot, as on Lambda."""
        await self.close()
        self._url = await self._start()

    async def close(self) -> None:
        """End the processes behind the URL."""
        await self._running.aclose()
        self._running = AsyncExitStack()

    async def _start(self) -> FunctionUrl:
        told = await asyncio.to_thread(self._cloud.described, self._stack, self._logical_id)
        spec, folder, log = told
        resource = self._cloud.templates[self._stack]["Resources"][self._logical_id]
        closed = resource["Properties"].get("ReservedConcurrentExecutions") == 0
        file = self._running.enter_context(log.open("a"))
        launch = layout.prepare(spec, root=folder, built=True, folder=folder, log=file)
        launch = launch.with_variables({"AWS_ENDPOINT_URL": self._cloud.endpoint})
        function = await self._running.enter_async_context(Function(launch, 0 if closed else 9))
        if spec.snap_start:
            await function.publish()
        return FunctionUrl(function, spec.invoke_mode)


class Cloud(aws.Account):
    """The account; packages, layouts and logs are in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.templates: dict[str, Any] = {}
        self.deleted: list[str] = []
        self._folder = folder
        self._urls: dict[tuple[str, str], LocalUrl] = {}
        self._secrets: dict[tuple[str, str], str] = {}
        self._stack = ""
        self._read: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._loop_thread = threading.Thread(target=self._loop.run_forever)
        self._made = 0

    def __enter__(self) -> Self:
        self._loop_thread.start()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for url in self._urls.values():
            self._wait(url.close())
            self._wait(url.server.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop_thread.join()
        self._loop.close()
        super().__exit__(kind, exc, tb)

    async def answer(self, url: FunctionUrl, exchange: Exchange, logical_id: str) -> None:
        """Let the URL answer; tests override it."""
        await url.handle(exchange)

    def address(self, logical_id: str) -> str:
        """Return a Function URL's address, on a fixed port."""
        place = (self._stack, logical_id.removesuffix("Url"))
        if place not in self._urls:
            url = LocalUrl(self, *place)
            self._wait(url.server.__aenter__())
            self._urls[place] = url
        return f"http://127.0.0.1:{self._urls[place].server.port}/"

    def auth(self, stack: str, function: str) -> str:
        """Return the AuthType of a function's URL."""
        properties = self.templates[stack]["Resources"][f"{function}Url"]["Properties"]
        return str(properties["AuthType"])

    def described(self, stack: str, function: str) -> tuple[FunctionSpec, Path, Path]:
        """Return what Lambda would start, its folder, and its log."""
        resources = self.templates[stack]["Resources"]
        properties = resources[function]["Properties"]
        told = self.client("lambda").get_function_configuration(
            FunctionName=self._ids(stack)[function]
        )
        self._made += 1
        folder = self._folder / f"{stack}-{function}-{self._made}"
        layers = []
        for layer in properties.get("Layers", ()):
            content = resources[layer["Ref"]]["Properties"]["Content"]
            layers.append(Layer(layer["Ref"], self._lay(content, folder, layer["Ref"])))
        mode = resources[f"{function}Url"]["Properties"]["InvokeMode"]
        if isinstance(mode, dict):
            mode = "RESPONSE_STREAM" if layers else "BUFFERED"
        spec = FunctionSpec(
            logical_id=function,
            name=told["FunctionName"],
            handler=told["Handler"],
            runtime=told["Runtime"],
            folder=self._lay(properties["Code"], folder, function),
            timeout_s=told["Timeout"],
            memory_mb=told["MemorySize"],
            invoke_mode=mode,
            snap_start=told.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions",
            log_format="JSON",
            environment={
                name: str(value)
                for name, value in told.get("Environment", {}).get("Variables", {}).items()
            },
            layers=tuple(layers),
        )
        return spec, folder, self._folder / f"{stack}.log"

    def _lay(self, content: dict[str, str], folder: Path, logical_id: str) -> Path:
        place = folder / layout.BUILD_FOLDER / logical_id
        shelf = self._folder / "packages" / content["S3Key"].replace("/", "-")
        if not shelf.exists():
            package = self.client("s3").get_object(Bucket=content["S3Bucket"], Key=content["S3Key"])
            with zipfile.ZipFile(io.BytesIO(package["Body"].read())) as archive:
                archive.extractall(shelf)
                for item in archive.infolist():
                    (shelf / item.filename).chmod(item.external_attr >> 16)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(shelf)
        return place

    def _ids(self, stack: str) -> dict[str, str]:
        found = self.client("cloudformation").describe_stack_resources(StackName=stack)
        return {
            each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
            for each in found["StackResources"]
        }

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def _secret(self, name: str, properties: Any) -> str:
        place = (self._stack, name)
        if place not in self._secrets:
            self._secrets[place] = super()._secret(name, properties)
        return self._secrets[place]

    def _transform(self, form: dict[str, str]) -> dict[str, str]:
        self._stack = form["StackName"]
        changed = super()._transform(form)
        self.templates[self._stack] = self.translated
        return changed

    def _reduced(self, document: dict[str, Any]) -> dict[str, Any]:
        """Remove layers: moto attaches none, and cannot change functions that have some."""
        reduced = super()._reduced(copy.deepcopy(document))
        for resource in reduced["Resources"].values():
            resource["Properties"].pop("Layers", None)
        return reduced

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = b""
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
        asked = environ.get("HTTP_X_AMZ_TARGET", "") + environ["PATH_INFO"]
        if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
            asked += f" {body.decode('latin-1')}"
        if "FilterLogEvents" in asked or "GetMetricStatistics" in asked:
            self._collect_logs()
        form = dict(urllib.parse.parse_qsl(asked.partition(" ")[2]))
        answer = super()._serve(environ, start_response)
        if form.get("Action") == "ExecuteChangeSet":
            self._publish(form["StackName"])
        if form.get("Action") == "DeleteStack":
            self._forget(form["StackName"])
        return answer

    def _publish(self, stack: str) -> None:
        """Create or move the alias, which moto does not know, and renew the URLs."""
        stack = stack if stack in self.templates else stack.split("/")[1]
        (told,) = cloudformation_backends[ACCOUNT][REGION].describe_stacks(stack)
        # moto returns no outputs of a change set's resources.
        told._parse_template()
        told.output_map = told._create_output_map()
        functions, ids = self.client("lambda"), self._ids(stack)
        for resource in self.templates[stack]["Resources"].values():
            if resource["Type"] == aws.ALIAS:
                function = ids[resource["Properties"]["FunctionName"]["Ref"]]
                version = functions.publish_version(FunctionName=function)["Version"]
                alias = {"FunctionName": function, "Name": "live", "FunctionVersion": version}
                try:
                    functions.update_alias(**alias)
                except functions.exceptions.ClientError:
                    functions.create_alias(**alias)
        for (owner, _), url in list(
            self._urls.items()
        ):  # Other stacks may be deploying at the same time.
            if owner == stack:
                self._wait(url.renew())

    def _forget(self, stack: str) -> None:
        stack = stack if stack in self.templates else stack.split("/")[1]
        self.deleted.append(stack)
        for (owner, _), secret in self._secrets.items():
            if owner == stack:
                self.client("secretsmanager").delete_secret(
                    SecretId=secret, ForceDeleteWithoutRecovery=True
                )

    def _collect_logs(self) -> None:
        for log in self._folder.glob("*.log"):
            stack = log.stem
            lines = [line for line in log.read_text(errors="replace").splitlines() if line]
            new = lines[self._read.get(stack, 0) :]
            self._read[stack] = len(lines)
            if not new:
                continue
            logs, now = self.client("logs"), int(time.time() * 1000)
            group = next(id_ for name, id_ in self._ids(stack).items() if name.endswith("LogGroup"))
            if stack not in self._read or self._read[stack] == len(new):
                logs.create_log_stream(logGroupName=group, logStreamName="local")
            logs.put_log_events(
                logGroupName=group,
                logStreamName="local",
                logEvents=[{"timestamp": now, "message": line} for line in new],
            )
            for line in new:
                self._measure(line)

    def _measure(self, line: str) -> None:
        """Turn a line in CloudWatch's embedded metric format into metrics."""
        try:
            told = json.loads(line)
            sets = told["_aws"]["CloudWatchMetrics"]
        except (ValueError, LookupError, TypeError):
            return
        for each in sets:
            for names in each["Dimensions"]:
                dimensions = [{"Name": name, "Value": str(told[name])} for name in names]
                for metric in each["Metrics"]:
                    value = told[metric["Name"]]
                    data = {"MetricName": metric["Name"], "Dimensions": dimensions}
                    values = value if isinstance(value, list) else [value]
                    self.client("cloudwatch").put_metric_data(
                        Namespace=each["Namespace"],
                        MetricData=[{**data, "Value": float(one)} for one in values],
                    )
