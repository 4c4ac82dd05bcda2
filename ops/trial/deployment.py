"""The laboratory: prepares packages, deploys both stacks, and sends requests to them.

Implements `Lab` of `probe` with AWS. Does not know the questions.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from ops.doctor import report
from ops.doctor.checks import CheckRun
from ops.doctor.wire import Exchange, Piece, exchange
from ops.pasted_url import Address
from ops.trial.probe import DoctorResult, Place, Published
from ops.trial.stacks import Stacks

T = TypeVar("T")

HERE = Path(__file__).parent
TIMEOUT_S = 30.0
FORBIDDEN_S = 2.0
MODEL, LATER_MODEL = "trial", "trial-later"
MANGUM = ("mangum", "typing_extensions")
"""The parts of the function's package that the small applications need."""


class DeployedLab:
    """Deploys in `prepare`, then asks. `patience_s`: how long logs and metrics may take."""

    def __init__(
        self, stacks: Stacks, packages: Path, architecture: str, rounds: int, patience_s: float
    ) -> None:
        self.rounds = rounds
        self.snapshot = True
        self._stacks = stacks
        self._packages = packages
        self._architecture = architecture
        self._patience_s = patience_s
        self._began = datetime.now(UTC) - timedelta(minutes=1)
        self._model_key = secrets.token_hex(16)
        self._outputs: dict[str, dict[str, str]] = {}
        self._key = ""

    def prepare(self, tell: Callable[[str], None]) -> None:
        """Deploy both stacks. Raises Problem."""
        self._stage()
        tell("deploying the small applications (about 2 minutes)")
        self._outputs["apps"] = self._stacks.deploy(
            "apps",
            self._folder / "apps" / "template.yaml",
            Architecture=self._architecture,
            ModelKey=self._model_key,
        )
        tell("deploying the server (about 4 minutes: a snapshot is taken)")
        self._deploy_server(SnapStart="On", UpstreamModel=MODEL)
        secrets = self._client("secretsmanager")
        server = self._outputs["server"]
        secrets.put_secret_value(
            SecretId=server["UpstreamKeySecretArn"],
            SecretString=json.dumps({"upstream": self._model_key}),
        )
        held = secrets.get_secret_value(SecretId=server["CallerKeySecretArn"])["SecretString"]
        self._key = json.loads(held)["key"]

    def ask(
        self,
        place: Place,
        path: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        enough: Callable[[Sequence[Piece]], bool] | None = None,
    ) -> Exchange:
        """Make one request, to the server with its caller key."""
        mine = {"authorization": f"Bearer {self._key}"} if place == "Server" else {}
        return exchange(
            self._address(place),
            method,
            path,
            headers={**mine, **(headers or {})},
            body=body,
            timeout_s=TIMEOUT_S,
            enough=enough,
        )

    def turn(self) -> Exchange:
        """Play one streamed turn."""
        messages = [{"role": "user", "content": "Answer with one word: yes."}]
        body = json.dumps({"model": MODEL, "messages": messages, "stream": True}).encode()
        headers = {"content-type": "application/json"}

        path = "/v1/chat/completions"
        ends_at = time.monotonic() + self._patience_s
        while True:
            came = self.ask("Server", path, method="POST", body=body, headers=headers)
            # A right that was given a moment ago; refused so, no environment has started.
            if came.status != 403 or time.monotonic() > ends_at:
                return came
            time.sleep(FORBIDDEN_S)

    def run_doctor(self) -> DoctorResult:
        """Run the doctor, without showing its table."""
        run = CheckRun(self._address("Server"), self._key, MODEL)
        findings = list(run.rows())
        failed = [each.name for each in findings if each.result in {"failed", "skipped"}]
        streams = run.streaming.verdict if run.streaming else ""
        return DoctorResult(report.usable(findings), streams, failed)

    def log_lines(self, place: Place, words: str, *, wait: bool = True) -> list[dict[str, Any]]:
        """Ask CloudWatch Logs until it has such a line, or patience ends."""
        group = self._outputs["server" if place == "Server" else "apps"]["LogGroup"]
        since = int(self._began.timestamp() * 1000)

        def found() -> list[dict[str, Any]]:
            answer = self._client("logs").filter_log_events(
                logGroupName=group, filterPattern=f'"{words}"', startTime=since
            )
            return [_line(event["message"]) for event in answer["events"]]

        return self._waited(found, wait=wait)

    def metric(self, name: str) -> float | None:
        """Ask CloudWatch until it has the metric, or patience ends."""

        def found() -> float | None:
            answer = self._client("cloudwatch").get_metric_statistics(
                Namespace="VoiceCompletions",
                MetricName=name,
                Dimensions=[{"Name": "service", "Value": self._stacks.stack("server")}],
                StartTime=self._began,
                EndTime=datetime.now(UTC) + timedelta(minutes=1),
                Period=60,
                Statistics=["Sum"],
            )
            return sum(point["Sum"] for point in answer["Datapoints"]) or None

        return self._waited(found, wait=True)

    def publish(self) -> Published:
        """Deploy the server again, as after a change of samconfig.toml: the package differs."""
        before = self._version()
        with (self._folder / "server" / "CompletionsFunction" / "build.txt").open("a") as file:
            file.write("another samconfig.toml\n")
        self._deploy_server(SnapStart="Off", UpstreamModel=LATER_MODEL)
        self.snapshot = False
        after = self._version()
        runs = self._client("lambda").get_function_configuration(
            FunctionName=self._function(), Qualifier=after
        )
        variables = runs["Environment"]["Variables"]
        return Published(before, after, variables["COMPLETIONS_UPSTREAM_MODEL"] == LATER_MODEL)

    @property
    def _folder(self) -> Path:
        return self._stacks.folder

    def _client(self, service: str) -> Any:
        return self._stacks.account.client(service)

    def _stage(self) -> None:
        """Lay out the upload: the built packages, and the applications with Mangum."""
        shutil.copytree(self._packages, self._folder / "server")
        apps = self._folder / "apps"
        shutil.copytree(HERE / "apps", apps / "apps", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(HERE / "template.yaml", apps)
        shutil.copytree(self._packages / "StreamingLayer", apps / "StreamingLayer")
        function = self._packages / "CompletionsFunction"
        for name in MANGUM:
            for source in function.glob(f"{name}*"):
                if source.is_file():
                    shutil.copy(source, apps / "apps")
                else:
                    shutil.copytree(source, apps / "apps" / source.name)

    def _deploy_server(self, **parameters: str) -> None:
        self._outputs["server"] = self._stacks.deploy(
            "server",
            self._folder / "server" / "template.yaml",
            Architecture=self._architecture,
            UpstreamBaseUrl=Address.parse(self._outputs["apps"]["ModelUrl"]).base_url,
            LogRetentionDays="1",
            **parameters,
        )

    def _function(self) -> str:
        answer = self._client("cloudformation").describe_stack_resource(
            StackName=self._stacks.stack("server"), LogicalResourceId="CompletionsFunction"
        )
        name: str = answer["StackResourceDetail"]["PhysicalResourceId"]
        return name

    def _version(self) -> str:
        alias = self._client("lambda").get_alias(FunctionName=self._function(), Name="live")
        version: str = alias["FunctionVersion"]
        return version

    def _address(self, place: Place) -> Address:
        if place == "Server":
            return Address.parse(self._outputs["server"]["ServerUrl"])
        return Address.parse(self._outputs["apps"][f"{place}Url"])

    def _waited(self, found: Callable[[], T], *, wait: bool) -> T:
        ends_at = time.monotonic() + self._patience_s
        while not (answer := found()) and wait and time.monotonic() < ends_at:
            time.sleep(min(5.0, self._patience_s / 10))
        return answer


def _line(message: str) -> dict[str, Any]:
    try:
        value = json.loads(message)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"message": message}
