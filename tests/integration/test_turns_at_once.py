"""Many turns in one process, as with AWS_LAMBDA_MAX_CONCURRENCY.

The real function behind the real layer, in a separate process; the tests read its stdout, which
is what CloudWatch would get.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from local.scripted.script import Done as End
from local.scripted.script import Finish, Pause, Role, Say, Script, Usage, refused
from local.scripted.script_player import RecordedRequest
from local.scripted.upstream import ScriptedUpstream
from tests.support.layer import REPOSITORY, UnpackedLayer
from tests.support.runtime_api import FakeRuntimeApi
from tests.support.secrets import CALLER_KEY

URL_EVENT = json.loads((Path(__file__).parents[1] / "reference" / "url-event.json").read_text())
AT_ONCE, TURNS = 16, 48
FUNCTION = """
import os
from mangum import Mangum
from tests.support.deployment import CALM, deploy
handler = Mangum(deploy(os.environ["UPSTREAM"], **CALM), lifespan="off")
"""


@pytest.fixture
async def layer(tmp_path: Path) -> AsyncIterator[UnpackedLayer]:
    """The layer, unpacked."""
    unpacked = UnpackedLayer(tmp_path)
    yield unpacked
    await unpacked.end()


def event(number: int) -> dict[str, Any]:
    """Return a turn of call `number`, with its own model, tool and history."""
    path = "/v1/chat/completions"
    http = {**URL_EVENT["requestContext"]["http"], "method": "POST", "path": path}
    context = {
        name: one for name, one in URL_EVENT["requestContext"].items() if name != "timeEpoch"
    }
    body = {
        "model": f"model-{number}",
        "stream": True,
        "messages": [{"role": "user", "content": "?"}] * (number + 1),
        "tools": [{"type": "function", "function": {"name": f"tool-{number}"}}],
    }
    return {
        **URL_EVENT,
        "rawPath": path,
        "rawQueryString": "",
        "requestContext": {**context, "http": http},
        "headers": {"x-api-key": CALLER_KEY, "x-conversation-id": f"call-{number}"},
        "body": json.dumps(body),
    }


def script(request: RecordedRequest) -> Script:
    """Say so many words with pauses, so that all turns run at once."""
    number = int(request.json["model"].removeprefix("model-"))
    if number % 8 == 7:
        return refused(400)
    words = [step for n in range(number % 5 + 1) for step in (Say(f"word{n} "), Pause(30))]
    return [Role(), *words, Finish(), Usage(number, 1000 + number), End()]


async def start(
    layer: UnpackedLayer, api: FakeRuntimeApi, upstream: ScriptedUpstream, **env: str
) -> asyncio.subprocess.Process:
    """Start the function behind the layer, with the template's logging."""
    folders = [REPOSITORY, REPOSITORY / "functions", *map(Path, sys.path)]
    return await layer.start(
        api,
        AWS_LAMBDA_LOG_FORMAT="JSON",
        AWS_LAMBDA_LOG_LEVEL="INFO",
        PYTHONPATH=os.pathsep.join(map(str, folders)),
        UPSTREAM=upstream.base_url,
        POWERTOOLS_METRICS_NAMESPACE="Voice",
        POWERTOOLS_SERVICE_NAME="stack",
        **env,
    )


async def test_each_line_is_about_one_turn(layer: UnpackedLayer) -> None:
    """Lines and metrics of a request id hold that request's facts and no other's."""
    layer.code(FUNCTION)
    async with FakeRuntimeApi() as api, ScriptedUpstream(script) as upstream:
        process = await start(layer, api, upstream, AWS_LAMBDA_MAX_CONCURRENCY=str(AT_ONCE))
        await api.polled(AT_ONCE)
        numbers = {api.invoke(event(number)): number for number in range(TURNS)}
        for _ in range(TURNS):
            await (await api.post()).read()
        await api.polled(AT_ONCE)
        process.terminate()
        output, _ = await process.communicate()
    told: dict[str, dict[str, Any]] = defaultdict(dict)
    for line in map(json.loads, output.decode().splitlines()):
        if "function_request_id" in line:
            told[line["function_request_id"]][line.get("message", "metrics")] = line
    assert told.keys() == numbers.keys()
    for request_id, number in numbers.items():
        lines, failed = told[request_id], number % 8 == 7
        assert set(lines) == {"turn.finished", "metrics"} | (
            {"turn.failed", "upstream.refused"} if failed else set()
        )
        for name, line in lines.items():
            assert name == "metrics" or line["gen_ai.conversation.id"] == f"call-{number}"
        turn, metrics = lines["turn.finished"], lines["metrics"]
        assert turn["outcome"] == metrics["outcome"] == ("apology" if failed else "ok")
        assert turn["gen_ai.request.model"] == f"model-{number}"
        assert turn["tools_offered"] == [f"tool-{number}"]
        assert turn["messages"] == number + 1
        assert metrics["TurnMs"] == [turn["duration_ms"]]
        assert metrics["FailedTurns"] == [failed]
        if not failed:
            assert metrics["InputTokens"] == [number]
            assert turn["gen_ai.usage.output_tokens"] == 1000 + number
            assert turn["frames"] == number % 5 + 5
    assert sum(lines["turn.finished"]["cold_start"] for lines in told.values()) == 1


WAITING_FUNCTION = (
    FUNCTION
    + """
import pathlib, time
from completions.turn import report
def wait_for_the_caller(*_):
    until = time.monotonic() + 120
    while not pathlib.Path(os.environ["HEARD"]).exists() and time.monotonic() < until:
        time.sleep(0.01)
    print("told in time" if time.monotonic() < until else "told too early")
report.turn_finished = wait_for_the_caller
"""
)


async def test_the_last_byte_is_on_its_way_before_the_report(
    layer: UnpackedLayer, tmp_path: Path
) -> None:
    """The platform gets the terminator although the report then stops the whole process."""
    layer.code(WAITING_FUNCTION)
    heard = tmp_path / "heard"
    async with FakeRuntimeApi() as api, ScriptedUpstream(script) as upstream:
        process = await start(layer, api, upstream, HEARD=str(heard))
        api.invoke(event(0))
        post, body = await api.post(), b""
        while b"data: [DONE]" not in body:
            piece = await post.piece()
            assert piece is not None
            body += piece
        heard.touch()
        await post.read()
        await api.polled()
        process.terminate()
        output, _ = await process.communicate()
    assert "told in time" in output.decode()
    assert "told too early" not in output.decode()
