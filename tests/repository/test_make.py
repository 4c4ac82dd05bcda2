"""The commands that need AWS, played against stand-ins; what a user reads of them."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

FAKE_AWS = """#!/bin/sh
echo "$@" >> "$LOG.arguments"
case "$*" in
*"cloudformation describe-stack-resource"*) echo arn:of:the:secret ;;
*"secretsmanager put-secret-value"*) cat > "$LOG.stdin" ;;
*) exit 1 ;;
esac
"""


@pytest.fixture
def run(root: Path, tmp_path: Path) -> "Run":
    return Run(root, tmp_path)


class Run:
    """Runs make with a fake `aws` first on the PATH, and no terminal."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.log = root, folder / "log"
        aws = folder / "aws"
        aws.write_text(FAKE_AWS)
        aws.chmod(0o755)
        self.environ = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "LOG": str(self.log)}
        for name in ("MAKEFLAGS", "MAKELEVEL"):
            self.environ.pop(name, None)

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "-C", self.root, "--no-print-directory", *arguments],
            input=stdin,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )


def test_the_upstream_key_is_no_argument(run: Run) -> None:
    """`make upstream-key` hands the key through pipes, where no process list shows it."""
    done = run("upstream-key", "STACK=my-stack", "REGION=eu-central-1", stdin='sk-"1\n')
    assert done.returncode == 0, done.stderr
    arguments = run.log.with_suffix(".arguments").read_text()
    assert "--stack-name my-stack" in arguments
    assert arguments.count("--region eu-central-1") == 2
    assert "--secret-id arn:of:the:secret" in arguments
    assert "sk-" not in arguments + done.stdout
    assert json.loads(run.log.with_suffix(".stdin").read_text()) == {"upstream": 'sk-"1'}


def test_an_empty_key_is_not_stored(run: Run) -> None:
    """Return alone leaves the secret as it was, and says so."""
    done = run("upstream-key", stdin="\n")
    assert done.returncode != 0
    assert "nothing stored" in done.stderr
    assert not run.log.with_suffix(".stdin").exists()


def test_help_tells_of_every_target(run: Run) -> None:
    """`make help` has a line for each target that is meant to be called."""
    makefile = (run.root / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (help .+)$", makefile, re.MULTILINE)
    assert phony
    told = {line.split()[0] for line in run("help").stdout.splitlines()}
    assert set(phony[1].split()) == told


def test_an_interpreter_that_only_pretends_is_not_taken(run: Run, tmp_path: Path) -> None:
    """A python3.13 on the PATH counts only if it runs and is CPython 3.13."""
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    run.environ.pop("PYTHON313", None)
    done = run("-pn", "help", "PYTHON=false")
    assert re.search(r"^PYTHON313 := *$", done.stdout, re.MULTILINE)
