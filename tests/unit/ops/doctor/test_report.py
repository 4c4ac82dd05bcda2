"""What is shown of a visit can be read, and says whether the URL is usable."""

from __future__ import annotations

from ops.doctor import report
from ops.doctor.checks import Finding
from ops.doctor.dialects import Trouble


def test_nothing_that_came_can_move_the_cursor() -> None:
    """Control characters of an answer are not printed, and long ones are cut."""
    row = report.row(Finding("x", "\x1b[2J\r\n" + "a" * 500))
    assert row.isprintable()
    assert len(row) < 160
    shown = report.causes([Finding("x", "", (Trouble("bug", "\x1b[2J"),))])
    assert all(line.isprintable() for line in shown.splitlines())


def test_a_visit_that_was_not_finished_is_no_yes() -> None:
    """A row that was left out counts against the URL, a warning does not."""
    good, skipped = Finding("a", ""), Finding("b", "", skipped=True)
    warned = Finding("c", "", (Trouble("slow_words"),))
    assert report.usable([good, warned])
    assert not report.usable([good, skipped])
    assert not report.usable([])


def test_the_failures_come_first() -> None:
    """Among the causes, what keeps an agent from the URL stands before what it can live with."""
    troubles = (Trouble("slow_words"), Trouble("bug", "x"))
    shown = report.causes([Finding("a", "", troubles)])
    assert shown.index("FAILED") < shown.index("warning")
