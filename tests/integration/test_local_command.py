"""`python -m local` as a user runs it: what it prints, and what it leaves behind."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRAMES = [
    {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
    for word in ("Hello", " there.")
]


class Upstream(BaseHTTPRequestHandler):
    """A model that answers two words and records the key that it was sent."""

    keys: list[str] = []  # noqa: RUF012 - shared on purpose

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.keys.append(self.headers["authorization"])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for frame in FRAMES:
            self.wfile.write(f"data: {json.dumps(frame)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[str]:
    """The base URL of a model."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def environment(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **variables}


def local(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", *arguments],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _one_line(errors: str) -> str:
    """Return the one line that says what is wrong, after the progress lines."""
    *doing, line = errors.strip().splitlines()
    assert not any(each.startswith("error") for each in doing)
    return line


@contextlib.contextmanager
def started(**variables: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Start `python -m local`; yield it with the two lines that it prints when ready."""
    # Under nohup it would inherit that a closed terminal is ignored.
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "local"],
            cwd=ROOT,
            env=environment(PORT="0", **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGHUP, inherited)
    assert process.stdout
    assert process.stderr
    try:
        yield process, process.stdout.readline(), process.stdout.readline()
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
        process.stderr.close()


def descendants(pid: int) -> list[int]:
    """Return the processes below one, at any depth."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid:
                    found += [int(entry.name), *descendants(int(entry.name))]
    return found


@pytest.mark.parametrize("transport", ["lambda", "uvicorn"])
def test_the_printed_command_streams_an_answer(upstream: str, transport: str) -> None:
    """The first line has URL and key, and the second is a command that streams when pasted."""
    with started(
        UPSTREAM=upstream, UPSTREAM_KEY="sk-up", CALLER_KEY="mine", TRANSPORT=transport
    ) as (_, ready, command):
        assert re.fullmatch(r"ready http://127\.0\.0\.1:\d+/v1 key=mine\n", ready)
        assert command.startswith("curl -N ")
        shown = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True
        )
    assert "Hello" in shown.stdout
    assert shown.stdout.rstrip().endswith("data: [DONE]")
    assert Upstream.keys[-1] == "Bearer sk-up"


def test_the_fallback_has_its_own_key(upstream: str) -> None:
    """The fallback model gets FALLBACK_KEY."""
    shown = local(
        *("invoke", "events/url-chat-stream.json"),
        UPSTREAM="http://127.0.0.1:9/v1",
        UPSTREAM_KEY="sk-up",
        PARAMETERS=f"FallbackBaseUrl={upstream}",
        FALLBACK_KEY="sk-fall",
    )
    assert "Hello" in shown.stdout
    assert Upstream.keys[-1] == "Bearer sk-fall"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_quietly(upstream: str, number: int) -> None:
    """Ctrl-C, SIGTERM or a closed terminal ends all, with status 0 and no traceback."""
    with started(UPSTREAM=upstream) as (process, ready, _):
        assert ready.startswith("ready ")
        children = descendants(process.pid)
        assert len(children) >= 2, "Secrets Manager and a function process"
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Traceback" not in errors
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_even_a_killed_deployment_leaves_no_process(upstream: str) -> None:
    """After SIGKILL the child processes notice and end."""
    with started(UPSTREAM=upstream) as (process, ready, _):
        assert ready.startswith("ready ")
        children = descendants(process.pid)
        assert len(children) >= 2, "Secrets Manager and a function process"
        process.kill()
        process.wait(30)
    for _ in range(600):
        left = [pid for pid in children if Path(f"/proc/{pid}").exists()]
        if not left:
            break
        threading.Event().wait(0.05)
    assert left == []


def test_invoke_prints_status_headers_and_body(upstream: str) -> None:
    """One event's answer goes to stdout, progress and logs to stderr."""
    shown = local("invoke", "events/url-chat-stream.json", UPSTREAM=upstream)
    head, _, body = shown.stdout.partition("\n\n")
    assert shown.returncode == 0, shown.stderr
    assert head.splitlines()[0] == "200 OK"
    assert "content-type: text/event-stream" in head
    assert body.rstrip().endswith("data: [DONE]")


def test_invoke_succeeds_whenever_the_function_answers(upstream: str) -> None:
    """A 401 is printed, and the exit status is 0."""
    shown = local("invoke", EVENT="events/url-chat-no-key.json", UPSTREAM=upstream)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("401 Unauthorized\n")


def test_variables_of_the_user_reach_the_function() -> None:
    """A COMPLETIONS_ variable wins over the template and over UPSTREAM."""
    shown = local(
        *("invoke", "events/url-chat.json"),
        UPSTREAM="http://127.0.0.1:9/v1",
        COMPLETIONS_UPSTREAM_BASE_URL="not a url",
    )
    assert "COMPLETIONS_UPSTREAM_BASE_URL" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (
            (),
            {"UPSTREAM": "openai"},
            "UPSTREAM=openai needs the key in the variable OPENAI_API_KEY",
        ),
        ((), {"CODE": "other"}, "choose from 'source', 'built'"),
        ((), {"PORT": "99999"}, "PORT: 99999 is not a port"),
        ((), {"UPSTREAM": "foo"}, "UPSTREAM=foo is neither model, openai nor a base URL"),
        (
            (),
            {"UPSTREAM": "http://127.0.0.1:9/v1", "PARAMETERS": "TurnLimitMs=soon"},
            "Parameters.TurnLimitMs is 'soon', not a number from",
        ),
        ((), {"TRANSPORT": "uvicorn", "CODE": "built"}, "TRANSPORT=uvicorn serves the source tree"),
        ((), {"PARAMETERS": "Nothing=1"}, "template.yaml has no parameter Nothing"),
        (("invoke",), {}, "no event file: make invoke EVENT="),
        (("invoke", "events/absent.json"), {}, "events/absent.json"),
        (("invoke", "Makefile"), {}, "Makefile is not JSON"),
    ],
)
def test_a_wrong_option_ends_at_once(
    arguments: tuple[str, ...], variables: dict[str, str], message: str
) -> None:
    """A wrong option ends with one clear line, no traceback, and a non-zero status."""
    shown = local(*arguments, **variables)
    assert shown.returncode not in (0, 130)
    assert message in _one_line(shown.stderr)


