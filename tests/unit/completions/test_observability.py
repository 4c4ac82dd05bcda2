"""Logs and metrics: one event a turn, nothing of one turn in another's lines."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from completions.observability import bind, log, turn_finished
from tests.support.logs import Logged

FUNCTIONS = Path(__file__).parents[3] / "functions"


def test_an_event_is_a_line_of_json(logs: Logged) -> None:
    """The message is the event's name, its facts are fields, text of any script stays readable."""
    log.info("something.happened", count=5, reason="Grüße\nund mehr")
    (line,) = logs.text.splitlines()
    event = json.loads(line)
    assert (event["message"], event["count"]) == ("something.happened", 5)
    assert event["reason"] == "Grüße\nund mehr"
    assert (event["level"], event["service"]) == ("INFO", "completions")


async def test_turns_at_the_same_time_do_not_mix(logs: Logged) -> None:
    """What one task binds is in its own lines and in those of the tasks it starts, only there."""
    bind(path="outside")

    async def helper() -> None:
        log.info("helped")

    async def turn(number: int) -> None:
        bind(function_request_id=str(number))
        await asyncio.sleep(0)
        log.info("worked", number=number)
        await asyncio.create_task(helper())

    await asyncio.gather(*(turn(number) for number in range(5)))
    log.info("outside")
    assert all(
        (event["function_request_id"], event["path"]) == (str(event["number"]), "outside")
        for event in logs.events("worked")
    )
    assert {event["function_request_id"] for event in logs.events("helped")} == set("01234")
    assert "function_request_id" not in logs.event("outside")


def test_metrics_have_units(capsys: Any, logs: Logged) -> None:
    """A turn writes one event and one EMF set: `…Ms` in milliseconds, the rest counted."""
    turn_finished({"outcome": "ok"}, {"TurnMs": 12.5, "UpstreamRequests": 2})
    assert logs.event("turn.finished")["outcome"] == "ok"
    (line,) = capsys.readouterr().out.splitlines()
    emf = json.loads(line)
    (directive,) = emf["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Voice"
    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == {
        "TurnMs": "Milliseconds",
        "UpstreamRequests": "Count",
    }
    assert (emf["TurnMs"], emf["UpstreamRequests"]) == ([12.5], [2])


def test_without_a_namespace_nothing_breaks() -> None:
    """A deployment that names no namespace has no metrics, and its turns end all the same."""
    program = (
        "from completions.observability import turn_finished\n"
        "turn_finished({'outcome': 'ok'}, {'TurnMs': 1.0})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"PYTHONPATH": str(FUNCTIONS)},
        check=True,
        capture_output=True,
        text=True,
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["message"] == "turn.finished"
