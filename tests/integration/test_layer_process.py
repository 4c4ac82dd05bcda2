"""The layer in a separate process, from the unpacked layout, as Lambda starts it."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from typing import Any

import pytest

from tests.support.layer import PLAIN, STREAMING_APP, URL_EVENT, UnpackedLayer, ended
from tests.support.runtime_api import FakeRuntimeApi

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
NO_LIFESPAN = """
from mangum import Mangum
async def app(scope, receive, send): raise ValueError("no lifespan")
handler = Mangum(app, lifespan="on")
"""


def url_event(path: str) -> dict[str, Any]:
    http = {**URL_EVENT["requestContext"]["http"], "path": path}
    context = {**URL_EVENT["requestContext"], "http": http}
    return {**URL_EVENT, "rawPath": path, "requestContext": context}


async def test_chunks_leave_while_the_application_works(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """The application makes its second chunk only after the first has arrived."""
    arrived = asyncio.Event()

    async def gate(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await arrived.wait()
        writer.write(b"!")
        await writer.drain()
        writer.close()

    shutil.copy(STREAMING_APP, layer.task / "function.py")
    async with await asyncio.start_server(gate, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        await layer.start(api, GATE=f"{host}:{port}")
        api.invoke(url_event("/gated"))
        post = await api.post()
        prelude = await post.piece()
        assert prelude
        assert json.loads(prelude)["statusCode"] == 200
        assert await post.piece() == bytes(8)
        assert await post.piece() == b"first"
        arrived.set()
        assert await post.piece() == b"second"
        assert await post.piece() is None
    assert post.whole
    await api.polled()


async def test_a_failure_in_mid_stream_ends_with_trailers(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """FastAPI's half-sent answer ends with the declared trailers, without its secrets."""
    shutil.copy(STREAMING_APP, layer.task / "function.py")
    await layer.start(api)
    api.invoke(url_event("/cut"))
    post = await api.post()
    assert await post.body() == b"half"
    assert post.trailers["lambda-runtime-function-error-type"] == "Function.ValueError"
    assert "sk-1" not in json.dumps(post.failure())


async def test_the_search_path_is_lambdas(api: FakeRuntimeApi, layer: UnpackedLayer) -> None:
    """The search path is function, layers, standard library, runtime, as on Lambda."""
    layer.code(
        "import os, sys\n"
        "import from_layer, from_site, from_runtime\n"
        "def handler(event, context): return [sys.path, dict(os.environ), sorted(sys.modules)]\n"
    )
    (layer.opt / "python" / "from_layer.py").touch()
    site = layer.opt / "python" / "lib" / VERSION / "site-packages"
    site.mkdir(parents=True)
    (site / "from_site.py").touch()
    (layer.runtime / "from_runtime.py").touch()
    # Each of these names a module of the layer and one of the function's own.
    layer.code("", "context.py")
    await layer.start(api)
    api.invoke({})
    path, env, modules = json.loads(await (await api.post()).read())
    assert path[:3] == [str(layer.task), str(site), str(layer.opt / "python")]
    assert path[-1] == str(layer.runtime)
    assert str(layer.opt / "python" / "lambda_streaming") not in path
    assert any(entry.endswith(VERSION) for entry in path[3:-1])
    assert "PYTHONPATH" not in env
    assert not {"runtime", "asgi", "handler", "logs", "http1"} & set(modules)


