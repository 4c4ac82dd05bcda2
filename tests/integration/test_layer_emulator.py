"""The layer under AWS's own Runtime Interface Emulator.

The emulator checks the protocol, not the streaming: it takes a streamed answer and
returns it in one piece, prelude and delimiter included. Its binary comes with the SAM CLI.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import unused_port
from tests.support.layer import REPOSITORY, STREAMING_APP, UnpackedLayer

URL_EVENT = json.loads(
    (Path(__file__).parents[1] / "reference" / "url-event.json").read_text("utf-8")
)
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def emulator() -> Path:
    """The emulator for this machine; without it the tests are skipped, or fail in CI."""
    name = f"aws-lambda-rie-{ARCHITECTURE.get(platform.machine(), platform.machine())}"
    where = f".venv-sam/lib/python*/site-packages/samcli/local/rapid/{name}"
    found = sorted(REPOSITORY.glob(where))
    if found:
        return found[0]
    message = f"no Runtime Interface Emulator at {where}: run `make setup`"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def front() -> Iterator[int]:
    """The emulator's port for invocations."""
    with unused_port() as port:
        yield port


@pytest.fixture
def back() -> Iterator[int]:
    """The emulator's port for its Runtime API."""
    with unused_port() as port:
        yield port


@pytest.fixture
async def invoke(tmp_path: Path, front: int, back: int) -> AsyncIterator[Any]:
    """Start the emulator with the layer; return a function that invokes it."""
    binary = tmp_path / "rie"
    shutil.copy(emulator(), binary)
    binary.chmod(0o755)
    layer = UnpackedLayer(tmp_path)
    shutil.copy(STREAMING_APP, layer.task / "function.py")
    env = layer.environment("function.handler", AWS_LAMBDA_FUNCTION_TIMEOUT="20")
    process = await asyncio.create_subprocess_exec(
        str(binary),
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{front}",
        "--runtime-api-address",
        f"127.0.0.1:{back}",
        *layer.command,
        env=env,
        cwd=layer.task,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    while True:
        assert process.returncode is None, "the emulator did not start"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", front)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            break

    def post(event: Any) -> bytes:
        url = f"http://127.0.0.1:{front}/2015-03-31/functions/function/invocations"
        with urllib.request.urlopen(url, json.dumps(event).encode(), timeout=120) as answer:
            content: bytes = answer.read()
            return content

    async def invoke_function(event: Any) -> bytes:
        return await asyncio.to_thread(post, event)

    yield invoke_function
    process.terminate()
    await process.wait()


async def test_the_emulator_takes_our_answers(invoke: Any) -> None:
    """Prelude, delimiter and body come back as sent, in each invocation."""
    for n in (3, 0, 200):
        answer = await invoke({**URL_EVENT, "rawQueryString": f"n={n}"})
        prelude, delimiter, body = answer.partition(bytes(8))
        assert delimiter
        assert json.loads(prelude) == {
            "statusCode": 200,
            "headers": {"content-type": "text/event-stream; charset=utf-8"},
        }
        assert body == "".join(f"data: {i}\n\n" for i in range(n)).encode()


async def test_the_emulator_survives_failures_with_us(invoke: Any) -> None:
    """After a cut answer, a non-HTTP event and a malformed one, the next invocation works."""
    http = {**URL_EVENT["requestContext"]["http"], "path": "/cut"}
    cut = {**URL_EVENT, "requestContext": {**URL_EVENT["requestContext"], "http": http}}
    assert (await invoke(cut)).endswith(bytes(8) + b"half")
    error = json.loads(await invoke({"source": "aws.events"}))
    assert error["errorType"] == "RuntimeError"
    odd = await invoke({**URL_EVENT, "headers": {"host": "a:b"}})
    assert json.loads(odd.partition(bytes(8))[0])["statusCode"] == 400
    assert (await invoke({**URL_EVENT, "rawQueryString": "n=1"})).endswith(b"data: 0\n\n")
