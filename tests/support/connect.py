"""Runs of `make connect` against the platform's API on loopback."""

import contextlib
import os
import pty
import subprocess
from typing import NamedTuple, Protocol

from tests.support.elevenlabs_api import API_KEY, PYTHON, ROOT, ElevenLabs

KEY = "caller-key-of-48-letters"
SERVER = "https://abc.lambda-url.eu-central-1.on.aws"


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Connect(Protocol):
    def __call__(self, **variables: str) -> Done: ...


def environment(api: ElevenLabs, **variables: str) -> dict[str, str]:
    ours = (
        "AGENT",
        "URL",
        "CALLER_KEY",
        "STACK",
        "REGION",
        "MODEL",
        "API_TYPE",
        "YES",
        "WARM",
        "ELEVENLABS_",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    given = {
        "ELEVENLABS_BASE_URL": api.url,
        "ELEVENLABS_API_KEY": API_KEY,
        "AGENT": "agent_front",
        "URL": SERVER,
        "CALLER_KEY": KEY,
        "MODEL": "gpt-4.1-mini",
        "YES": "1",
        "REAL_TURN": "0",
        "WARM": "0",
    }
    return kept | {name: value for name, value in (given | variables).items() if value}


def at_terminal(api: ElevenLabs, *answers: str, **variables: str) -> tuple[int, str]:
    """Run it at a terminal and answer each prompt; return the status and what was shown."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [PYTHON, "-u", "-m", "ops.connect"],
        cwd=ROOT,
        env=environment(api, YES="", **variables),
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    os.close(its)
    assert process.stdout
    shown, left = b"", list(answers)
    with process.stdout as output:
        while data := os.read(output.fileno(), 4096):
            shown += data
            # getpass drops what was typed before its prompt.
            if left and shown.endswith((b"): ", b"[y/N] ")):
                os.write(ours, left.pop(0).encode())
    status = process.wait()
    with contextlib.suppress(OSError):  # EIO: nothing was echoed
        shown += os.read(ours, 4096)
    os.close(ours)
    return status, shown.decode()
