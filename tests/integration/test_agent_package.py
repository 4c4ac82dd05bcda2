"""The package with an owner's agent, built in a copy of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.built import ROOT, python313

pytestmark = [pytest.mark.built, pytest.mark.slow]

WHAT_FRAMEWORKS_ASK_FOR = """
import boto3
from completions.responder import Say
from importlib import metadata

async def answer(conversation):
    import aiohttp.web, openai.types.fine_tuning, pydantic.v1
    metadata.version("openai")
    boto3.client("dynamodb")
    async for event in conversation.ask():
        yield event

async def lacking(conversation):
    import a_framework
    yield Say("")

async def failing(conversation):
    yield Say("")
    raise RuntimeError("The shop is closed.")
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what `make build` reads, with an agent in it."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("functions", "layers", "local", "requirements"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / name, clone)
    for name in (".venv", ".venv-sam"):
        (clone / name).symlink_to(ROOT / name)
    (clone / "functions/completions/agents/shop.py").write_text(WHAT_FRAMEWORKS_ASK_FOR)
    return clone


def build(clone: Path, function: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    parameters = f"PARAMETERS=Responder=completions.agents.shop:{function}"
    return subprocess.run(
        # Tests install nothing.
        ["make", "-C", clone, "-o", ".venv-sam/.sam", "-o", ".venv/.local", "build", parameters],
        env=environ | {"PYTHON313": str(python313())},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_holds_what_an_agent_needs(clone: Path) -> None:
    """With an agent the package is left whole, and a turn of the agent answers from it."""
    done = build(clone, "answer")
    assert done.returncode == 0, done.stderr
    assert "completions.agents.shop:answer in the package: it answers" in done.stdout


def test_a_module_missing_in_the_package_is_named(clone: Path) -> None:
    """The build fails, naming the missing module and the file that lists packages."""
    done = build(clone, "lacking")
    assert done.returncode != 0
    assert "No module named 'a_framework'" in done.stderr
    assert "pyproject.toml" in done.stderr


def test_another_exception_of_an_agent_fails_no_build(clone: Path) -> None:
    """Another exception is only reported, since the build may not reach the agent's services."""
    done = build(clone, "failing")
    assert done.returncode == 0, done.stderr
    assert "RuntimeError: The shop is closed." in done.stdout


def test_a_missing_agent_function_is_named(clone: Path) -> None:
    """The build fails with the message that the start would give."""
    done = build(clone, "nobody")
    assert done.returncode != 0
    assert "has no 'nobody'" in done.stderr
