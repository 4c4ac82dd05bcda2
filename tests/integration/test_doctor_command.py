"""The doctor as a command: `make doctor` and `python3 -m ops.doctor`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.doctor.causes import CAUSES
from ops.doctor.turns import SHAPES
from tests.support.patients import (
    BROKEN,
    KEY,
    PRELUDE,
    Answer,
    Request,
    healthy,
    serve,
)

ROOT = Path(__file__).resolve().parents[2]


def environment(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHON": sys.executable, **variables}


def test_make_doctor_prints_table_and_verdict() -> None:
    """`make doctor URL=… KEY=…` needs nothing but a Python."""
    with serve(healthy) as url:
        done = subprocess.run(
            ["make", "--no-print-directory", "doctor", f"URL={url}", f"KEY={KEY}"],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{url}/v1"
    assert lines[-1] == f"A voice agent can use {url}/v1"
    assert sum(line.startswith("ok ") for line in lines) == 19 + len(SHAPES)
    assert KEY not in done.stdout + done.stderr


def test_make_doctor_fails_with_cause_and_remedy() -> None:
    """An unusable server fails make, and the table ends with the remedy."""
    with serve(BROKEN["prelude as text"][0]) as url:
        done = subprocess.run(
            ["make", "--no-print-directory", "doctor", f"URL={url}"],
            cwd=ROOT,
            env=environment(DOCTOR_KEY=KEY),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    assert PRELUDE[:20].decode() in done.stdout
    assert CAUSES["prelude_as_text"].remedy in done.stdout
    assert f"A voice agent cannot use {url}/v1" in done.stdout


def test_a_key_in_the_environment_is_not_sent() -> None:
    """KEY counts only on make's command line, so another program's key is not sent."""
    seen: list[str] = []

    def server(request: Request) -> Answer:
        seen.append(request.headers.get("authorization", ""))
        return healthy(request)

    with serve(server) as url:
        done = subprocess.run(
            ["make", "--no-print-directory", "doctor", f"URL={url}"],
            cwd=ROOT,
            env=environment(KEY="somebody-elses"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    assert "no caller key" in done.stderr
    assert seen == []


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["ftp://host"], KEY),
        (["http://host", "--timeout-s", "0"], KEY),
        ([], KEY),
        (["http://user:pass@host"], KEY),
        (["http://host"], "a\nb"),
        (["http://host"], "clé"),
    ],
)
def test_a_usage_error_is_status_2(arguments: list[str], key: str) -> None:
    """A bad URL, option or key ends with the exit status 2, before anything is sent."""
    done = subprocess.run(
        [sys.executable, "-m", "ops.doctor", *arguments],
        cwd=ROOT,
        env=environment(DOCTOR_KEY=key, PYTHONUTF8="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error" in done.stderr


def test_without_a_url_make_says_how_to_give_one() -> None:
    """`make doctor` alone prints how to give a URL."""
    done = subprocess.run(
        ["make", "--no-print-directory", "doctor"],
        cwd=ROOT,
        env=environment(DOCTOR_KEY=KEY),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "make doctor URL=" in done.stderr


def test_ctrl_c_prints_what_there_is() -> None:
    """After Ctrl-C the command prints the rows so far without a verdict, and exits with 130."""
    with serve(lambda request: Answer(0) if request.long else healthy(request)) as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.doctor", url],
            cwd=ROOT,
            env=environment(DOCTOR_KEY=KEY),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        shown = ""
        while "a turn" not in shown:
            shown += process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    assert process.returncode == 130
    assert f"Stopped. This much was seen of {url}/v1." in rest
    assert errors == ""
