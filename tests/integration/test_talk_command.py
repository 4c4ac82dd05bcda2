"""`python -m ops.talk` at the command line: what it says before there is a page."""

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
def test_a_mistake_is_told_in_the_words_of_its_maker(variables: dict[str, str], told: str) -> None:
    """Nothing is started, and the status says that the command was not understood."""
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
    """A killed process stops nobody, but the deployment's stdin is closed with it."""
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


def test_who_watches_is_told_that_no_model_answers() -> None:
    """The words are those of `make run`, about the model and not what stands before it."""
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
