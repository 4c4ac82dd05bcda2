"""The report of a run is readable and says whether the URL is usable."""

from __future__ import annotations

from ops.doctor import report
from ops.doctor.checks import Finding
from ops.doctor.strict_reader import Trouble


def test_control_characters_are_not_printed() -> None:
    """Control characters of an answer are not printed, and long ones are cut."""
    row = report.row(Finding("x", "\x1b[2J\r\n" + "a" * 500))
    assert row.isprintable()
    assert len(row) < 160
    shown = report.causes([Finding("x", "", (Trouble("bug", "\x1b[2J"),))])
    assert all(line.isprintable() for line in shown.splitlines())


def test_an_unfinished_run_is_not_usable() -> None:
    """A skipped row makes the URL unusable, a warning does not."""
    good, skipped = Finding("a", ""), Finding("b", "", skipped=True)
    warned = Finding("c", "", (Trouble("slow_words"),))
    assert report.usable([good, warned])
    assert not report.usable([good, skipped])
    assert not report.usable([])


def test_the_failures_come_first() -> None:
    """Causes that make the URL unusable come before warnings."""
    troubles = (Trouble("slow_words"), Trouble("bug", "x"))
    shown = report.causes([Finding("a", "", troubles)])
    assert shown.index("FAILED") < shown.index("warning")
