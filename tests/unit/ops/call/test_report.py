"""The table, the transcript, JUnit and the page of calls that were played."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from ops.call import html_report, report
from ops.call.agent import AgentServer
from ops.call.call_file import load
from ops.call.play import Played, play
from ops.pasted_url import Address
from tests.support.patients import KEY, Answer, serve, speech

TEXT = """
call: Hours & <more>
turns:
  - caller: Are you open?
    expect: {says: until five}
"""


def _played(folder: Path) -> Played:
    file = folder / "hours.yaml"
    file.write_text(TEXT, "utf-8")
    answer = Answer(pieces=speech(["One moment... ", "Yes, <until> six.\x1b"]))
    with serve(lambda _: answer) as url:
        return play(load(file), AgentServer(Address.parse(url), KEY), speed=50)


def test_a_row_and_a_transcript_say_what_was_wrong(tmp_path: Path) -> None:
    """The row names the failure; the transcript has words, times and what happened."""
    played = _played(tmp_path)
    assert report.row(played).split()[:2] == ["hours", "failed"]
    assert report.row(played).endswith("  says")
    lines = list(report.transcript(played))
    assert lines[1].strip() == "caller Are you open?"
    assert lines[2].endswith("s One moment...   (buffer words)")
    assert lines[-1].strip().startswith("WRONG says: 'until five' is not in")
    assert "\x1b" not in "".join(lines)


def test_the_summary_has_a_pass_rate_and_percentiles(tmp_path: Path) -> None:
    """Calls that were played more than once have a pass rate."""
    played = _played(tmp_path)
    good = Played(played.file)
    lines = list(report.summary([good, played, good, good]))
    assert lines[0] == "3 ok, 1 failed"
    assert lines[1].split(None, 1) == ["hours", "passed 3 of 4 times (75%)"]
    assert lines[2].startswith("first sound: p50 ")


def test_a_run_that_skipped_all_says_so(tmp_path: Path) -> None:
    """A run that skipped all calls does not look like a success."""
    skipped = Played(_played(tmp_path).file, skipped="its model is scripted")
    assert list(report.summary([skipped]))[1].startswith("nothing was played")


def test_percentiles_are_values_that_were_seen() -> None:
    """A percentile is the smallest value that so many percent do not exceed."""
    assert report.percentile([3, 1, 2, 4], 50) == 2
    assert report.percentile(list(range(1, 101)), 95) == 95
    assert report.percentile([7], 95) == 7


def test_junit_can_be_read_by_machines(tmp_path: Path) -> None:
    """Failures, errors and skipped calls are counted, and any text is escaped."""
    played = _played(tmp_path)
    others = [Played(played.file, unplayable="refused: no"), Played(played.file, skipped="no URL")]
    suite = ET.fromstring(report.junit([played, *others]))[0]
    counted = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counted == ["3", "1", "1", "1"]
    assert [case[0].tag for case in suite] == ["failure", "error", "skipped"]
    assert suite[0][0].get("type") == "says"


def test_the_page_shows_words_and_needs_nothing_else(tmp_path: Path) -> None:
    """Text is escaped, buffer words have their colour, and nothing is loaded."""
    html = html_report.page([_played(tmp_path)])
    assert "Hours &amp; &lt;more&gt;" in html
    assert '<span class="ours">One moment... </span>Yes, &lt;until&gt; six.' in html
    assert "says: &#x27;until five&#x27;" in html
    assert "<svg" in html
    assert "http" not in html.replace("http-equiv", "")
    assert "<script" not in html
