"""What tests marked `built` need: the packages that `make build` made, and Lambda's Python.

Without a CPython 3.13 they are skipped with a reason on a user's machine, and fail in CI.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
OTHER_ARCHITECTURE = "arm64" if ARCHITECTURE == "x86_64" else "x86_64"
PACKAGES = ROOT / ".aws-sam" / ARCHITECTURE
FUNCTION, LAYER = PACKAGES / "CompletionsFunction", PACKAGES / "StreamingLayer"


def python313() -> str | None:
    """A CPython 3.13 that runs: the one PYTHON313 names, or python3.13. A shim may not run."""
    for name in (os.environ.get("PYTHON313"), "python3.13"):
        found = shutil.which(name) if name else None
        if found:
            probe = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
            done = subprocess.run([found, "-c", probe], capture_output=True, text=True, check=False)
            if done.stdout.split() == ["cpython", "3", "13"]:
                return found
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let tests marked `built` run only where there is something to run; in CI there must be."""
    if item.get_closest_marker("built") is None:
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("the packages are built for Linux")
    missing = ""
    if python313() is None:
        missing = "no CPython 3.13 found, on PATH or in PYTHON313: the built package is NOT TESTED"
    elif not FUNCTION.is_dir():
        missing = "nothing built: run `make build`"
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    if missing:
        pytest.skip(missing)
