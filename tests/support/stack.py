"""A stage as `sam deploy` makes it in an `aws.Account`, and started as Lambda would start it.

SAM's CLI reads samconfig.toml, uploads the packages that `make build` made and has its template
made into a stack. From then on only the account is asked what the function is: its code, handler,
layers and variables. The template and the folders here are not looked at again.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import layout
from local.environment import Function
from local.function_url import FunctionUrl
from local.template import FunctionSpec, Layer
from local.wire import Server
from tests.support import aws, sam
from tests.support.built import ARCHITECTURE, PACKAGES, ROOT


@dataclass(frozen=True, slots=True)
class Stack:
    """What `sam deploy` left behind."""

    name: str
    said: str
    ids: dict[str, str]
    function: dict[str, Any]
    """As Lambda tells it: handler, variables, layers and so on."""
    invoke_mode: str

    @property
    def variables(self) -> dict[str, str]:
        """The function's environment."""
        found: dict[str, str] = self.function["Environment"]["Variables"]
        return found


def deploy(account: aws.Account, stage: str, folder: Path, *parameters: str) -> Stack:
    """Deploys a stage as samconfig.toml has it, but for this machine's processor."""
    config = (ROOT / "samconfig.toml").read_text()
    here = ",\n".join(f'"{item}"' for item in (f"Architecture={ARCHITECTURE}", *parameters))
    assert '"Architecture=arm64"' in config
    moved = folder / "samconfig.toml"
    moved.write_text(config.replace('"Architecture=arm64"', here))
    arguments: list[str | Path] = [
        "--config-file",
        moved,
        "--config-env",
        stage,
        "--no-confirm-changeset",
    ]
    # SAM's own bucket is a stack of its own, with a bucket policy that moto does not know.
    arguments += ["--no-resolve-s3", "--s3-bucket", aws.BUCKET]
    done = subprocess.run(
        [sam.SAM_VENV / "bin/sam", "deploy", *arguments],
        cwd=PACKAGES,
        env={
            **account.environment,
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    name = sam.stage(stage).stack
    ids = account.complete(name)
    told = {"FunctionName": ids["CompletionsFunction"]}
    return Stack(
        name,
        done.stdout,
        ids,
        account.client("lambda").get_function_configuration(**told),
        account.client("lambda").get_function_url_config(**told)["InvokeMode"],
    )


def unpack(account: aws.Account, logical_id: str, sha256: str, folder: Path) -> None:
    """Lays out an uploaded package as Lambda does, once it is known to be the deployed one."""
    properties = account.translated["Resources"][logical_id]["Properties"]
    where = properties.get("Code") or properties["Content"]
    package = account.client("s3").get_object(Bucket=where["S3Bucket"], Key=where["S3Key"])
    content = package["Body"].read()
    assert base64.b64encode(hashlib.sha256(content).digest()).decode() == sha256
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
        for item in archive.infolist():
            (folder / item.filename).chmod(item.external_attr >> 16 or 0o644)


def lay_out(account: aws.Account, stack: Stack, folder: Path) -> FunctionSpec:
    """What Lambda would start: code and layers as uploaded, all the rest as configured."""
    packages = folder / layout.BUILD_FOLDER
    told = stack.function
    unpack(account, "CompletionsFunction", told["CodeSha256"], packages / "CompletionsFunction")
    layers = []
    for layer in told["Layers"]:
        (logical_id,) = (each for each, arn in stack.ids.items() if arn == layer["Arn"])
        name, number = layer["Arn"].split(":")[-2:]
        version = account.client("lambda").get_layer_version(
            LayerName=name, VersionNumber=int(number)
        )
        unpack(account, logical_id, version["Content"]["CodeSha256"], packages / logical_id)
        layers.append(Layer(logical_id, packages / logical_id))
    return FunctionSpec(
        logical_id="CompletionsFunction",
        name=told["FunctionName"],
        handler=told["Handler"],
        runtime=told["Runtime"],
        folder=packages / "CompletionsFunction",
        timeout_s=told["Timeout"],
        memory_mb=told["MemorySize"],
        invoke_mode=stack.invoke_mode,
        log_format="JSON",
        environment={name: str(value) for name, value in stack.variables.items()},
        layers=tuple(layers),
    )


@asynccontextmanager
async def running(account: aws.Account, stack: Stack, folder: Path) -> AsyncIterator[str]:
    """Starts what was deployed; its URL. What it writes is in the file `log`."""
    with (folder / "log").open("w") as log:
        spec = lay_out(account, stack, folder)
        launch = layout.prepare(spec, root=folder, built=True, folder=folder, log=log)
        here = launch.with_variables({"AWS_ENDPOINT_URL": account.endpoint})
        async with (
            Function(here, 1) as function,
            Server(FunctionUrl(function, stack.invoke_mode).handle) as door,
        ):
            yield f"http://127.0.0.1:{door.port}/v1"
