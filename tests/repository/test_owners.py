"""An owner's agents, and their tests, are looked at for mistakes only."""

import subprocess
import sys
from pathlib import Path

import pytest

SLOPPY = "import os\ndef answer(x = {}) :\n    print( 'hello' ) ; return os\n"
MISTAKE = "def answer(conversation):\n    return conversaton\n"


def ruff(root: Path, name: str, code: str, command: str = "check") -> int:
    return subprocess.run(
        [sys.executable, "-m", "ruff", command, "--stdin-filename", name, "-"]
        + (["--check"] if command == "format" else []),
        input=code,
        cwd=root,
        text=True,
        capture_output=True,
        check=False,
    ).returncode


@pytest.mark.parametrize("folder", ["functions/completions/agents", "tests/agents"])
def test_style_is_theirs(root: Path, folder: str) -> None:
    """How a first agent is written turns nothing red."""
    assert ruff(root, f"{folder}/shop.py", SLOPPY) == 0
    assert ruff(root, "functions/completions/shop.py", SLOPPY) != 0


@pytest.mark.parametrize("folder", ["functions/completions/agents", "tests/agents"])
def test_a_mistake_is_found(root: Path, folder: str) -> None:
    """A name that nobody has defined would fail in the first turn."""
    assert ruff(root, f"{folder}/shop.py", MISTAKE) != 0
