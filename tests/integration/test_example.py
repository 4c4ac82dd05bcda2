"""The example that others copy: valid, built by SAM, and streaming from what SAM built."""

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


def sam(*arguments: str) -> None:
    """Run SAM in the example's folder, with Lambda's Python on the PATH."""
    python = python313()
    path = f"{Path(python).parent}:" if python else ""
    subprocess.run(
        [SAM_VENV / "bin" / "sam", *arguments],
        cwd=EXAMPLE,
        env=os.environ
        | {
            "PATH": path + os.environ["PATH"],
            "SAM_CLI_TELEMETRY": "0",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
        check=True,
    )


def test_its_template_is_valid() -> None:
    """By SAM's own linter."""
    sam("validate", "--lint")


@pytest.mark.built
async def test_what_is_built_of_it_streams(tmp_path: Path) -> None:
    """The function and the layer, as they would be deployed, with their own packages."""
    build = tmp_path / "build"
    sam(
        "build",
        *("--build-dir", str(build), "--cache-dir", str(tmp_path / "cache")),
        *("--parameter-overrides", f"Architecture={ARCHITECTURE}"),
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
