"""`python -m ops.talk` at the command line, before there is a page."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TALK = [sys.executable, "-m", "ops.talk"]
NOBODY = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"UPSTREAM": "foo"}, "UPSTREAM=foo is neither model, openai nor a base URL"),
        ({"UPSTREAM": "openai"}, "UPSTREAM=openai needs the key"),
        ({"UPSTREAM": NOBODY, "PARAMETERS": "1"}, "error: PARAMETERS: "),
        ({"TALK_PORT": "seven"}, "seven is not a port"),
        ({"TALK_URL": "http://127.0.0.1:1"}, "no caller key: set TALK_KEY"),
    ],
)
def test_a_mistake_names_the_option_as_given(variables: dict[str, str], told: str) -> None:
    """A wrong option starts nothing and exits with the status of a usage error."""
    kept = {name: value for name, value in os.environ.items() if "KEY" not in name}
    done = subprocess.run(
        TALK,
        cwd=ROOT,
        env={**kept, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_deployment_ends_with_the_page_however_that_ends() -> None:
    """The deployment ends with the page's process, even a killed one, since its stdin closes."""
    process = subprocess.Popen(
        TALK,
        cwd=ROOT,
        env={**os.environ, "UPSTREAM": NOBODY},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process:
        process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        deployments = [os.pidfd_open(int(child)) for child in children]
        process.kill()
    assert len(deployments) == 1
    ended, _, _ = select.select(deployments, [], [], 20)
    assert ended == deployments
    os.close(deployments[0])


def test_a_model_that_does_not_answer_is_reported() -> None:
    """A model that does not answer is reported in the words of `make run`."""
    process = subprocess.Popen(
        TALK,
        cwd=ROOT,
        env={**os.environ, "UPSTREAM": NOBODY, "REAL_TURN": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("talk http://127.0.0.1:")
    finally:
        process.terminate()
        _, errors = process.communicate()
    assert f"UPSTREAM={NOBODY} cannot be reached: does a model API listen at" in errors
