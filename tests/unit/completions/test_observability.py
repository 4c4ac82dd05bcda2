"""Logs and metrics: one event a turn, with nothing of one turn in another's lines."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from completions.observability import (
    TEXT_LIMIT_CHARS,
    adopt,
    allow_content,
    bind,
    bound_fields,
    count,
    identifier,
    log,
    loggable_content,
    place,
    printable,
    redacted_path,
    turn_finished,
    unbind,
)
from tests.support.logs import Logged

FUNCTIONS = Path(__file__).parents[3] / "functions"


def test_an_event_is_a_line_of_json(logs: Logged) -> None:
    """Its message is the event's name, facts are fields, and text of any script stays readable."""
    log.info("something.happened", count=5, reason="Grüße\nund mehr")
    (line,) = logs.text.splitlines()
    event = json.loads(line)
    assert (event["message"], event["count"]) == ("something.happened", 5)
    assert event["reason"] == "Grüße\nund mehr"
    assert (event["level"], event["service"]) == ("INFO", "completions")


async def test_concurrent_tasks_do_not_mix(logs: Logged) -> None:
    """A task's bound fields are in its own lines and those of the tasks it starts, only there."""
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
    """A turn writes one event and one EMF set: `…Ms` in milliseconds, the rest as counts."""
    turn_finished({"outcome": "ok"}, {"TurnMs": 12.5, "Retries": 2}, "ok")
    assert logs.event("turn.finished")["outcome"] == "ok"
    (line,) = capsys.readouterr().out.splitlines()
    emf = json.loads(line)
    directive, _ = emf["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Voice"
    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == {
        "TurnMs": "Milliseconds",
        "Retries": "Count",
    }
    assert (emf["TurnMs"], emf["Retries"]) == ([12.5], [2])


def test_without_a_namespace_there_are_no_metrics() -> None:
    """Turns still end normally."""
    program = (
        "from completions.observability import turn_finished\n"
        "turn_finished({'outcome': 'ok'}, {'TurnMs': 1.0}, 'ok')"
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


def test_an_event_outside_a_turn_is_counted_alone(capsys: Any) -> None:
    """It is one metric in a line of its own, without an outcome."""
    count("AuthFailures")
    emf = json.loads(capsys.readouterr().out)
    (directive,) = emf["_aws"]["CloudWatchMetrics"]
    assert directive["Metrics"] == [{"Name": "AuthFailures", "Unit": "Count"}]
    assert directive["Dimensions"] == [["service"]]
    assert emf["AuthFailures"] == [1]
    assert "outcome" not in emf


def _fail(text: str) -> None:
    try:
        try:
            dict[str, str]()[text]
        except KeyError as error:
            failure = ValueError(f"cannot take {text}")
            failure.add_note(f"while reading {text}")
            raise failure from error
    except ValueError:
        log.exception("something.crashed")


def test_a_trace_shows_places_and_no_messages(logs: Logged) -> None:
    """It has classes, files, lines and causes; a message may contain what somebody said."""
    _fail("a secret of the heart")
    event = logs.event("something.crashed")
    assert "heart" not in logs.text
    assert event["exception_name"] == "ValueError"
    assert event["exception"].index("builtins.KeyError") < event["exception"].index("ValueError")
    assert "test_observability.py" in event["exception"]


def _raised(path: str) -> Exception:
    """Return the exception that the last line of a file raises."""
    try:
        exec(compile("import json\n\njson.loads('{')", path, "exec"), {})
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/var/task/completions/agents/shop.py", r"agents/shop\.py:3"),
        ("/elsewhere/shop.py", r"json/decoder\.py:\d+"),
        ("<string>", r"json/decoder\.py:\d+"),
    ],
)
def test_an_agents_failure_is_placed_in_its_own_file(path: str, where: str) -> None:
    """The line is not one of a library that it called; elsewhere it is the innermost one."""
    assert re.fullmatch(where, place(_raised(path)))


def test_another_logger_may_write_into_the_log(logs: Logged) -> None:
    """Its lines have the bound fields and the logger's name."""
    logger = logging.getLogger("somebodys.agent")
    logger.info("Not yet.")
    adopt("somebodys")
    bind(path="/v1")
    logger.info("Found %d", 3, extra={"shelf": "b"})
    unbind()
    event = logs.event("Found 3")
    assert (event["logger"], event["path"], event["shelf"]) == ("somebodys.agent", "/v1", "b")
    assert logs.events("Not yet.") == []
    logging.getLogger("somebodys").addHandler(logging.NullHandler())
    assert not any(isinstance(handler, logging.NullHandler) for handler in log.handlers)
    log.info("ours")
    assert "logger" not in logs.event("ours")


async def test_a_trace_has_messages_where_text_is_allowed(logs: Logged) -> None:
    """This applies to the task that may log text, and to no other."""

    async def allowed() -> None:
        allow_content(allowed=True)
        _fail("a secret of the heart")

    await asyncio.create_task(allowed())
    (event,) = logs.events("something.crashed")
    assert "cannot take a secret of the heart" in event["exception"]
    assert event["exception_notes"] == ["while reading a secret of the heart"]
    assert loggable_content("a secret of the heart") is None


async def test_text_is_bounded(logs: Logged) -> None:
    """A line has a length that CloudWatch accepts, and every character can be encoded."""

    async def allowed() -> None:
        allow_content(allowed=True)
        log.info(
            "something.said",
            text=loggable_content("ä" * 10_000),
            half=loggable_content("\ud800 and \x00"),
        )

    await asyncio.create_task(allowed())
    event = logs.event("something.said")
    assert event["text"] == "ä" * TEXT_LIMIT_CHARS + "…"
    assert event["half"] == "\ufffd and \ufffd"


def test_a_lone_surrogate_costs_no_line(logs: Logged) -> None:
    """UTF-8 cannot encode it, so it is written as a JSON escape."""
    log.warning("something.odd", text="\ud800")
    assert json.loads(logs.text)["text"] == "\ud800"


def test_names_from_outside_are_restricted() -> None:
    """An identifier is kept, a sentence is not; a path keeps all but what may be a key."""
    assert identifier("messages[3].content") == "messages[3].content"
    assert [identifier(value) for value in (None, "", 429, "two words", "x" * 65)] == [
        None,
        None,
        "429",
        "other",
        "other",
    ]
    assert printable("gpt-4o/ünïcode 東京") == "gpt-4o/ünïcode 東京"
    assert redacted_path("/v1/sk-abcdefghijklmnopqrstuvwxyz/chat/completions") == (
        "/v1/…/chat/completions"
    )
    assert redacted_path("/v1/chat/completions") == "/v1/chat/completions"
    for before in range(150, 220):
        assert "key" not in redacted_path("/" * before + "key" * 8)


def test_an_events_own_fields_win(logs: Logged) -> None:
    """A bound field of the same name does not replace what the event says."""
    bind(path="/v1/chat/completions")
    log.info("shop.asked", path="/orders/7")
    unbind()
    assert logs.event("shop.asked")["path"] == "/orders/7"


async def test_bound_fields_do_not_pile_up(logs: Logged) -> None:
    """A thousand turns leave nothing behind: their fields go with their tasks."""
    before = dict(bound_fields())

    async def turn(number: int) -> None:
        bind(**{f"key_{number}": "value"}, path=str(number))

    for number in range(1000):
        await asyncio.create_task(turn(number))
    assert bound_fields() == before
