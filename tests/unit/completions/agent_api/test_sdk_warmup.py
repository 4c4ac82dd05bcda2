"""The SDK is loaded before a snapshot only if an agent may use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
WITHOUT = """
import sys
import completions.app
import snapshot_restore_py
for hook, *_ in snapshot_restore_py.get_before_snapshot():
    hook()
assert "openai" not in sys.modules and "httpx2" not in sys.modules
"""
WITH = """
import asyncio, sys
import completions.app
import snapshot_restore_py
from completions.responder import Say
from local.scripted.script import answer
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Caller, body

async def agent(conversation):
    client, asked = conversation.client, {"model": "m", "messages": conversation.messages}
    stream = await client.chat.completions.create(**asked, stream=True)
    async for chunk in stream:
        pass
    await client.chat.completions.create(**asked)
    async with client.chat.completions.stream(**asked) as events:
        async for event in events:
            pass
    stream = await client.responses.create(model="m", input="Hello?", stream=True)
    async for event in stream:
        pass
    response = await client.responses.with_raw_response.create(model="m", input="Hello?")
    yield Say(response.parse().output_text)

async def asks(conversation):
    async for event in conversation.ask():
        yield event

async def turn(agent):
    heard = await Caller(PlayedUpstream(answer("Hello.")), agent=agent).post(body())
    assert heard.text == "Hello.", heard.text

asyncio.run(turn(asks))
for hook, *_ in snapshot_restore_py.get_before_snapshot():
    hook()
before = set(sys.modules)
asyncio.run(turn(agent))
assert set(sys.modules) == before, set(sys.modules) - before
"""


def ran(code: str, **environment: str) -> None:
    """Run code in a process of its own."""
    path = os.pathsep.join([str(ROOT / "functions"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_without_an_agent_the_sdk_is_not_loaded() -> None:
    """It takes more start-up time than everything else."""
    ran(WITHOUT)


def test_with_an_agent_its_first_use_loads_nothing() -> None:
    """All of it is used once before the snapshot."""
    ran(WITH, COMPLETIONS_RESPONDER="tests.support.agents:relays")
