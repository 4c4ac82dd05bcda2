"""Applications on third-party frameworks behind Mangum, unchanged, with and without the layer.

They run in their own environment, `.venv-apps`, which `make test-slow` creates.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_layer_mangum import url_event
from tests.support.layer import UnpackedLayer
from tests.support.runtime_api import FakeRuntimeApi

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-apps" / "bin" / "python"
APPS = sorted((REPOSITORY / "tests" / "support" / "apps").glob("*_app.py"))
EVENTS = {
    "json": url_event("GET", "/json", "q=a%20b"),
    "stream": url_event("GET", "/stream"),
    "bytes": url_event("POST", "/echo", body=bytes(range(256))),
    "nothing": url_event("POST", "/echo", body=b""),
    "cookies": url_event("GET", "/cookies"),
    "redirect": url_event("GET", "/elsewhere"),
    "not found": url_event("GET", "/nowhere"),
    "head": url_event("HEAD", "/json", "q=1"),
    "broken": url_event("GET", "/broken"),
}
# Calls the handler as AWS's own runtime does, which has no loop on Python 3.12 and later.
BUFFERED = """
import asyncio, json, sys
asyncio.set_event_loop(asyncio.new_event_loop())
from function import handler
print("\\n" + json.dumps([handler(event, None) for event in json.load(sys.stdin)]))
"""
# Differ in each answer, or are added by Mangum.
VOLATILE = {"date", "content-length"}


@pytest.fixture
async def task(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[UnpackedLayer]:
    """The layer with the application's code, and the interpreter with its packages."""
    layer = UnpackedLayer(tmp_path, python=PYTHON)
    shutil.copy(request.param, layer.task / "function.py")
    yield layer
    await layer.end()


async def without_the_layer(task: UnpackedLayer) -> dict[str, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        str(PYTHON),
        "-c",
        BUFFERED,
        cwd=task.task,
        env={"PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate(json.dumps(list(EVENTS.values())).encode())
    return dict(zip(EVENTS, json.loads(output.splitlines()[-1]), strict=True))


def body_of(result: dict[str, Any]) -> bytes:
    body: str = result["body"]
    return b64decode(body) if result["isBase64Encoded"] else body.encode()


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    return {k: v for k, v in answer.get("headers", {}).items() if k not in VOLATILE}


@pytest.mark.parametrize("task", APPS, indirect=True, ids=lambda path: path.stem)
async def test_an_application_answers_the_same_with_the_layer_and_streams(
    task: UnpackedLayer,
) -> None:
    """Status, headers, cookies and body are the same with the layer, and they stream."""
    assert PYTHON.exists(), "`make test-slow` creates it"
    expected = await without_the_layer(task)
    async with FakeRuntimeApi() as api:
        await task.start(api)
        for name, event in EVENTS.items():
            api.invoke(event)
            post = await api.post()
            prelude, body = await post.prelude(), await post.body()
            assert post.header("lambda-runtime-function-response-mode") == "streaming", name
            assert post.trailers == {}, name
            assert prelude["statusCode"] == expected[name]["statusCode"], name
            assert prelude.get("cookies", []) == expected[name].get("cookies", []), name
            ours = {"content-type": "application/json", **headers_of(prelude)}  # as Mangum adds it
            assert ours == headers_of(expected[name]), name
            assert body == (b"" if name == "head" else body_of(expected[name])), name
            if name in ("redirect", "head"):
                assert prelude["headers"]["content-length"].isdigit(), name
            if name == "stream":
                data = post.pieces[2:]
                assert data == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]
