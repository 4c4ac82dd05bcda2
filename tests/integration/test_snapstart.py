"""SnapStart: a snapshot without keys and connections, and a restore that gets new ones."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
import snapshot_restore_py

from completions.app import create_app
from completions.settings import Settings
from local.deployment import CALLER_SECRET, ROOT, UPSTREAM_SECRET, Deployment
from local.environment import Environment, InitError
from local.layout import local_credentials
from local.scripted.upstream import ScriptedUpstream
from local.template import Template
from tests.support import toy
from tests.support.deployment import CALM_ENVIRONMENT, chat, spoken
from tests.support.rotation import WORDS, Provider

MODES = pytest.mark.parametrize("mode", ["RESPONSE_STREAM", "BUFFERED"])
ESTABLISHED = "01"


def _only(deployment: Deployment) -> Environment:
    """Return the only process."""
    assert deployment.function is not None
    (environment,) = deployment.function.environments
    return environment


def _rotate(deployment: Deployment, secret: str, **value: str) -> None:
    """Rotate a key as an operator does."""
    assert deployment.secrets is not None
    environment = local_credentials()
    client = boto3.client(
        "secretsmanager",
        endpoint_url=deployment.secrets.address,
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    names = {each.logical_id: each.name for each in Template(ROOT / "template.yaml").secrets}
    client.put_secret_value(SecretId=names[secret], SecretString=json.dumps(value))
    client.close()


async def _turn(deployment: Deployment, key: str) -> str:
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}) as client:
        url = f"{deployment.base_url}/chat/completions"
        response = await client.post(url, json=chat(stream=True), timeout=60)
    return spoken(response.content) or response.text


def _connections(pid: int) -> int:
    """Return how many TCP connections a process has open."""
    held = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            held.add(target[len("socket:[") : -1])
    table = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return sum(row[3] == ESTABLISHED and row[9] in held for row in table)


async def _stopped(environment: Environment) -> None:
    """Wait until the kernel has stopped the process."""
    while "State:\tT" not in Path(f"/proc/{environment.pid}/status").read_text():
        await asyncio.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@MODES
async def test_a_restore_takes_up_new_keys_and_connections(mode: str) -> None:
    """Keys rotated between snapshot and restore are used from the first turn on."""
    provider = Provider("model-2")
    async with (
        ScriptedUpstream(provider) as upstream,
        Deployment(
            upstream=upstream.base_url,
            upstream_key="model-1",
            caller_key="caller-1",
            parameters={"InvokeMode": mode},
            environment=CALM_ENVIRONMENT,
            warm=False,
            freeze=True,
        ) as deployment,
    ):
        environment = _only(deployment)
        await _stopped(environment)
        assert environment.asleep
        # Nothing was contacted but the Runtime API.
        assert _connections(environment.pid) == 1
        assert upstream.connections == 0
        _rotate(deployment, UPSTREAM_SECRET, upstream="model-2")
        _rotate(deployment, CALLER_SECRET, key="caller-2")
        _rotate(deployment, CALLER_SECRET, key="caller-3")
        assert await _turn(deployment, "caller-3") == WORDS
        assert await _turn(deployment, "caller-2") == WORDS
        assert "Incorrect API key" in await _turn(deployment, "caller-1")
        assert _only(deployment) is environment
        log = deployment.log_text()
    assert provider.refused == 0
    assert upstream.connections == 1
    assert "key.bridged" not in log


async def test_the_secrets_are_not_read_before_the_restore() -> None:
    """The snapshot needs no Secrets Manager, but a turn without it is a 503."""
    async with (
        ScriptedUpstream() as upstream,
        Deployment(upstream=upstream.base_url, warm=False, freeze=True) as deployment,
    ):
        assert deployment.secrets is not None
        await deployment.secrets.stop()
        assert "key.unavailable" not in deployment.log_text()
        assert "key_unavailable" in await _turn(deployment, deployment.caller_key)
        assert "cannot be reached" in deployment.log_text()
        assert not upstream.requests


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("goes", ["close_connections", "drop_connections"])
async def test_a_freeze_costs_no_attempt(goes: str) -> None:
    """If the upstream closes during a freeze, the next turn still makes one attempt."""
    async with (
        ScriptedUpstream(Provider("model-1")) as upstream,
        Deployment(
            upstream=upstream.base_url,
            upstream_key="model-1",
            environment={**CALM_ENVIRONMENT, "COMPLETIONS_FIRST_TOKEN_TIMEOUT_MS": "8000"},
            freeze=True,
        ) as deployment,
    ):
        for _ in range(2):
            assert await _turn(deployment, deployment.caller_key) == WORDS
            await _stopped(_only(deployment))
            getattr(upstream, goes)()
        assert await _turn(deployment, deployment.caller_key) == WORDS
        log = deployment.log_text()
    assert [request.connection for request in upstream.requests] == [0, 1, 2]
    assert "candidate.late" not in log
    assert "upstream.refused" not in log


def _with_hooks(folder: Path, code: str) -> Path:
    """Deploy the toy app with SnapStart on and the test's hooks."""
    template = toy.write(folder)
    text = template.read_text()
    template.write_text(
        text.replace("Runtime:", "SnapStart: {ApplyOn: PublishedVersions}\n      Runtime:")
    )
    app = folder / "toy" / "app.py"
    app.write_text(
        f"{app.read_text()}\n"
        "from snapshot_restore_py import register_after_restore, register_before_snapshot\n"
        f"{code}"
    )
    return template


@MODES
@pytest.mark.parametrize("hook", ["register_before_snapshot", "register_after_restore"])
async def test_a_hook_that_fails_is_an_init_error(tmp_path: Path, mode: str, hook: str) -> None:
    """A failing hook before or after the snapshot is an init error."""
    template = _with_hooks(tmp_path, f"@{hook}\ndef fail(): raise ValueError('cold on purpose')\n")
    deployment = Deployment(
        template=template, upstream="http://127.0.0.1:9/v1", parameters={"InvokeMode": mode}
    )
    with pytest.raises(InitError, match="cold on purpose"):
        async with deployment:
            pytest.fail("it must not become ready")


async def test_off_means_no_snapshot() -> None:
    """With SnapStart off no process starts before the first request."""
    async with Deployment(
        upstream="http://127.0.0.1:9/v1", parameters={"SnapStart": "Off"}, warm=False
    ) as deployment:
        assert deployment.function is not None
        assert not deployment.function.environments


def test_imports_are_done_before_the_snapshot() -> None:
    """The hook before the snapshot imports what a first turn would, and opens no connection."""
    program = """
import socket, sys
def refuse(*_): raise AssertionError("a connection before the snapshot")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import completions.app, snapshot_restore_py
imported = set(sys.modules)
for function, args, kwargs in snapshot_restore_py.get_before_snapshot():
    function(*args, **kwargs)
assert len(set(sys.modules) - imported) > 100
"""
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={"PYTHONPATH": str(ROOT / "functions")}
    )


async def test_clones_of_a_snapshot_draw_different_jitter() -> None:
    """Two environments restored from one snapshot draw different jitter."""
    before = list(snapshot_restore_py.get_after_restore())
    create_app(Settings())
    (hook,) = snapshot_restore_py.get_after_restore()[len(before) :]
    snapshot = random.getstate()
    drawn: list[Any] = []
    for _ in range(2):
        random.setstate(snapshot)
        function, args, kwargs = hook
        function(*args, **kwargs)
        drawn.append(random.random())
    assert drawn[0] != drawn[1]
