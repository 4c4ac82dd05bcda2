"""A stage, deployed by `sam deploy` into an `aws.Account` and started as on Lambda.

SAM's CLI reads samconfig.toml, uploads the packages of `make build` and creates a stack from
the template. From then on the function comes from the account alone: its code, handler, layers and
variables. The template and the folders here are not read again.
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
from local.function import Function
from local.function_url import FunctionUrl
from local.template import FunctionSpec, Layer
from local.wire import Server
from tests.support import aws, sam
from tests.support.built import ARCHITECTURE, PACKAGES, ROOT


@dataclass(frozen=True, slots=True)
class Stack:
    """What `sam deploy` created."""

    name: str
    output: str
    ids: dict[str, str]
    function: dict[str, Any]
    """The function as Lambda describes it: handler, variables, layers and so on."""
    invoke_mode: str

    @property
    def variables(self) -> dict[str, str]:
        """Return the function's variables."""
        found: dict[str, str] = self.function["Environment"]["Variables"]
        return found


def deploy(account: aws.Account, stage: str, folder: Path, *parameters: str) -> Stack:
    """Deploy a stage of samconfig.toml, but for this machine's processor."""
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
    # SAM's own bucket would be another stack, with a bucket policy that moto does not know.
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
    told = {"FunctionName": ids[aws.FUNCTION]}
    return Stack(
        name,
        done.stdout,
        ids,
        account.client("lambda").get_function_configuration(**told),
        account.client("lambda").get_function_url_config(**told)["InvokeMode"],
    )


@dataclass(frozen=True, slots=True)
class Packages:
    """Uploaded packages, each unpacked once, as on Lambda."""

    account: aws.Account
    shelf: Path

    def lay(self, logical_id: str, sha256: str, at: Path) -> Path:
        """Lay out a resource's package, after checking that Lambda has the same one."""
        unpacked = self.shelf / sha256.replace("/", "-")
        if not unpacked.exists():
            content = self._content(logical_id)
            assert base64.b64encode(hashlib.sha256(content).digest()).decode() == sha256
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(unpacked)
                # zipfile drops permissions, but the layer's script must stay executable.
                for item in archive.infolist():
                    (unpacked / item.filename).chmod(item.external_attr >> 16)
        at.parent.mkdir(parents=True, exist_ok=True)
        at.symlink_to(unpacked)
        return at

    def _content(self, logical_id: str) -> bytes:
        properties = self.account.translated["Resources"][logical_id]["Properties"]
        where = properties.get("Code") or properties["Content"]
        package = self.account.client("s3").get_object(Bucket=where["S3Bucket"], Key=where["S3Key"])
        content: bytes = package["Body"].read()
        return content


def lay_out(packages: Packages, stack: Stack, folder: Path) -> FunctionSpec:
    """Return what Lambda would start: code and layers as uploaded, the rest as configured."""
    functions = packages.account.client("lambda")
    folder /= layout.BUILD_FOLDER
    told = stack.function
    layers = []
    for layer in told["Layers"]:
        (logical_id,) = (each for each, arn in stack.ids.items() if arn == layer["Arn"])
        name, number = layer["Arn"].split(":")[-2:]
        version = functions.get_layer_version(LayerName=name, VersionNumber=int(number))
        sha256 = version["Content"]["CodeSha256"]
        layers.append(Layer(logical_id, packages.lay(logical_id, sha256, folder / logical_id)))
    return FunctionSpec(
        logical_id=aws.FUNCTION,
        name=told["FunctionName"],
        handler=told["Handler"],
        runtime=told["Runtime"],
        folder=packages.lay(aws.FUNCTION, told["CodeSha256"], folder / aws.FUNCTION),
        timeout_s=told["Timeout"],
        memory_mb=told["MemorySize"],
        invoke_mode=stack.invoke_mode,
        log_format="JSON",
        environment={name: str(value) for name, value in stack.variables.items()},
        layers=tuple(layers),
    )


@asynccontextmanager
async def running(packages: Packages, stack: Stack, folder: Path) -> AsyncIterator[str]:
    """Start what was deployed; yield its URL. Its output goes to the file `log`."""
    with (folder / "log").open("w") as log:
        spec = lay_out(packages, stack, folder)
        launch = layout.prepare(spec, root=folder, built=True, folder=folder, log=log)
        here = launch.with_variables({"AWS_ENDPOINT_URL": packages.account.endpoint})
        async with (
            Function(here, 1) as function,
            Server(FunctionUrl(function, stack.invoke_mode).handle) as server,
        ):
            yield f"http://127.0.0.1:{server.port}/v1"
