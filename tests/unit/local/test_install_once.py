"""Two makes in one clone: one installs, the other waits and then has nothing to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import install_once

SCRIPT = Path(install_once.__file__)


@pytest.fixture(autouse=True)
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty clone with a list of requirements."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").touch()
    return tmp_path


def _install(command: str) -> int:
    return install_once.main("stamp", "source", "installing", "sh", "-c", command)


def test_a_done_command_is_not_run_again(clone: Path) -> None:
    """The command runs again only if its source is newer."""
    assert _install("echo x >> done") == 0
    assert _install("echo x >> done") == 0
    assert (clone / "done").read_text() == "x\n"
    os.utime(clone / "source", (2e9, 2e9))
    assert _install("echo x >> done") == 0
    assert (clone / "done").read_text() == "x\nx\n"


def test_a_failed_command_leaves_no_stamp(clone: Path) -> None:
    """The next make tries again."""
    assert _install("exit 3") == 3
    assert not (clone / "stamp").exists()


def test_without_a_source_the_command_makes_the_stamp(clone: Path) -> None:
    """Without a source the stamp is not touched, since it may be a link to an interpreter."""
    assert install_once.main("stamp", "", "making", "true") == 0
    assert not (clone / "stamp").exists()


def test_the_second_make_waits_for_the_first(clone: Path) -> None:
    """The second make says that it waits, and then has nothing to do."""
    gate = clone / "gate"
    os.mkfifo(gate)
    command = [sys.executable, str(SCRIPT), "stamp", "source", "installing", "sh", "-c"]
    with (
        subprocess.Popen([*command, "cat gate"], stdout=subprocess.PIPE, text=True) as first,
        gate.open("w"),  # Opens once the first one reads, and so holds the lock.
    ):
        second = subprocess.Popen([*command, "touch twice"], stdout=subprocess.PIPE, text=True)
        assert second.stdout
        assert second.stdout.readline() == "another make is installing here: waiting for it\n"
    with second:
        assert second.stdout.read() == ""
    assert (first.returncode, second.returncode) == (0, 0)
    assert not (clone / "twice").exists()
