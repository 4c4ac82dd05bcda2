"""The life of function processes behind the Function URL, with a toy app."""

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from local.deployment import Deployment
from local.environment import InitError
from local.function import Function, Throttled
from local.layout import prepare
from local.payload import response_of
from local.runtime_api import Failure
from local.template import Template
from tests.support import toy

Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(tmp_path: Path) -> Deploy:
    """Deploy the toy app, by default without an upstream and with one warm process."""
    template = toy.write(tmp_path)

    def make(**options: Any) -> Deployment:
        return Deployment(**{"template": template, "upstream": "http://127.0.0.1:9/v1", **options})

    return make


class Answer:
    """An answer over a socket: status, headers, body, and whether it was complete."""

    def __init__(self, raw: bytes) -> None:
        head, _, rest = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        chunked = ("transfer-encoding", "chunked") in [(k.lower(), v) for k, v in self.headers]
        self.ended = rest.endswith(b"0\r\n\r\n") if chunked else True
        self.body = b"".join(_chunks(rest)) if chunked else rest

    def json(self) -> Any:
        return json.loads(self.body)


def _chunks(rest: bytes) -> list[bytes]:
    found = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return found


@contextlib.asynccontextmanager
async def request(
    deployment: Deployment, path: str, body: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    port = int(deployment.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    head = f"POST {path} HTTP/1.1\r\nHost: toy:{port}\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
    yield reader, writer
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def ask(deployment: Deployment, path: str, body: bytes = b"") -> Answer:
    async with request(deployment, path, body) as (reader, _):
        return Answer(await reader.read())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("mode", ["RESPONSE_STREAM", "BUFFERED"])
async def test_a_mangum_app_answers_in_both_modes(deploy: Deploy, mode: str) -> None:
    """The same handler gives the same answer with and without the layer."""
    async with deploy(parameters={"InvokeMode": mode}) as deployment:
        answer = await ask(deployment, "/event?x=1", b"\xff")
        event = answer.json()
        assert answer.status == 201
        assert [v for k, v in answer.headers if k == "set-cookie"] == ["a=1", "b=2"]
        assert (event["rawPath"], event["rawQueryString"]) == ("/event", "x=1")
        assert (event["body"], event["isBase64Encoded"]) == ("/w==", True)
        assert (await ask(deployment, "/empty")).status == 204


async def test_the_process_is_started_as_on_lambda(deploy: Deploy, tmp_path: Path) -> None:
    """A process starts through the layer, in the task root, with Lambda's variables only."""
    extra = {"OVERRIDDEN": "test"}
    async with deploy(environment=extra) as deployment:
        process = (await ask(deployment, "/process")).json()
    assert process["cwd"] == str(tmp_path)
    assert str(tmp_path) in process["path"]
    assert any(entry.endswith("/opt/python") for entry in process["path"])
    assert "lambda_streaming.runtime" in process["modules"]
    assert not any(name == "local" or name.startswith("local.") for name in process["modules"])
    environment = process["env"]
    assert environment["FROM_TEMPLATE"] == "template"
    assert environment["OVERRIDDEN"] == "test"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "ToyFunction"
    assert not {"PYTHONPATH", "HOME", "VIRTUAL_ENV"} & environment.keys()


async def test_without_the_wrapper_the_layer_is_not_imported(deploy: Deploy) -> None:
    """Without the wrapper the ordinary runtime serves."""
    async with deploy(parameters={"InvokeMode": "BUFFERED"}) as deployment:
        modules = (await ask(deployment, "/process")).json()["modules"]
    assert not any(name.startswith("lambda_streaming") for name in modules)


async def test_an_idle_process_is_used_again(deploy: Deploy) -> None:
    """One request after the other is answered by one process."""
    async with deploy() as deployment:
        pids = {(await ask(deployment, "/pid")).body for _ in range(5)}
    assert len(pids) == 1


async def test_pieces_pass_as_they_come(deploy: Deploy, tmp_path: Path) -> None:
    """The caller gets the first piece before the function sends the second."""
    gate = tmp_path / "gate"
    async with (
        deploy() as deployment,
        request(deployment, f"/gate?file={gate}") as (reader, _),
    ):
        await reader.readuntil(b"first")
        gate.touch()
        assert b"second" in await reader.read()


async def test_another_process_starts_when_all_are_busy(deploy: Deploy, tmp_path: Path) -> None:
    """A request gets a new process if all are busy, and 429 beyond the limit."""
    gate = tmp_path / "gate"
    async with deploy(limit=2) as deployment, contextlib.AsyncExitStack() as stack:
        readers = []
        for _ in range(2):
            reader, _ = await stack.enter_async_context(request(deployment, f"/gate?file={gate}"))
            await reader.readuntil(b"first")
            readers.append(reader)
        assert deployment.function is not None
        assert len({each.pid for each in deployment.function.environments}) == 2
        refused = await ask(deployment, "/pid")
        assert refused.status == 429
        assert ("x-amzn-errortype", "TooManyRequestsException") in refused.headers
        gate.touch()
        for reader in readers:
            assert b"second" in await reader.read()
        assert (await ask(deployment, "/pid")).status == 200


async def test_changed_code_is_used(deploy: Deploy, tmp_path: Path) -> None:
    """After a code change an idle process is replaced, a busy one after its answer."""
    gate, app = tmp_path / "gate", tmp_path / "toy/app.py"
    told: asyncio.Queue[str] = asyncio.Queue()
    async with (
        deploy(progress=told.put_nowait) as deployment,
        request(deployment, f"/gate?file={gate}") as (reader, _),
    ):
        await reader.readuntil(b"first")
        assert deployment.function is not None
        (old,) = deployment.function.environments
        following = asyncio.create_task(deployment.follow_changes())
        app.write_text(app.read_text().replace('{"no": path}, 404', '{"new": path}'))
        gate_opens = asyncio.ensure_future(
            _told(told, "toy/app.py has changed: the next turn runs it")
        )
        await until(lambda: old.retired)
        assert (await ask(deployment, "/x")).json() == {"new": "/x"}
        gate.touch()
        assert b"second" in await reader.read()
        await gate_opens
        assert not running(old.pid)
        following.cancel()


async def test_code_that_does_not_start_changes_nothing(deploy: Deploy, tmp_path: Path) -> None:
    """If changed code does not start, the error is shown and the old processes go on."""
    told: asyncio.Queue[str] = asyncio.Queue()
    async with deploy(progress=told.put_nowait) as deployment:
        following = asyncio.create_task(deployment.follow_changes())
        before = (await ask(deployment, "/pid")).body
        (tmp_path / "toy/app.py").write_text("raise ValueError('half a thought')")
        line = await _told(told, "toy/app.py has changed, but does not start")
        assert "half a thought" in line
        assert (await ask(deployment, "/pid")).body == before
        following.cancel()


async def _told(told: asyncio.Queue[str], beginning: str) -> str:
    while not (line := await told.get()).startswith(beginning):
        pass
    return line


@pytest.mark.parametrize("limit", [2, 1])
async def test_a_finishing_process_is_used_by_one_caller(
    deploy: Deploy, tmp_path: Path, limit: int
) -> None:
    """Of two callers waiting for one process, one gets it, the other a new one or 429."""
    gate = tmp_path / "gate"
    event = json.loads((toy.ROOT / "tests/reference/url-event.json").read_text("utf-8"))
    event["rawPath"] = event["requestContext"]["http"]["path"] = "/pid"
    payload = json.dumps(event).encode()
    async with deploy(limit=limit) as deployment:
        assert deployment.function is not None
        assert (await ask(deployment, f"/linger?file={gate}")).json() == "answered"
        (first,) = deployment.function.environments
        await until(lambda: first.finishing)
        callers = [asyncio.create_task(deployment.function.invoke(payload)) for _ in range(2)]
        done, _ = await asyncio.wait(callers, timeout=0.05)
        assert not done, "both wait"
        gate.touch()
        got = await asyncio.gather(*callers, return_exceptions=True)
        answered = [each for each in got if not isinstance(each, BaseException)]
        pids = set()
        for invocation in answered:
            answer = await invocation.answer
            response = await response_of(answer, "RESPONSE_STREAM")
            pids.add(json.loads(b"".join([chunk async for chunk in response.body])))
        processes = [each.pid for each in deployment.function.environments]
    assert [type(each) for each in got if each not in answered] == [Throttled] * (2 - limit)
    assert sorted(pids) == sorted(processes)
    assert first.pid in pids
    assert len(pids) == limit


async def test_the_timeout_cuts_the_stream_and_kills(deploy: Deploy) -> None:
    """At the timeout the answer is cut, and the next request gets a new process."""
    async with deploy(parameters={"Timeout": "2"}) as deployment:
        before = (await ask(deployment, "/pid")).json()
        answer = await ask(deployment, "/hang")
        assert (answer.status, answer.body, answer.ended) == (200, b"first", False)
        await until(lambda: not running(before))
        assert (await ask(deployment, "/pid")).json() != before
        assert "Task timed out after 2.00 seconds" in deployment.log_text()


async def test_the_timeout_before_an_answer_is_a_bad_gateway(deploy: Deploy) -> None:
    """A timeout before the answer gives 502."""
    async with deploy(parameters={"Timeout": "2"}) as deployment:
        answer = await ask(deployment, "/hang-before")
    assert (answer.status, answer.body) == (502, b"Internal Server Error")


@pytest.mark.parametrize("mode", ["RESPONSE_STREAM", "BUFFERED"])
async def test_a_crash_is_a_bad_gateway(deploy: Deploy, mode: str) -> None:
    """A process that dies gives 502, is logged, and is replaced."""
    async with deploy(parameters={"InvokeMode": mode}) as deployment:
        answer = await ask(deployment, "/crash")
        assert (answer.status, answer.body) == (502, b"Internal Server Error")
        assert "exit status 7" in deployment.log_text()
        assert (await ask(deployment, "/pid")).status == 200


async def test_a_crash_in_mid_stream_cuts_the_answer(deploy: Deploy, tmp_path: Path) -> None:
    """If a process dies while streaming, the caller's answer is cut."""
    heard = tmp_path / "heard"
    async with (
        deploy() as deployment,
        request(deployment, f"/crash-after?file={heard}") as (reader, _),
    ):
        raw = await reader.readuntil(b"first")
        heard.touch()
        answer = Answer(raw + await reader.read())
    assert (answer.status, answer.body, answer.ended) == (200, b"first", False)


async def test_an_error_in_mid_stream_cuts_the_answer(deploy: Deploy) -> None:
    """Error trailers cut the caller's connection without a message, and the process goes on."""
    async with deploy() as deployment:
        before = (await ask(deployment, "/pid")).json()
        answer = await ask(deployment, "/raise-after")
        assert (answer.status, answer.body, answer.ended) == (200, b"first", False)
        assert (await ask(deployment, "/pid")).json() == before


@pytest.mark.parametrize("mode", ["RESPONSE_STREAM", "BUFFERED"])
async def test_an_init_error_is_a_bad_gateway(deploy: Deploy, mode: str) -> None:
    """A handler that cannot be imported gives 502 to each request, with the reason in the log."""
    parameters = {"InvokeMode": mode, "Handler": "toy.broken.handler"}
    async with deploy(parameters=parameters, warm=False) as deployment:
        for _ in range(2):
            assert (await ask(deployment, "/pid")).status == 502
        assert "broken on purpose" in deployment.log_text()
        assert deployment.function is not None
        assert all(each.dead for each in deployment.function.environments)


async def test_an_init_error_at_start_is_an_error(deploy: Deploy) -> None:
    """A warm deployment fails to start if its process cannot be initialised."""
    with pytest.raises(InitError, match="broken on purpose"):
        async with deploy(parameters={"Handler": "toy.broken.handler"}):
            pytest.fail("it must not become ready")


async def test_a_missing_wrapper_is_an_init_error(deploy: Deploy) -> None:
    """A missing wrapper fails the start, as on Lambda."""
    with pytest.raises(InitError, match=r"Extension\.LaunchError"):
        async with deploy(environment={}, template=_without_layer(deploy)):
            pytest.fail("it must not become ready")


def _without_layer(deploy: Deploy) -> Path:
    path: Path = deploy()._template.path
    path.write_text(path.read_text().replace("Layers: [!Ref StreamingLayer]", "Layers: []"))
    return path


async def test_a_caller_who_hangs_up_does_not_stop_the_function(
    deploy: Deploy, tmp_path: Path
) -> None:
    """After a hang-up the function runs to its end, and its process is used again."""
    gate = tmp_path / "gate"
    async with deploy() as deployment:
        before = (await ask(deployment, "/pid")).json()
        async with request(deployment, f"/gate?file={gate}") as (reader, writer):
            await reader.readuntil(b"first")
            writer.transport.abort()
        gate.touch()
        await until((tmp_path / "gate.done").exists)
        assert (await ask(deployment, "/pid")).json() == before


async def test_a_body_over_6_mb_is_refused(deploy: Deploy) -> None:
    """A request too large for an event gets 413 without a process."""
    async with deploy() as deployment:
        answer = await ask(deployment, "/pid", b"x" * 6_500_000)
        assert answer.status == 413
        # 5 MB of bytes are too much as well, since the event has them as base64.
        assert (await ask(deployment, "/pid", b"\xff" * 5_000_000)).status == 413
        assert (await ask(deployment, "/pid", b"\xff" * 4_000_000)).status == 200


@pytest.mark.parametrize("mode", ["RESPONSE_STREAM", "BUFFERED"])
async def test_a_plain_handlers_dict_is_a_response(deploy: Deploy, mode: str) -> None:
    """A plain handler's dict becomes a response, on a buffered URL and through the layer."""
    parameters = {"InvokeMode": mode, "Handler": "toy.plain.handler"}
    async with deploy(parameters=parameters) as deployment:
        answer = await ask(deployment, "/")
    assert (answer.status, answer.body) == (418, b"tea")


async def test_without_awss_client_our_loop_serves(tmp_path: Path) -> None:
    """Without awslambdaric, our own loop serves handlers and reports errors in the same way."""
    template = Template(
        toy.write(tmp_path), {"InvokeMode": "BUFFERED", "Handler": "toy.plain.handler"}
    )
    (run := tmp_path / "run").mkdir()
    launch = prepare(template.function, root=tmp_path, built=False, folder=run, log=sys.stderr)
    # Without site-packages there is no such client to import.
    bare = dataclasses.replace(launch, argv=(sys.executable, "-S", launch.argv[-1]))
    async with Function(bare, limit=1) as function:
        invocation = await function.invoke(b"{}")
        response = await response_of(await invocation.answer, "BUFFERED")
        assert response.status == 418
        failing = await function.invoke(b'{"fail": true}')
        failure = await failing.answer
        assert isinstance(failure, Failure)
        assert failure.error_type == "ValueError"
        assert failing.request_id in failure.message
    broken = bare.with_variables({"_HANDLER": "toy.broken.handler"})
    async with Function(broken, limit=1) as function:
        with pytest.raises(InitError, match="broken on purpose"):
            await function.invoke(b"{}")


async def test_an_event_can_be_given_past_the_function_url(deploy: Deploy) -> None:
    """`invoke` runs one event in the same way and sets its arrival to now."""
    event = json.loads((toy.ROOT / "tests/reference/url-event.json").read_text("utf-8"))
    event["rawPath"] = event["requestContext"]["http"]["path"] = "/event"
    async with deploy() as deployment:
        earliest = int(time.time() * 1000)
        response = await deployment.invoke(event)
        latest = int(time.time() * 1000)
        seen = json.loads(b"".join([chunk async for chunk in response.body]))
    assert (response.status, response.failure) == (201, None)
    assert earliest <= seen["requestContext"]["timeEpoch"] <= latest


async def test_closing_leaves_nothing_behind(deploy: Deploy, tmp_path: Path) -> None:
    """A closed deployment leaves neither processes, busy or not, nor files."""
    never = tmp_path / "never"
    async with deploy() as deployment, request(deployment, f"/gate?file={never}") as (reader, _):
        await reader.readuntil(b"first")
        assert deployment.function is not None
        pids = [each.pid for each in deployment.function.environments]
        folder = deployment._log_path.parent
    assert pids
    assert not any(running(pid) for pid in pids)
    assert not folder.exists()


async def test_closing_waits_for_dying_processes(deploy: Deploy) -> None:
    """Closing also waits for a process that is being killed."""
    async with deploy() as deployment:
        assert deployment.function is not None
        (dying,) = deployment.function.environments
        killing = asyncio.create_task(dying.kill())
        await asyncio.sleep(0)
        assert dying.dead
        assert not dying.over
    assert dying.over
    await killing
