"""`make trial` as a command: who is asked, and what counts as a no."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from ops.trial import __main__ as command
from ops.trial.account import Account


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
