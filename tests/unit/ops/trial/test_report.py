"""The report of a trial is complete after each answer."""

from __future__ import annotations

from pathlib import Path

from ops.trial.probe import Measured, Probe
from ops.trial.report import Report, line

OTHER = Measured("a | b\nc", as_assumed=False)
PROBE = Probe("paths", "How does a path arrive?", "as sent", "local/payload.py", lambda _: OTHER)


def report(folder: Path) -> Report:
    return Report(folder / ".trial" / "voice-trial.md", "The trial x", {"Region": "eu-central-1"})


def test_the_report_is_complete_after_each_answer(tmp_path: Path) -> None:
    """A crash loses no answer, and an unfinished report says so."""
    told = report(tmp_path)
    told.note(PROBE, OTHER)
    text = told.path.read_text()
    assert "state: running, or crashed" in text
    assert "left in the account: not yet deleted" in text
    assert "0 as assumed, 1 otherwise, 0 cannot tell" in text
    assert [path.name for path in told.path.parent.iterdir()] == ["voice-trial.md"]


def test_a_differing_answer_is_marked_in_an_intact_table(tmp_path: Path) -> None:
    """A differing answer is marked, and a row always has five cells."""
    told = report(tmp_path)
    told.note(PROBE, OTHER)
    (row,) = (each for each in told.text().splitlines() if "arrive" in each)
    assert row.endswith("| a \\| b c | **otherwise** | `local/payload.py` |")
    assert "\n" not in line(PROBE, OTHER)


def test_resources_that_are_left_are_named(tmp_path: Path) -> None:
    """The report names resources that are left and cost money."""
    told = report(tmp_path)
    told.end("it failed: no rights")
    told.note_left(["the bucket x: AccessDenied", "the stack y: z"])
    text = told.path.read_text()
    assert "state: it failed: no rights" in text
    assert "left in the account: the bucket x: AccessDenied; the stack y: z" in text
    told.note_left([])
    assert "left in the account: nothing" in told.path.read_text()