@pytest.mark.parametrize("transport", ["lambda", "uvicorn"])
def test_a_failed_start_is_one_line(transport: str) -> None:
    """The reason is one line on the terminal, and the trace is in the log file."""
    shown = local(
        TRANSPORT=transport,
        PORT="0",
        UPSTREAM="http://127.0.0.1:9/v1",
        COMPLETIONS_TURN_BUDGET_MS="soon",
    )
    assert shown.returncode == 1
    assert "COMPLETIONS_TURN_BUDGET_MS must be a whole number" in _one_line(shown.stderr)


def test_a_turn_is_a_line_and_the_log_a_file(upstream: str) -> None:
    """The line says what was said and heard and when, and the named file has the JSON."""
    with started(UPSTREAM=upstream) as (process, ready, command):
        assert process.stderr
        log = _line_with(process, "the log is ").removeprefix("the log is ").strip()
        subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=True)
        line = _line_with(process, " said ")
    assert ready.startswith("ready ")
    assert 'said "Tell me one thing about the sea." | heard "Hello there." | first word at ' in line
    assert "{" not in line
    events = [json.loads(each) for each in (ROOT / log).read_text().splitlines() if each[:1] == "{"]
    assert "turn.finished" in [event.get("message") for event in events]


def test_programs_get_the_log_as_it_is(upstream: str) -> None:
    """A program that reads the output gets the log's JSON."""
    with started(UPSTREAM=upstream, LOG_LINES="json") as (process, _, command):
        subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=True)
        event = json.loads(_line_with(process, '"turn.finished"'))
    assert event["candidates"][0]["why"] in ("answered", "upstream_unavailable")


@pytest.mark.parametrize(
    ("upstream_url", "told"),
    [
        (None, "the model answers"),
        ("http://127.0.0.1:9/v1", "UPSTREAM=http://127.0.0.1:9/v1 cannot be reached"),
    ],
    ids=["there", "dead"],
)
def test_the_model_is_tried_before_ready(
    upstream: str, upstream_url: str | None, told: str
) -> None:
    """A failing model is reported in the command line's words before the deployment is ready."""
    before = len(Upstream.keys)
    with started(UPSTREAM=upstream_url or upstream, REAL_TURN="1") as (process, ready, _):
        assert ready.startswith("ready ")
        assert told in _line_with(process, told)
    assert len(Upstream.keys) == before + (upstream_url is None)


def test_the_model_is_not_tried_without_a_terminal(upstream: str) -> None:
    """Without a terminal no trial turn is sent to the model."""
    before = len(Upstream.keys)
    with started(UPSTREAM=upstream) as (_, ready, _):
        assert ready.startswith("ready ")
    assert len(Upstream.keys) == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("module", "name"), [("local.uvicorn_server", "uvicorn"), ("local.secrets", "Secrets Manager")]
)
def test_a_child_that_dies_is_noticed(upstream: str, module: str, name: str) -> None:
    """The rest is stopped, and a line names the dead process."""
    with started(UPSTREAM=upstream, TRANSPORT="uvicorn") as (process, ready, _):
        assert ready.startswith("ready ")
        children = descendants(process.pid)
        (child,) = [pid for pid in children if module in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(child, signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert _one_line(errors) == f"error: {name} has ended, exit status -9, so everything is stopped"
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def _line_with(process: subprocess.Popen[str], text: str) -> str:
    """Return the first line on stderr with the text."""
    assert process.stderr
    return next(line for line in process.stderr if text in line)


@pytest.mark.parametrize("transport", ["lambda", "uvicorn"])
def test_a_port_that_is_taken_is_reported(transport: str) -> None:
    """A second deployment on one port says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        shown = local(UPSTREAM="http://127.0.0.1:9/v1", PORT=port, TRANSPORT=transport)
    assert shown.returncode == 1
    told = f"port {port} is taken: choose another one with PORT"
    assert told in _one_line(shown.stderr)
