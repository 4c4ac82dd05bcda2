"""`make trial` as a command: its question, and what counts as a no."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from ops.command_problem import Problem
from ops.trial import __main__ as command
from ops.trial.account import Account
from ops.trial.stacks import Stacks


@pytest.mark.parametrize("said", ["", "y", "no", None])
def test_only_a_yes_creates_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None
) -> None:
    """Ctrl-D counts as a no: status 2, and nothing is created."""

    def answer(_: str) -> str:
        if said is None:
            raise EOFError
        return said

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trial"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(command, "current_account", lambda *_: Account("eu-central-1", "1", "me"))
    monkeypatch.setattr(command, "_delete_crashed", lambda *_: 0)
    assert command.main() == 2
    assert list(tmp_path.iterdir()) == []


class _Gone:
    """A closed terminal, or a pipe without a reader."""

    def write(self, _: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("fails_with", [KeyboardInterrupt, Problem("no stack")])
def test_clean_up_goes_on_without_an_output(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails_with: BaseException
) -> None:
    """Clean-up goes on without a standard output, since Ctrl-C ends a `tee` as well."""
    deleted: list[str] = []

    def fail(_: object) -> None:
        raise fails_with

    def delete(stacks: Stacks) -> list[str]:
        deleted.append(stacks.name)
        return ["it"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trial", "--yes"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(command, "current_account", lambda *_: Account("eu-central-1", "1", "me"))
    monkeypatch.setattr(command, "_delete_crashed", lambda *_: 0)
    monkeypatch.setattr(Stacks, "begin", fail)
    monkeypatch.setattr(Stacks, "delete", delete)
    monkeypatch.setattr(sys, "stdout", _Gone())
    monkeypatch.setattr(sys, "stderr", _Gone())
    assert command.main() == 1
    (report,) = (tmp_path / ".trial").iterdir()
    assert deleted == [report.stem]
    assert "left in the account: it" in report.read_text()
