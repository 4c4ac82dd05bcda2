"""What the root logger writes, read back as Lambda would read it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from typing import Any

import pytest
from awslambdaric.lambda_runtime_log_utils import _JSON_FRAME_TYPES, _TEXT_FRAME_TYPES

from lambda_streaming import logs
from lambda_streaming.context import LambdaContext, current
from tests.unit.streaming.test_context import INVOCATION


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TextIOWrapper]]:
    """Install the layer's logging with this environment; return the stand-in for stdout."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level

    def install(**env: str) -> TextIOWrapper:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        stdout = TextIOWrapper(BytesIO(), encoding="utf-8")
        monkeypatch.setattr(sys, "stdout", stdout)
        logs.install()
        return stdout

    yield install
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        stream = getattr(handler, "_stream", None)
        if stream:
            stream.close()
    root.setLevel(level)


def written(stdout: TextIOWrapper) -> str:
    assert isinstance(stdout.buffer, BytesIO)
    return stdout.buffer.getvalue().decode()


def test_text_lines_carry_the_request(installed: Callable[..., TextIOWrapper]) -> None:
    """A line has level, UTC time, request id and message, with tabs, as in the ordinary runtime."""
    stdout = installed()
    current.set(LambdaContext(INVOCATION))
    logging.getLogger("any").warning("hello %s", "you")
    level, time, request_id, message = written(stdout).rstrip("\n").split("\t")
    assert (level, request_id, message) == ("[WARNING]", "r-1", "hello you")
    assert time.endswith("Z")
    current.set(None)


def test_outside_of_an_invocation_there_is_no_request(
    installed: Callable[..., TextIOWrapper],
) -> None:
    """Lines of the init phase have an empty field for it, and no key in JSON."""
    stdout = installed()
    logging.getLogger().warning("early")
    assert written(stdout).endswith("Z\t\tearly\n")


def test_json_lines_carry_request_trace_and_tenant(
    installed: Callable[..., TextIOWrapper],
) -> None:
    """Each record is an object with AWS's keys, the trace, and the fields of `extra`."""
    stdout = installed(AWS_LAMBDA_LOG_FORMAT="JSON")
    current.set(LambdaContext(INVOCATION))
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("any").exception("bad", extra={"turn": 7, "odd": {1}})
    current.set(None)
    logging.getLogger("any").warning({"event": "turn.finished"})
    first, second = map(json.loads, written(stdout).splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert "1 / 0" in first.pop("stackTrace")[0]
    assert "test_logs.py" in first.pop("location")
    assert first == {
        "level": "ERROR",
        "message": "bad",
        "logger": "any",
        "requestId": "r-1",
        "traceId": "Root=1",
        "tenantId": "tenant",
        "errorType": "ZeroDivisionError",
        "errorMessage": "division by zero",
        "turn": 7,
        "odd": "{1}",
    }
    assert second["message"] == {"event": "turn.finished"}
    assert not {"requestId", "traceId", "tenantId", "taskName"} & second.keys()


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("", logging.WARNING),
        ("debug", logging.DEBUG),
        ("TRACE", logging.DEBUG),
        ("INFO", logging.INFO),
        ("FATAL", logging.CRITICAL),
        ("nonsense", logging.WARNING),
    ],
)
def test_the_level_is_lambdas(
    installed: Callable[..., TextIOWrapper], level: str, expected: int
) -> None:
    """AWS_LAMBDA_LOG_LEVEL sets the root logger's level, which is otherwise Python's default."""
    logging.getLogger().setLevel(logging.WARNING)
    installed(AWS_LAMBDA_LOG_LEVEL=level)
    assert logging.getLogger().level == expected


def test_print_shows_up_line_by_line(installed: Callable[..., TextIOWrapper]) -> None:
    """A printed line is written at its end, although standard output is a pipe."""
    stdout = installed()
    print("hello")
    assert written(stdout) == "hello\n"


async def test_concurrent_requests_keep_their_lines_apart(
    installed: Callable[..., TextIOWrapper],
) -> None:
    """Two invocations in one process keep their own ids, in tasks and in threads."""
    stdout = installed()
    barrier = asyncio.Barrier(2)

    async def invocation(request_id: str) -> None:
        current.set(LambdaContext(INVOCATION._replace(request_id=request_id)))
        await barrier.wait()
        logging.getLogger().warning("task of %s", request_id)
        await asyncio.to_thread(logging.getLogger().warning, "thread of %s", request_id)

    await asyncio.gather(invocation("r-1"), invocation("r-2"))
    lines = written(stdout).splitlines()
    assert len(lines) == 4
    for line in lines:
        assert line.split("\t")[2] == line[-3:]


@pytest.mark.parametrize(
    ("env", "types"),
    [({}, _TEXT_FRAME_TYPES), ({"AWS_LAMBDA_LOG_FORMAT": "JSON"}, _JSON_FRAME_TYPES)],
)
def test_framed_logs_are_one_event_each(
    installed: Callable[..., TextIOWrapper], env: dict[str, str], types: dict[int, bytes]
) -> None:
    """Over Lambda's descriptor a record of many lines is one frame, whose type has the level."""
    read_end, write_end = os.pipe()
    stdout = installed(_LAMBDA_TELEMETRY_LOG_FD=str(write_end), AWS_LAMBDA_LOG_LEVEL="DEBUG", **env)
    assert "_LAMBDA_TELEMETRY_LOG_FD" not in os.environ
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
    for level in levels:
        logging.getLogger("any").log(level, "two\nlines ü")
    frames = os.read(read_end, 65536)
    os.close(read_end)
    for level in levels:
        length = int.from_bytes(frames[4:8], "big")
        assert frames[:4] == types[level]
        assert int.from_bytes(frames[8:16], "big") > 1_700_000_000_000_000
        text = frames[16 : 16 + length].decode()
        message: Any = json.loads(text)["message"] if env else text.split("\t")[3]
        assert message == "two\nlines ü"
        frames = frames[16 + length :]
    assert frames == b""
    assert written(stdout) == ""


def test_a_log_that_cannot_be_written_is_ignored(
    installed: Callable[..., TextIOWrapper], capsys: pytest.CaptureFixture[str]
) -> None:
    """A closed descriptor costs the record, not the request."""
    read_end, write_end = os.pipe()
    installed(_LAMBDA_TELEMETRY_LOG_FD=str(write_end))
    os.close(read_end)
    logging.getLogger().warning("lost")
    assert "BrokenPipeError" in capsys.readouterr().err
