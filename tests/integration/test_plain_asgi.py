"""The built package under a plain ASGI server, with many calls in one process.

A Lambda Web Function would run it in this way. The server is uvicorn, which is not in the package.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local import secrets
from local.layout import local_credentials
from local.scripted.script import Done, Finish, Pause, Role, Say, Script, Until
from local.scripted.script_player import RecordedRequest
from local.scripted.upstream import ScriptedUpstream
from local.template import Secret
from tests.support.built import FUNCTION, python313
from tests.support.deployment import CALM_ENVIRONMENT, spoken
from tests.support.secrets import CALLER_KEY, UPSTREAM_KEY

pytestmark = pytest.mark.built

AT_ONCE = 64
HANG_UPS = 8
LIMIT_S = 120
SERVE = """
import socket, sys
sys.path[:0] = sys.argv[1:]
import uvicorn
listener = socket.create_server(("127.0.0.1", 0), backlog=256)
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config("completions.app:app", log_level="warning", access_log=False)
uvicorn.Server(config).run([listener])
"""


class Server:
    """The running process and its log."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.base_url = f"http://127.0.0.1:{port}"

    async def turns(self, count: int) -> list[dict[str, Any]]:
        """Return the lines of so many turns, once they have ended."""
        assert self._process.stdout is not None
        found: list[dict[str, Any]] = []
        while len(found) < count:
            line = json.loads(await self._process.stdout.readline())
            if line.get("message") == "turn.finished":
                found.append(line)
        return found


@asynccontextmanager
async def serving(folder: Path, upstream: str, **settings: str) -> AsyncIterator[Server]:
    """Run the package under uvicorn on Lambda's Python, without the rest of this checkout."""
    beside = folder / "server"
    for name in ("uvicorn", "click"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, beside / name)
    with (folder / "log").open("w") as log:
        keys = await secrets.start(log)
        declared = [Secret(name, name) for name in ("caller", "upstream")]
        values = {"caller": {"key": CALLER_KEY}, "upstream": {"upstream": UPSTREAM_KEY}}
        await secrets.create(keys.address, declared, values)
        process = await asyncio.create_subprocess_exec(
            *(python313() or "", "-I", "-c", SERVE, str(FUNCTION), str(beside)),
            env={
                "PATH": os.environ["PATH"],
                **local_credentials(),
                **CALM_ENVIRONMENT,
                "AWS_ENDPOINT_URL_SECRETS_MANAGER": keys.address,
                "COMPLETIONS_CALLER_KEY_SECRET": "caller",
                "COMPLETIONS_UPSTREAM_KEY_SECRET": "upstream",
                "COMPLETIONS_UPSTREAM_BASE_URL": upstream,
                **settings,
            },
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=1024 * 1024,
        )
        try:
            assert process.stdout is not None
            yield Server(process, int(await process.stdout.readline()))
        finally:
            process.kill()
            await process.communicate()
            await keys.stop()


@asynccontextmanager
async def turn(
    client: httpx2.AsyncClient, number: int, **headers: str
) -> AsyncIterator[httpx2.Response]:
    body = {
        "model": f"model-{number}",
        "stream": True,
        "messages": [{"role": "user", "content": "?"}],
    }
    async with client.stream(
        "POST",
        "/v1/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {CALLER_KEY}", **headers},
    ) as response:
        yield response


def calling(server: Server) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=AT_ONCE)
    return httpx2.AsyncClient(base_url=server.base_url, limits=limits, timeout=LIMIT_S)


async def test_64_calls_at_once_are_64_turns_and_hang_ups_are_seen(tmp_path: Path) -> None:
    """64 turns run at once, each with its own words, and a hang-up ends its own turn."""
    all_asked, never = asyncio.Event(), asyncio.Event()
    asked: set[int] = set()

    def script(request: RecordedRequest) -> Script:
        number = int(request.json["model"].removeprefix("model-"))
        asked.add(number)
        if len(asked) == AT_ONCE:
            all_asked.set()
        last = never if number < HANG_UPS else all_asked
        return [Role(), Say(f"word{number} "), Until(last), Say("end."), Finish(), Done()]

    async def call(client: httpx2.AsyncClient, number: int) -> str:
        async with turn(client, number) as response:
            if number >= HANG_UPS:
                body = await response.aread()
                assert response.status_code == 200, body
                return spoken(body)
            async for piece in response.aiter_bytes():
                if b"word" in piece:
                    break
            return "left"

    async with (
        ScriptedUpstream(script) as upstream,
        serving(tmp_path, upstream.base_url) as server,
        calling(server) as client,
        asyncio.timeout(LIMIT_S),
    ):
        # Reads the keys first: this test is not about a slow Secrets Manager.
        await client.get("/v1/models", headers={"authorization": f"Bearer {CALLER_KEY}"})
        heard = await asyncio.gather(*(call(client, number) for number in range(AT_ONCE)))
        told = await server.turns(AT_ONCE)
    assert heard[:HANG_UPS] == ["left"] * HANG_UPS
    for number in range(HANG_UPS, AT_ONCE):
        assert heard[number] == f"word{number} end."
    assert Counter(line["outcome"] for line in told) == {
        "hung_up": HANG_UPS,
        "ok": AT_ONCE - HANG_UPS,
    }
    left = {line["gen_ai.request.model"] for line in told if line["outcome"] == "hung_up"}
    assert left == {f"model-{number}" for number in range(HANG_UPS)}


async def test_the_setting_limits_an_answer_without_a_lambda_context(tmp_path: Path) -> None:
    """Without a Lambda context the setting ends an answer in words before the server cuts it."""
    endless = [Role(), *[step for n in range(200) for step in (Say(f"Word {n}. "), Pause(100))]]
    async with (
        ScriptedUpstream(endless) as upstream,
        serving(tmp_path, upstream.base_url, COMPLETIONS_TIMEOUT_S="4") as server,
        calling(server) as client,
        asyncio.timeout(LIMIT_S),
    ):
        async with turn(client, 1, **{"lambda-web-request-id": "request-1"}) as response:
            body = await response.aread()
        (told,) = await server.turns(1)
    assert body.endswith(b"data: [DONE]\n\n")
    assert b"Word 199." not in body
    # On a busy machine even the first words may come too late.
    assert told["outcome"] == ("cut" if b"Word 0." in body else "apology")
    assert told["function_request_id"] == "request-1"
