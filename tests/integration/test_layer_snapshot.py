"""The layer and SnapStart: hooks before and after the snapshot, in a separate process."""

from __future__ import annotations

import json

import pytest

from tests.support.layer import PLAIN, URL_EVENT, UnpackedLayer, ended
from tests.support.runtime_api import FakeRuntimeApi

SNAPSHOT = """
import json, sys
from snapshot_restore_py import register_after_restore, register_before_snapshot
heard = []
register_before_snapshot(heard.append, "before 1")
register_before_snapshot(heard.append, "before 2")
register_after_restore(heard.append, "after 1")
register_after_restore(heard.append, "after 2")
def handler(event, context): return heard
"""
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}


async def test_the_order_of_a_snapshot(api: FakeRuntimeApi, layer: UnpackedLayer) -> None:
    """Hooks run in reverse before the snapshot and in order after it, before the first event."""
    layer.code(SNAPSHOT)
    await layer.start(api, **SNAP_START)
    await api.polled()
    assert api.calls == ["GET /restore/next", "GET /invocation/next"]
    api.invoke({})
    heard = json.loads(await (await api.post()).read())
    assert heard == ["before 2", "before 1", "after 1", "after 2"]


async def test_the_lifespan_starts_before_the_snapshot(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """The lifespan's startup runs before the snapshot."""
    layer.code(
        SNAPSHOT + "from mangum import Mangum\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        "        await receive()\n"
        "        heard.append('startup')\n"
        "        await send({'type': 'lifespan.startup.complete'})\n"
        "        await receive()\n"
        "    else:\n"
        "        await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "        await send({'type': 'http.response.body', 'body': json.dumps(heard).encode()})\n"
        "handler = Mangum(app)\n"
    )
    await layer.start(api, **SNAP_START)
    api.invoke(URL_EVENT)
    heard = json.loads(await (await api.post()).body())
    assert heard == ["startup", "before 2", "before 1", "after 1", "after 2"]


async def test_a_snapshot_needs_no_hooks_package(api: FakeRuntimeApi, layer: UnpackedLayer) -> None:
    """A function without hooks needs no registry."""
    layer.code("import sys\nsys.modules['snapshot_restore_py'] = None\n" + PLAIN)
    await layer.start(api, **SNAP_START)
    await api.polled()
    assert api.calls == ["GET /restore/next", "GET /invocation/next"]


@pytest.mark.parametrize(
    ("hook", "path", "expected", "exit_code"),
    [
        ("register_before_snapshot", "/init/error", "Runtime.BeforeSnapshotError", 64),
        ("register_after_restore", "/restore/error", "Runtime.AfterRestoreError", 65),
    ],
)
async def test_a_failing_hook_ends_the_environment(  # noqa: PLR0917 - a table
    api: FakeRuntimeApi, layer: UnpackedLayer, hook: str, path: str, expected: str, exit_code: int
) -> None:
    """A failure before the snapshot and one after it have their own call, type and exit code."""
    layer.code(f"{SNAPSHOT}\n@{hook}\ndef fail(): raise ValueError('cold')\n")
    process = await layer.start(api, **SNAP_START)
    post = await api.post()
    assert post.path == path
    assert post.header("lambda-runtime-function-error-type") == expected
    error = json.loads(await post.read())
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "cold")
    assert (await ended(process))[0] == exit_code
    assert "GET /invocation/next" not in api.calls


async def test_a_refused_snapshot_is_an_init_error(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """A failure of /restore/next is an init error."""
    api.statuses["next"] = 500
    layer.code(PLAIN)
    process = await layer.start(api, **SNAP_START)
    post = await api.post()
    assert post.path == "/init/error"
    assert post.header("lambda-runtime-function-error-type") == "Runtime.BeforeSnapshotError"
    assert (await ended(process))[0] == 64
