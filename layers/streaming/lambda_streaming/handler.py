"""The function's handler: found by name, and called as its kind requires.

A Mangum is recognised by what the layer uses: `infer`, which turns an event into an ASGI scope, and
`app`. Mangum itself is never imported, so any version and any look-alike will do. Every other
handler is a plain function, called as AWS's own runtime calls it.
"""

import asyncio
import importlib
import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from inspect import iscoroutinefunction, isfunction
from typing import Any, NamedTuple, Protocol, TypeGuard

from lambda_streaming.asgi import Scope
from lambda_streaming.context import LambdaContext
from lambda_streaming.failures import PlatformError

log = logging.getLogger(__name__)

Handler = Callable[[Any, LambdaContext], Any]


class Mangum(Protocol):
    """What the layer uses of a Mangum handler."""

    @property
    def app(self) -> Any:
        """The ASGI application."""

    @property
    def lifespan(self) -> str:
        """Its mode: "auto", "on" or "off"."""

    def infer(self, event: Any, context: Any, /) -> Any:
        """Make an object with `scope` and `body`; raises RuntimeError if `event` is not HTTP.

        Called with a response, the object turns it into the handler's result.
        """


class Request(NamedTuple):
    """An HTTP event, read; `finish` turns a buffered response into the handler's result."""

    scope: Scope
    body: bytes
    finish: Callable[[dict[str, Any]], Any]


class BadEventError(Exception):
    """An HTTP event that cannot be turned into a request."""


def find(name: str) -> Handler:
    """Return the object that `name` (`package.module.attribute`) refers to.

    Raises:
        PlatformError: There is none, or it cannot be called.
        Exception: Anything that the module raises while it is imported.
    """
    module_name, _, attribute = name.rpartition(".")
    module_name = module_name.replace("/", ".")
    if not module_name:
        raise PlatformError(
            "Runtime.MalformedHandlerName", f"Bad handler {name!r}: expected <module>.<attribute>"
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise PlatformError(
            "Runtime.BuiltInModuleConflict",
            f"Cannot use the built-in module {module_name!r} as a handler module",
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise PlatformError(
            "Runtime.ImportModuleError", f"Unable to import module {module_name!r}: {error}"
        ) from error
    except SyntaxError as error:
        raise PlatformError(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module {module_name!r}: {error}"
        ) from error
    handler: Any = getattr(module, attribute, None)
    if not callable(handler):
        raise PlatformError(
            "Runtime.HandlerNotFound",
            f"Handler {attribute!r} is missing on module {module_name!r} or cannot be called",
        )
    if iscoroutinefunction(handler):
        raise PlatformError(
            "Function.AsyncHandlerError",
            f"Handler {name!r} is an async function. Lambda calls plain functions; wrap an ASGI "
            "application in Mangum instead",
        )
    _warn_if_decorated(handler, name)
    found: Handler = handler
    return found


def is_mangum(handler: object) -> TypeGuard[Mangum]:
    """Whether `handler` can be asked for a request and an application without skipping any code.

    Its `__call__` must be the one that was written beside `infer`. A subclass or a tracer with its
    own may refuse callers there, so such a handler is called, not bypassed.
    """
    if not _looks_like_mangum(handler):
        return False
    kind = type(handler)
    origins = [vars(cls).get("__call__") for cls in kind.__mro__ if "infer" in vars(cls)]
    if not origins or kind.__call__ is not origins[-1]:
        return False
    return isfunction(origins[-1]) and not hasattr(origins[-1], "__wrapped__")


def _looks_like_mangum(handler: object) -> bool:
    return callable(getattr(handler, "infer", None)) and callable(getattr(handler, "app", None))


def read_request(mangum: Mangum, event: Any, context: LambdaContext) -> Request | None:
    """Return what Mangum makes of an HTTP event; None for an event of another kind.

    Raises:
        BadEventError: The event looks like HTTP, but Mangum cannot read it: a host with two
            colons, a null where a header should be, a body that is not base64.
    """
    try:
        request = mangum.infer(event, context)
    except RuntimeError:
        return None
    except Exception as error:
        if isinstance(event, dict) and "requestContext" in event:
            raise BadEventError(repr(error)) from error
        return None
    try:
        # NOTE: Mangum computes both anew at each access.
        return Request(request.scope, request.body, request)
    except Exception as error:
        raise BadEventError(repr(error)) from error


class OrdinaryCalls:
    """Calls handlers as AWS's own runtime does, in threads, so that the loop stays free."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._threads: Executor | None = None
        self._loops: list[asyncio.AbstractEventLoop] = []

    async def call(self, handler: Handler, event: Any, context: LambdaContext) -> Any:
        """Return what `handler` returns.

        Raises:
            PlatformError: The handler raised something, such as SystemExit, that would end more
                than its own invocation.
            Exception: Anything else that the handler raises.
        """
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor  # streaming functions do not need it

            self._threads = ThreadPoolExecutor(self._concurrency, "handler", self._set_event_loop)
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, copy_context().run, _call, handler, event, context
        )

    def close(self) -> None:
        """End the threads, once their calls are over."""
        if self._threads:
            self._threads.shutdown()
        for loop in self._loops:
            loop.close()

    def _set_event_loop(self) -> None:
        """Give the thread an event loop, which a Mangum called within a plain handler needs."""
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self._loops.append(loop)


def encode(result: Any) -> tuple[bytes, str]:
    """Return a handler's result as AWS's own runtime posts it, with its content type.

    Raises:
        PlatformError: It cannot be JSON.
    """
    if isinstance(result, bytes):
        return result, "application/unknown"
    try:
        text = json.dumps(result, ensure_ascii=False, default=_number)
        return text.encode(), "application/json"
    except (TypeError, ValueError) as error:
        raise PlatformError(
            "Runtime.MarshalError", f"Unable to marshal response: {error}"
        ) from error


def _call(handler: Handler, event: Any, context: LambdaContext) -> Any:
    try:
        return handler(event, context)  # the last of our frames in a handler's stack trace
    except Exception:
        raise
    except BaseException as error:
        # NOTE: AWS's own runtime lets `sys.exit()` end the process. Ours may serve other
        # invocations: SystemExit would stop their loop, CancelledError pass for our cancellation.
        raise PlatformError(f"Function.{type(error).__name__}", str(error)) from error


def _number(value: object) -> int | float:
    from decimal import Decimal  # rarely needed, and not free

    if not isinstance(value, Decimal):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    whole = value.is_finite() and value == value.to_integral_value()
    return int(value) if whole else float(value)


def _warn_if_decorated(handler: object, name: str) -> None:
    """Say why a Mangum with something in front of it does not stream.

    A decorator, or a subclass with its own `__call__`, expects the finished result. Bypassing it
    would skip its work, which may be authorisation, so it is called as a plain function.
    """
    inner: object = handler
    while inner is not None:
        if is_mangum(inner) and inner is handler:
            return
        if _looks_like_mangum(inner):
            log.warning(
                "%s is a Mangum with a decorator or its own `__call__`, so it is called as a plain "
                "function and cannot stream. Move the code before Mangum into ASGI middleware.",
                name,
            )
            return
        inner = getattr(inner, "__wrapped__", None)
