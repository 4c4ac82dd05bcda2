"""Finding the handler and calling it."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import wrapt
from mangum import Mangum

from lambda_streaming.asgi import Receive, Scope, Send
from lambda_streaming.context import LambdaContext, current
from lambda_streaming.failures import PlatformError, of_handler
from lambda_streaming.handler import (
    BadEventError,
    OrdinaryCalls,
    encode,
    find,
    is_mangum,
    read_request,
)
from tests.unit.streaming.test_context import INVOCATION

URL_EVENT = json.loads(
    (Path(__file__).parents[2] / "reference" / "url-event.json").read_text("utf-8")
)
CONTEXT = LambdaContext(INVOCATION)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The application that Mangum wraps in these tests; it is never called."""


@pytest.fixture
def calls() -> Iterator[OrdinaryCalls]:
    ordinary = OrdinaryCalls(1)
    yield ordinary
    ordinary.close()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a module with this source and return its name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str, name: str = "lambda_module_under_test") -> str:
        (tmp_path / f"{name}.py").write_text(source, "utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


def test_a_handler_is_found_by_its_name(module: Callable[[str], str], tmp_path: Path) -> None:
    """Packages may be written with dots, or with slashes as AWS allows."""
    name = module("def handler(event, context): return 1")
    assert find(f"{name}.handler")({}, CONTEXT) == 1
    (tmp_path / "package_under_test").mkdir()
    (tmp_path / "package_under_test" / "inner.py").write_text("handler = print")
    assert find("package_under_test/inner.handler") is print


@pytest.mark.parametrize(
    ("source", "attribute", "expected", "says"),
    [
        ("import no_such_module", "x", "Runtime.ImportModuleError", "no_such_module"),
        ("def (:", "x", "Runtime.UserCodeSyntaxError", "invalid syntax"),
        ("", "handler", "Runtime.HandlerNotFound", "'handler' is missing"),
        ("handler = 1", "handler", "Runtime.HandlerNotFound", "cannot be called"),
        ("async def f(e, c): ...", "f", "Function.AsyncHandlerError", "wrap an ASGI application"),
    ],
)
def test_a_handler_that_cannot_be_found_is_lambdas_init_error(
    module: Callable[[str], str], source: str, attribute: str, expected: str, says: str
) -> None:
    """Init errors have the types that AWS's own runtime reports, and say what is wrong."""
    with pytest.raises(PlatformError, match=says) as caught:
        find(f"{module(source)}.{attribute}")
    assert caught.value.type == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "Runtime.MalformedHandlerName"),
        ("handler", "Runtime.MalformedHandlerName"),
        ("no_such_module.handler", "Runtime.ImportModuleError"),
        ("sys.exit", "Runtime.BuiltInModuleConflict"),
    ],
)
def test_an_unknown_module_is_lambdas_init_error(name: str, expected: str) -> None:
    """A name without a module, with an unknown one or with a built-in one is an init error."""
    with pytest.raises(PlatformError) as caught:
        find(name)
    assert caught.value.type == expected


def test_what_a_module_raises_is_not_wrapped(module: Callable[[str], str]) -> None:
    """The function's own import error keeps its class, and its stack begins in the function."""
    name = module("1 / 0")
    with pytest.raises(ZeroDivisionError) as caught:
        find(f"{name}.handler")
    failure = of_handler(caught.value)
    assert failure.type == "Function.ZeroDivisionError"
    assert (
        "lambda_module_under_test.py" in failure.body["stackTrace"][-1]
    )  # before it: pytest's import hook


class Custom(Mangum):
    """An event handler of the owner's."""

    def infer(self, event: Any, context: Any) -> Any:
        """Read events as Mangum does."""
        return super().infer(event, context)


class Guarded(Mangum):
    """A subclass that refuses callers before Mangum sees them."""

    def __call__(self, event: Any, context: Any) -> Any:
        """Refuse."""
        return {"statusCode": 403}


async def test_mangum_and_its_subclasses_are_recognised() -> None:
    """Mangum and its subclasses with other event handlers are taken; a function is not."""
    assert is_mangum(Mangum(application, lifespan="off"))
    assert is_mangum(Custom(application, lifespan="off"))
    assert not is_mangum(lambda event, context: None)
    assert not is_mangum(None)


def decorated() -> Any:
    inner = Mangum(application, lifespan="off")

    @functools.wraps(inner)
    def handler(event: Any, context: Any) -> Any:
        return inner(event, context)

    return handler


def wrapped() -> Any:
    """Return a proxy that reports the type of what it wraps, as instrumentations do."""
    return wrapt.FunctionWrapper(
        Mangum(application, lifespan="off"), lambda inner, _self, args, kwargs: inner(*args)
    )


def guarded() -> Any:
    return Guarded(application, lifespan="off")


def patched() -> Any:
    """Patch Mangum's `__call__` with one that wraps it."""
    look_alike = type("LookAlike", (), {**vars(Mangum)})
    original = look_alike.__call__

    @functools.wraps(original)
    def call(self: Any, event: Any, context: Any) -> Any:
        return original(self, event, context)

    look_alike.__call__ = call  # type: ignore[method-assign]
    handler: Any = look_alike(application, lifespan="off")
    return handler


