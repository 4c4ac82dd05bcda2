"""What tests marked `built` need: the packages of `make build`, and Lambda's Python.

Without a CPython 3.13 they are skipped with a reason on a user's machine and fail in CI.
"""

import os
import sys
from pathlib import Path

import pytest

from local.layout import BUILD_FOLDER, CodeError, interpreter

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / BUILD_FOLDER
ARCHITECTURE = PACKAGES.name
OTHER_ARCHITECTURE = "arm64" if ARCHITECTURE == "x86_64" else "x86_64"
FUNCTION, LAYER = PACKAGES / "CompletionsFunction", PACKAGES / "StreamingLayer"


def python313() -> str | None:
    """Return Lambda's Python, if there is one."""
    try:
        return interpreter("python3.13")
    except CodeError:
        return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `built` if there is nothing to run; in CI they fail."""
    if item.get_closest_marker("built") is None:
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("the packages are built for Linux: they are NOT TESTED here")
    missing = ""
    if python313() is None:
        missing = "no CPython 3.13 found, on PATH or in PYTHON313: the built package is NOT TESTED"
    elif not FUNCTION.is_dir():
        missing = "nothing built: run `make build`"
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    if missing:
        pytest.skip(missing)
