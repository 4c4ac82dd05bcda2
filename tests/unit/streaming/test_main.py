"""The search path, which the layer sets in place of Lambda's own script."""

from __future__ import annotations

import sys

import pytest

from lambda_streaming.__main__ import _HERE, search_path

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
STDLIB = ["/lib/python313.zip", "/lib/python3.13", "/lib/python3.13/site-packages"]


def test_the_order_is_lambdas() -> None:
    """The order is the function's code, layers, the standard library, the runtime's packages."""
    assert search_path([_HERE, *STDLIB], "/opt/python") == [
        "/var/task",
        f"/opt/python/lib/{VERSION}/site-packages",
        "/opt/python",
        *STDLIB,
        "/var/runtime",
    ]


def test_folders_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda's folders come from the environment, the layer's own from its location."""
    monkeypatch.setenv("LAMBDA_TASK_ROOT", "/code")
    monkeypatch.setenv("LAMBDA_RUNTIME_DIR", "/runtime")
    path = search_path(STDLIB, "/elsewhere/python")
    assert path[0] == "/code"
    assert path[2] == "/elsewhere/python"
    assert path[-1] == "/runtime"


def test_nothing_is_searched_twice() -> None:
    """A PYTHONPATH with the same folders changes nothing."""
    path = search_path(["/opt/python", "/var/task", "/var/runtime", *STDLIB], "/opt/python")
    assert sorted(path) == sorted(set(path))
    assert path[0] == "/var/task"
