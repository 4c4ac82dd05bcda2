"""Runs of the doctor in this process, and their findings."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from local.scripted.script import Script, answer, calls
from local.scripted.script_player import RecordedRequest
from ops.doctor import __main__ as command
from ops.doctor.checks import CheckRun, Finding
from ops.pasted_url import Address
from tests.support.patients import (
    KEY,
    Server,
    serve,
)


def model(request: RecordedRequest) -> Script:
    """Answer as a good model would."""
    if b"story" in request.raw:
        # Slow enough not to look like a lump on a busy machine.
        return answer("word " * 40, pace_ms=25)
    items = request.json.get("messages") or request.json["input"]
    if request.json.get("tools") and items[-1]["role"] == "user":
        return calls("look_up_order", {"number": 42})
    return answer("Yes, hello.")


async def run_doctor(url: str, key: str) -> tuple[CheckRun, list[Finding]]:
    """Make a whole run, in a thread, since the doctor blocks."""
    run = CheckRun(Address.parse(url), key, "m")
    return run, await asyncio.to_thread(lambda: list(run.rows()))


def results(findings: Sequence[Finding]) -> dict[str, tuple[str, ...]]:
    """Return the causes of each row that is not good."""
    return {
        each.name: tuple(trouble.cause for trouble in each.troubles)
        for each in findings
        if each.result != "ok"
    }


def report_on(
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *options: str,
    key: str = KEY,
) -> tuple[int, dict[str, Any]]:
    """Return exit status and report of `python3 -m ops.doctor --json` on this server."""
    monkeypatch.setenv("DOCTOR_KEY", key)
    with serve(server) as url:
        monkeypatch.setattr(sys, "argv", ["doctor", url, "--json", *options])
        status = command.main()
    return status, json.loads(capsys.readouterr().out)


def causes(report: dict[str, Any]) -> list[str]:
    return [trouble["cause"] for check in report["checks"] for trouble in check["troubles"]]
