"""The example is valid, SAM builds it, and the build streams."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.test_layer_mangum import url_event
from tests.support.built import ARCHITECTURE, python313
from tests.support.layer import UnpackedLayer
from tests.support.runtime_api import FakeRuntimeApi
from tests.support.sam import ROOT, SAM_VENV

EXAMPLE = ROOT / "examples" / "any-mangum-app"

pytestmark = pytest.mark.slow


def sam(*arguments: str, folder: Path = EXAMPLE) -> None:
    """Run SAM in the example's folder or a copy, with Lambda's Python on the PATH."""
    python = python313()
    path = f"{Path(python).parent}:" if python else ""
    subprocess.run(
        [SAM_VENV / "bin" / "sam", *arguments],
        cwd=folder,
        env=os.environ
        | {
            "PATH": path + os.environ["PATH"],
            "SAM_CLI_TELEMETRY": "0",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
        check=True,
    )


def test_its_template_is_valid() -> None:
    """SAM's own linter accepts the template."""
    sam("validate", "--lint")


@pytest.mark.built
async def test_the_build_streams(tmp_path: Path) -> None:
    """Copied into another project, as the README says, it builds and streams."""
    project, build = tmp_path / "project", tmp_path / "build"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns(".aws-sam"))
    shutil.copytree(ROOT / "layers" / "streaming", project / "layers" / "streaming")
    template = project / "template.yaml"
    text = template.read_text("utf-8")
    template.write_text(text.replace("../../layers/streaming", "layers/streaming"), "utf-8")
    sam(
        "build",
        *("--build-dir", str(build), "--cache-dir", str(tmp_path / "cache")),
        *("--parameter-overrides", f"Architecture={ARCHITECTURE}"),
        folder=project,
    )
    layer = UnpackedLayer(tmp_path / "lambda", python=python313() or "")
    shutil.rmtree(layer.opt)
    shutil.copytree(build / "StreamingLayer", layer.opt)
    shutil.copytree(build / "App", layer.task, dirs_exist_ok=True)
    async with FakeRuntimeApi() as api:
        await layer.start(api, "app.handler")
        api.invoke(url_event("GET", "/"))
        post = await api.post()
        assert (await post.prelude())["headers"]["content-type"].startswith("text/event-stream")
        assert post.pieces[2:] == [f"data: {number}\n\n".encode() for number in range(1, 11)]
        await layer.end()
