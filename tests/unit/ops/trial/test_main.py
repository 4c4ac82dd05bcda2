"""`make trial` as a command: who is asked, and what counts as a no."""

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
def test_only_a_yes_makes_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None
) -> None:
    """Ctrl-D is no answer, and so a no: status 2, and nothing is left behind."""

    def answer(_: str) -> str:
        if said is None:
            raise EOFError
        return said

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trial"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(command, "entered", lambda *_: Account("eu-central-1", "1", "me"))
    monkeypatch.setattr(command, "_earlier", lambda *_: 0)
    assert command.main() == 2
    assert list(tmp_path.iterdir()) == []


class _Gone:
    """A terminal that was closed, or a pipe whose reader has ended."""

    def write(self, _: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("fails_with", [KeyboardInterrupt, Problem("no stack")])
def test_what_was_made_is_deleted_although_nobody_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails_with: BaseException
) -> None:
    """Ctrl-C ends a `tee` as well, and with it the standard output."""
    deleted: list[str] = []

    def fail(_: object) -> None:
        raise fails_with

    def take_away(stacks: Stacks) -> list[str]:
        deleted.append(stacks.name)
        return ["it"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trial", "--yes"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(command, "entered", lambda *_: Account("eu-central-1", "1", "me"))
    monkeypatch.setattr(command, "_earlier", lambda *_: 0)
    monkeypatch.setattr(Stacks, "begin", fail)
    monkeypatch.setattr(Stacks, "take_away", take_away)
    monkeypatch.setattr(sys, "stdout", _Gone())
    monkeypatch.setattr(sys, "stderr", _Gone())
    assert command.main() == 1
    (report,) = (tmp_path / ".trial").iterdir()
    assert deleted == [report.stem]
    assert "left in the account: it" in report.read_text()
