"""`make upstream-key` at a terminal, against moto: the key is stored and shown nowhere."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_asyncio

from local import secrets
from local.deployment import ROOT
from local.intrinsics import REGION
from local.layout import local_credentials
from local.template import Secret

# Stands in for the AWS CLI. moto has no CloudFormation here, so the secret's name is fixed.
AWS = """#!{python}
import os, sys
import boto3
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    print(arguments, file=log)
if "describe-stack-resource" in arguments:
    print({secret!r})
    sys.exit()
client = boto3.client("secretsmanager", endpoint_url={endpoint!r})
try:
    if "get-secret-value" in arguments:
        print(client.get_secret_value(SecretId={secret!r})["SecretString"])
    elif "put-secret-value" in arguments:
        source = arguments[arguments.index("--secret-string") + 1].removeprefix("file://")
        client.put_secret_value(SecretId={secret!r}, SecretString=open(source).read())
        print("version")
except client.exceptions.ClientError as error:
    sys.exit(str(error))
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAKE = ("make", "-C", str(ROOT), "--no-print-directory")
LIMIT_S = 60


class Terminal:
    """An operator at a terminal, who answers prompts and sees the screen."""

    def __init__(self, folder: Path, endpoint: str, secret: str) -> None:
        self._secret = secret
        self._client = boto3.client("secretsmanager", endpoint_url=endpoint, region_name=REGION)
        self.log = folder / "arguments"
        command = folder / "aws"
        command.write_text(
            AWS.format(python=sys.executable, log=str(self.log), endpoint=endpoint, secret=secret)
        )
        command.chmod(0o755)
        inherited = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL"}}
        path = f"{folder}:{os.environ['PATH']}"
        self.environ = {**inherited, **local_credentials(), "PATH": path}

    def types(self, *answers: str) -> tuple[int, str]:
        """Run the command; return its exit status and everything on the screen."""
        operator, terminal = pty.openpty()
        process = subprocess.Popen(
            [*MAKE, "upstream-key", f"PYTHON={sys.executable}"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=self.environ,
            start_new_session=True,
            # The controlling terminal, which sends Ctrl-C and which getpass opens.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one call
        )
        os.close(terminal)
        screen, left = "", list(answers)
        while True:
            if not select.select([operator], [], [], LIMIT_S)[0]:
                process.kill()
                process.wait()
                raise AssertionError(f"it waits: {screen}")
            try:
                shown = os.read(operator, 4096).decode()
            except OSError:  # The last process has closed the terminal.
                break
            screen += shown
            if screen.endswith("): ") and left:
                os.write(operator, left.pop(0).encode())
        os.close(operator)
        return process.wait(timeout=LIMIT_S), screen

    @property
    def stored(self) -> Any:
        """Return what the secret holds."""
        return json.loads(self._client.get_secret_value(SecretId=self._secret)["SecretString"])

    def store(self, value: str) -> None:
        """Store this as if by hand."""
        self._client.put_secret_value(SecretId=self._secret, SecretString=value)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint() -> AsyncIterator[str]:
    """Secrets Manager for all tests of this file."""
    service = await secrets.start(sys.stderr)
    yield service.address
    await service.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def terminal(tmp_path: Path, endpoint: str) -> Terminal:
    """A terminal for a deployed stack whose secret has no value yet."""
    name = f"upstream-{uuid.uuid4()}"
    await secrets.create(endpoint, [Secret("UpstreamKeySecret", name)], {})
    return Terminal(tmp_path, endpoint, name)


async def test_a_key_is_typed_unseen_and_stored(terminal: Terminal) -> None:
    """No part of a key is shown or passed as an argument, from the first key to a rotation."""
    status, screen = terminal.types("sk-typed-1\n", "\n")
    assert (status, terminal.stored) == (0, {"upstream": "sk-typed-1"})
    assert "Key of the model API (not shown; Return for none): " in screen
    status, again = terminal.types("  sk-typed-2 \n", "sk-other\n")
    assert (status, terminal.stored) == (0, {"upstream": "sk-typed-2", "fallback": "sk-other"})
    assert "Return keeps the one that is stored" in again
    assert "sk-" not in screen + again + terminal.log.read_text()


@pytest.mark.parametrize(
    "answers", [("\n", "\n"), ("sk-1 sk-2\n",), ("ключ\n",), ("\x03",), ("sk-1\n", "\x03")]
)
async def test_a_mistake_at_the_prompt_stores_nothing(
    terminal: Terminal, answers: tuple[str, ...]
) -> None:
    """An empty answer, two keys, another script or Ctrl-C leaves the secret as it is."""
    terminal.store('{"upstream": "sk-kept"}')
    status, screen = terminal.types(*answers)
    assert status != 0
    assert "othing stored" in screen
    assert terminal.stored == {"upstream": "sk-kept"}


async def test_a_malformed_value_is_replaced(terminal: Terminal) -> None:
    """A malformed value that was stored by hand is replaced by the typed key."""
    terminal.store('{"upstream": "sk-trunc')
    assert terminal.types("sk-whole\n", "\n")[0] == 0
    assert terminal.stored == {"upstream": "sk-whole"}
