"""An owner's agents and their tests are checked for mistakes, not for style."""

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
def test_an_owners_style_is_not_checked(root: Path, folder: str) -> None:
    """The style of an owner's files is not checked."""
    assert ruff(root, f"{folder}/shop.py", SLOPPY) == 0
    assert ruff(root, "functions/completions/shop.py", SLOPPY) != 0


@pytest.mark.parametrize("folder", ["functions/completions/agents", "tests/agents"])
def test_a_mistake_is_found(root: Path, folder: str) -> None:
    """An undefined name is found before the first turn."""
    assert ruff(root, f"{folder}/shop.py", MISTAKE) != 0
