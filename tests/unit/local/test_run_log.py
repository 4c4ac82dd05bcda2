"""The log of one run, kept in a file and passed on line by line."""

import subprocess
import sys
from pathlib import Path

from local.run_log import KEPT, RunLog


def test_lines_of_processes_are_kept_and_passed_on(tmp_path: Path) -> None:
    """Each process's lines arrive whole, the last one at the end of its output."""
    told: list[str] = []
    with RunLog(tmp_path / "runs", told.append) as log:
        print("ours", file=log.stream)
        subprocess.run(
            [sys.executable, "-c", "print('theirs'); print(); raise LookupError('why')"],
            stdout=log.stream,
            stderr=log.stream,
            check=False,
        )
    assert told[0] == "ours"
    assert {"theirs", "LookupError: why"} <= {*told}
    assert [line for line in log.path.read_text().splitlines() if line] == told
    assert log.last_line == told[-1]


def test_old_logs_are_deleted(tmp_path: Path) -> None:
    """Only the newest logs are kept."""
    for number in range(KEPT + 5):
        (tmp_path / f"log-20260101-0000{number:02}-1.jsonl").touch()
    with RunLog(tmp_path, lambda _: None):
        pass
    left = sorted(path.name for path in tmp_path.glob("log-*"))
    assert len(left) == KEPT
    assert left[0] == "log-20260101-000006-1.jsonl"