async def test_the_interpreter_is_the_one_it_was_given(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """The layer runs on the interpreter that Lambda names."""
    layer.code("import sys\ndef handler(event, context): return sys.executable\n")
    await layer.start(api)
    api.invoke({})
    assert json.loads(await (await api.post()).read()) == sys.executable


@pytest.mark.parametrize(
    "env", [{"AWS_SAM_LOCAL": "true"}, {"LAMBDA_STREAMING_INVOKE_MODE": "BUFFERED"}]
)
async def test_without_streaming_the_ordinary_runtime_is_started(
    layer: UnpackedLayer, env: dict[str, str]
) -> None:
    """Under SAM and behind a buffered URL the ordinary runtime starts."""
    code, output = await ended(await layer.start(None, **env))
    assert code == 0
    told = json.loads(output)
    assert told["argv"] == [str(layer.runtime / "bootstrap.py")]
    assert told["python"] == sys.executable
    given = layer.environment("function.handler", **env)
    added = told["env"].keys() - given.keys() - {"PWD", "SHLVL", "_", "LC_CTYPE", "OLDPWD"}
    assert not added


async def test_an_unknown_mode_is_refused_by_name(layer: UnpackedLayer) -> None:
    """A misspelt mode is an error, since every answer would otherwise begin with garbage."""
    code, output = await ended(await layer.start(None, LAMBDA_STREAMING_INVOKE_MODE="buffered"))
    assert code == 1
    assert "'buffered': expected RESPONSE_STREAM or BUFFERED" in output


@pytest.mark.parametrize("mode", ["RESPONSE_STREAM", "BUFFERED"])
async def test_another_wrapper_is_run_first(
    api: FakeRuntimeApi, layer: UnpackedLayer, mode: str
) -> None:
    """A second wrapper gets our command to run, since Lambda has one wrapper slot."""
    wrapper = layer.opt / "other-wrapper"
    wrapper.write_text('#!/bin/sh\nexport WRAPPED="$*"\nexec "$@"\n')
    wrapper.chmod(0o755)
    layer.code("import os\ndef handler(event, context): return dict(os.environ)\n")
    process = await layer.start(
        api, LAMBDA_STREAMING_EXEC_WRAPPER=str(wrapper), LAMBDA_STREAMING_INVOKE_MODE=mode
    )
    if mode == "BUFFERED":
        script = layer.runtime / "bootstrap.py"
        env = json.loads((await ended(process))[1])["env"]
    else:
        script = layer.opt / "python" / "lambda_streaming" / "__main__.py"
        api.invoke({})
        env = json.loads(await (await api.post()).read())
    assert env["WRAPPED"] == f"{sys.executable} {script}"
    assert "LAMBDA_STREAMING_EXEC_WRAPPER" not in env


@pytest.mark.parametrize(
    ("source", "handler", "expected", "says"),
    [
        ("import no_such_module", "function.handler", "Runtime.ImportModuleError", "no_such"),
        ("", "function.handler", "Runtime.HandlerNotFound", "'handler' is missing"),
        ("def (", "function.handler", "Runtime.UserCodeSyntaxError", "function.py, line 1"),
        ("", "handler", "Runtime.MalformedHandlerName", "expected <module>.<attribute>"),
        ("1 / 0", "function.handler", "Function.ZeroDivisionError", "division by zero"),
        ("raise SystemExit(0)", "function.handler", "Function.SystemExit", "0"),
        (NO_LIFESPAN, "function.handler", "Function.LifespanError", "no lifespan"),
    ],
)
async def test_a_function_that_cannot_start_is_an_init_error(  # noqa: PLR0917 - a table
    api: FakeRuntimeApi, layer: UnpackedLayer, source: str, handler: str, expected: str, says: str
) -> None:
    """The platform gets type and message, the log the stack, and the process ends."""
    layer.code(source)
    process = await layer.start(api, handler)
    post = await api.post()
    assert post.path == "/init/error"
    assert post.header("lambda-runtime-function-error-type") == expected
    error = json.loads(await post.read())
    assert says in error["errorMessage"]
    assert not any("lambda_streaming" in frame for frame in error["stackTrace"])
    code, output = await ended(process)
    assert code == 1
    assert "The function cannot be initialised" in output
    assert "GET /invocation/next" not in api.calls


async def test_import_has_a_loop_that_does_not_run(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """Modules may call asyncio.run or create a Mangum while they are imported."""
    layer.code(
        "import asyncio\n"
        "from mangum import Mangum\n"
        "async def load(): return 42\n"
        "ANSWER = asyncio.get_event_loop().run_until_complete(load())\n"
        "inner = Mangum(lambda *_: None, lifespan='off')\n"
        "def handler(event, context): return ANSWER + asyncio.run(load())\n"
    )
    await layer.start(api)
    api.invoke({})
    assert json.loads(await (await api.post()).read()) == 84


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_lifespan_and_the_process(
    api: FakeRuntimeApi, layer: UnpackedLayer, number: signal.Signals
) -> None:
    """SIGTERM or Ctrl-C ends the lifespan and then the process."""
    layer.code(
        "from contextlib import asynccontextmanager\n"
        "from fastapi import FastAPI\n"
        "from mangum import Mangum\n"
        "@asynccontextmanager\n"
        "async def lifespan(app):\n"
        "    print('up')\n"
        "    yield\n"
        "    print('down')\n"
        "handler = Mangum(FastAPI(lifespan=lifespan))\n"
    )
    process = await layer.start(api)
    await api.polled()
    process.send_signal(number)
    assert await ended(process) == (0, "up\ndown\n")


STUBBORN_APPLICATION = """
import asyncio
from mangum import Mangum
async def app(scope, receive, send):
    print("here")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
handler = Mangum(app, lifespan="off")
"""
STUBBORN_HANDLER = """
import time
def handler(event, context):
    print("here")
    time.sleep(3600)
"""
STUBBORN_LIFESPAN = """
import asyncio, threading
from mangum import Mangum
async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        print("here")
        await asyncio.Event().wait()
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("down", end="")
    SHUTDOWN
handler = Mangum(app)
"""
STUBBORN = {
    "an application that swallows its cancellation": STUBBORN_APPLICATION,
    "a plain handler that sleeps": STUBBORN_HANDLER,
    "a lifespan that does not end": STUBBORN_LIFESPAN.replace(
        "SHUTDOWN", "await asyncio.Event().wait()"
    ),
    "a lifespan that blocks the loop": STUBBORN_LIFESPAN.replace(
        "SHUTDOWN", "threading.Event().wait()"
    ),
    "a thread that runs on": STUBBORN_HANDLER
    + """
import threading
threading.Thread(target=threading.Event().wait).start()
""",
    "a hook at exit that hangs": STUBBORN_APPLICATION.replace("pass", "raise")
    + """
import atexit, threading
atexit.register(threading.Event().wait)
""",
}


@pytest.mark.parametrize("source", STUBBORN.values(), ids=STUBBORN)
async def test_a_signal_ends_the_process_whatever_still_runs_in_it(
    api: FakeRuntimeApi, layer: UnpackedLayer, source: str
) -> None:
    """After a signal nothing that hangs keeps the process alive."""
    layer.code(source)
    process = await layer.start(api)
    api.invoke(URL_EVENT)
    assert process.stdout
    assert await process.stdout.readline() == b"here\n"
    process.terminate()
    code, output = await ended(process)
    assert code == 0
    # An unfinished line is written too.
    assert output == ("down" if "lifespan.startup" in source else "")


async def test_a_lost_runtime_api_ends_the_process_whatever_still_runs_in_it(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """An application that hangs after its 504 does not keep a broken environment alive."""
    layer.code(STUBBORN_APPLICATION)
    process = await layer.start(api)
    api.invoke(URL_EVENT, timeout_ms=700)
    post = await api.post()
    api.statuses["next"] = 500
    assert (await post.prelude())["statusCode"] == 504
    code, output = await ended(process)
    assert code == 1
    assert "It is left behind" in output
    assert "The Runtime API is lost" in output


async def test_a_function_that_cannot_start_ends_whatever_still_runs_in_it(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """Threads of a module whose import failed do not keep the process alive."""
    layer.code("import threading\nthreading.Thread(target=threading.Event().wait).start()\n1 / 0\n")
    assert (await ended(await layer.start(api)))[0] == 1


async def test_a_runtime_api_that_breaks_ends_the_process(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """The process logs the error and exits with a status that makes Lambda start another."""
    layer.code(PLAIN)
    api.statuses["response"] = 500
    process = await layer.start(api)
    api.invoke({})
    code, output = await ended(process)
    assert code == 1
    assert "The Runtime API is lost" in output
    assert "answered 500" in output


async def test_concurrency_is_lambdas_to_set(api: FakeRuntimeApi, layer: UnpackedLayer) -> None:
    """With AWS_LAMBDA_MAX_CONCURRENCY=3 one process polls three times and logs JSON with ids."""
    layer.code(
        "import logging, os, threading\n"
        "meeting = threading.Barrier(3)\n"
        "def handler(event, context):\n"
        "    meeting.wait(20)\n"
        "    logging.warning(context.aws_request_id)\n"
        "    return os.getpid()\n"
    )
    process = await layer.start(api, AWS_LAMBDA_MAX_CONCURRENCY="3", AWS_LAMBDA_LOG_FORMAT="JSON")
    await api.polled(3)
    request_ids = {api.invoke({}) for _ in range(3)}
    pids = {await (await api.post()).read() for _ in range(3)}
    assert pids == {str(process.pid).encode()}
    assert process.stdout
    lines = [json.loads(await process.stdout.readline()) for _ in range(3)]
    assert {line["requestId"] for line in lines} == request_ids
    assert all(line["requestId"] == line["message"] for line in lines)


async def test_application_logs_carry_the_request(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """A line logged in a request, or in its tasks and threads, names the request."""
    layer.code(
        "import asyncio, logging\n"
        "from mangum import Mangum\n"
        "log = logging.getLogger('app')\n"
        "async def say(): log.warning('task')\n"
        "async def app(scope, receive, send):\n"
        "    log.warning('request')\n"
        "    await asyncio.create_task(say())\n"
        "    await asyncio.to_thread(log.warning, 'thread')\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body'})\n"
        "handler = Mangum(app, lifespan='off')\n"
    )
    process = await layer.start(api)
    assert process.stdout
    for _ in range(2):
        request_id = api.invoke(URL_EVENT)
        await (await api.post()).read()
        lines = [(await process.stdout.readline()).decode().split("\t") for _ in range(3)]
        assert [(line[2], line[3]) for line in lines] == [
            (request_id, "request\n"),
            (request_id, "task\n"),
            (request_id, "thread\n"),
        ]


async def test_what_a_handler_prints_shows_up_at_once(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """Output is written at once, not kept in a buffer that a freeze or a kill would lose."""
    layer.code("def handler(event, context): print('hello')\n")
    process = await layer.start(api)
    api.invoke({})
    await (await api.post()).read()
    assert process.stdout
    assert await process.stdout.readline() == b"hello\n"


EXITING = """
from fastapi import FastAPI
from mangum import Mangum
app = FastAPI()
@app.middleware("http")
async def through(request, call_next):
    return await call_next(request)
@app.get("/exit")
async def leave(): raise SystemExit(3)
@app.get("/stay")
async def stay(): return "here"
handler = Mangum(app, lifespan="off")
"""


async def test_an_exit_within_a_middleware_fails_its_own_request_only(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """An exit in a middleware's task fails its own request, although it leaves asyncio's loop."""
    layer.code(EXITING)
    process = await layer.start(api)
    for path, status in (("/exit", 500), ("/stay", 200)):
        api.invoke(url_event(path))
        assert (await (await api.post()).prelude())["statusCode"] == status
    assert process.returncode is None


LATE_POLICY = """
import asyncio
class Policy(asyncio.DefaultEventLoopPolicy): pass
asyncio.set_event_loop_policy(Policy())
def handler(event, context): return 1
"""


async def test_a_policy_that_comes_too_late_is_logged(
    api: FakeRuntimeApi, layer: UnpackedLayer
) -> None:
    """A loop policy that the handler's module sets is ignored with a log line."""
    layer.code(LATE_POLICY)
    process = await layer.start(api)
    api.invoke({})
    assert await (await api.post()).read() == b"1"
    process.kill()
    _, output = await ended(process)
    assert "set too late" in output
