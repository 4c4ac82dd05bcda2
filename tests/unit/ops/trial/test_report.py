"""The report of a trial: whole after each answer, and readable where something is left."""

from __future__ import annotations

from pathlib import Path

from ops.trial.probe import Measured, Probe
from ops.trial.report import Report, line

OTHER = Measured("a | b\nc", as_assumed=False)
PROBE = Probe("paths", "How does a path arrive?", "as sent", "local/payload.py", lambda _: OTHER)


def report(folder: Path) -> Report:
    return Report(folder / ".trial" / "voice-trial.md", "The trial x", {"Region": "eu-central-1"})


def test_it_is_whole_after_each_answer(tmp_path: Path) -> None:
    """A crash loses nothing that was answered, and what was not ended says so."""
    told = report(tmp_path)
    told.note(PROBE, OTHER)
    text = told.path.read_text()
    assert "state: it goes on, or has crashed" in text
    assert "left in the account: not yet taken away" in text
    assert "0 as assumed, 1 otherwise, 0 cannot tell" in text
    assert [path.name for path in told.path.parent.iterdir()] == ["voice-trial.md"]


def test_what_differs_stands_out_and_breaks_no_table(tmp_path: Path) -> None:
    """A row is a line with five cells, whatever a server has answered."""
    told = report(tmp_path)
    told.note(PROBE, OTHER)
    (row,) = (each for each in told.text().splitlines() if "arrive" in each)
    assert row.endswith("| a \\| b c | **otherwise** | `local/payload.py` |")
    assert "\n" not in line(PROBE, OTHER)


def test_what_is_left_is_named(tmp_path: Path) -> None:
    """Whoever reads the report knows what still costs money."""
    told = report(tmp_path)
    told.end("it failed: no rights")
    told.taken_away(["the bucket x: AccessDenied", "the stack y: z"])
    text = told.path.read_text()
    assert "state: it failed: no rights" in text
    assert "left in the account: the bucket x: AccessDenied; the stack y: z" in text
    told.taken_away([])
    assert "left in the account: nothing" in told.path.read_text()