@pytest.mark.parametrize("make", [decorated, wrapped, guarded, patched])
async def test_a_wrapper_around_mangum_is_not_bypassed(
    module: Callable[[str], str], caplog: pytest.LogCaptureFixture, make: Callable[[], Any]
) -> None:
    """A wrapped Mangum is called as a plain function, since the wrapper may authorise callers."""
    name = module("handler = None")
    sys.modules.pop(name, None)
    __import__(name)
    sys.modules[name].handler = make()  # type: ignore[attr-defined]
    assert not is_mangum(find(f"{name}.handler"))
    assert "cannot stream" in caplog.text


async def test_an_http_event_becomes_a_scope_and_a_body() -> None:
    """Mangum's own reading of the event is used, context included."""
    mangum = Mangum(application, lifespan="off")
    request = read_request(mangum, {**URL_EVENT, "body": "hi"}, CONTEXT)
    assert request
    scope, body, _ = request
    assert (scope["type"], scope["method"], scope["path"]) == ("http", "GET", "/sse")
    assert scope["aws.context"] is CONTEXT
    assert body == b"hi"


def test_scope_and_body_are_computed_once() -> None:
    """Mangum would compute them at each access, and a body may have six megabytes."""
    reads: list[str] = []

    class Request:
        @property
        def scope(self) -> Scope:
            reads.append("scope")
            return {}

        @property
        def body(self) -> bytes:
            reads.append("body")
            return b""

    class Handler:
        app = staticmethod(application)
        lifespan = "off"

        def infer(self, event: Any, context: Any) -> Request:
            return Request()

    request = read_request(Handler(), {}, CONTEXT)
    assert request
    assert request[:2] == ({}, b"")
    assert reads == ["scope", "body"]


@pytest.mark.parametrize("event", [{}, {"Records": [{"eventSource": "aws:sqs"}]}, [], 1, None, "x"])
async def test_an_event_that_is_not_http_is_no_request(event: Any) -> None:
    """Scheduled events, queues and malformed events go to the ordinary call."""
    assert read_request(Mangum(application, lifespan="off"), event, CONTEXT) is None


ODD = {
    "two colons in the host": {**URL_EVENT, "headers": {"host": "a:b"}},
    "an IPv6 host": {**URL_EVENT, "headers": {"host": "[::1]:1"}},
    "a null header": {**URL_EVENT, "headers": {"x": None}},
    "null headers": {**URL_EVENT, "headers": None},
    "a body that is not base64": {**URL_EVENT, "body": "a", "isBase64Encoded": True},
    "a body with half a surrogate": {**URL_EVENT, "body": "\ud800"},
    "no request context": {**URL_EVENT, "requestContext": None},
    "no http in the context": {**URL_EVENT, "requestContext": {}},
}


@pytest.mark.parametrize("event", ODD.values(), ids=ODD)
async def test_an_http_event_that_mangum_cannot_read_is_a_bad_event(event: Any) -> None:
    """An exception of Mangum's while it reads an event is a bad event."""
    with pytest.raises(BadEventError):
        read_request(Mangum(application, lifespan="off"), event, CONTEXT)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"ü": [1, None]}, '{"ü": [1, null]}'),
        (None, "null"),
        ({"n": Decimal(7), "x": Decimal("0.5")}, '{"n": 7, "x": 0.5}'),
    ],
)
def test_a_plain_handlers_result_is_json(result: Any, expected: str) -> None:
    """The JSON is the ordinary runtime's, decimals (DynamoDB's numbers) included."""
    assert encode(result) == (expected.encode(), "application/json")


def test_bytes_go_out_as_they_are() -> None:
    """Bytes are not encoded, as in the ordinary runtime."""
    assert encode(b"\xff") == (b"\xff", "application/unknown")


@pytest.mark.parametrize("result", [object(), {1, 2}, "\ud800"])
def test_a_result_that_is_not_json_is_a_marshal_error(result: Any) -> None:
    """The error has the platform's name for it."""
    with pytest.raises(PlatformError) as caught:
        encode(result)
    assert caught.value.type == "Runtime.MarshalError"


async def test_a_plain_handler_runs_beside_the_loop_and_knows_its_invocation(
    calls: OrdinaryCalls,
) -> None:
    """It runs in a thread, with the context variables of its invocation."""
    seen: list[Any] = []

    def handler(event: Any, context: Any) -> None:
        seen.extend([threading.current_thread(), current.get(), event])

    current.set(CONTEXT)
    await calls.call(handler, {"e": 1}, CONTEXT)
    assert seen[0] is not threading.main_thread()
    assert seen[1:] == [CONTEXT, {"e": 1}]


async def test_a_plain_handlers_stack_begins_in_the_handler(calls: OrdinaryCalls) -> None:
    """The stack has no frames of the layer or of the thread pool."""

    def handler(event: Any, context: Any) -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad") as caught:
        await calls.call(handler, {}, CONTEXT)
    (frame,) = of_handler(caught.value).body["stackTrace"]
    assert "in handler" in frame


async def test_a_mangum_called_within_a_plain_handler_answers(calls: OrdinaryCalls) -> None:
    """The thread of a plain handler has an event loop for Mangum."""

    async def hello(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    mangum = Mangum(hello, lifespan="off")

    def handler(event: Any, context: Any) -> Any:
        return mangum(event, context)

    answer = await calls.call(handler, URL_EVENT, CONTEXT)
    assert answer["statusCode"] == 200
