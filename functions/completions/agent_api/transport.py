"""The transports of an agent's clients, built with the SDK's own HTTP library.

It is `httpx2`, or `httpx` if a framework pins an older SDK: both have the same classes. Knows that
library, not what is asked.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Coroutine
from types import ModuleType
from typing import TYPE_CHECKING, Any

from completions.agent_api.client_requests import HttpAnswer

if TYPE_CHECKING:
    import httpx2

Handler = Callable[[str, bytes], Coroutine[Any, Any, HttpAnswer]]


def library_of(client: type[Any]) -> ModuleType:
    """Return the HTTP library of the SDK, by its own client class."""
    return importlib.import_module(client.__mro__[1].__module__.partition(".")[0])


def never_closed(client: type[Any]) -> type[Any]:
    """Return a class of HTTP clients that serve every turn, whoever closes them after one."""

    class NeverClosed(client):  # type: ignore[misc]
        async def aclose(self) -> None:
            """Do nothing: the connections are the turn's."""

    return NeverClosed


def asynchronous(library: Any, handle: Handler) -> httpx2.AsyncBaseTransport:
    """Return a transport whose requests `handle` answers, given path and body."""

    class Events(library.AsyncByteStream):  # type: ignore[misc]
        """The events of an answer; closing it ends the question."""

        def __init__(self, answer: HttpAnswer) -> None:
            assert answer.events is not None  # noqa: S101 - see below
            self._events = answer.events

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for event in self._events:
                yield event

        async def aclose(self) -> None:
            await self._events.aclose()

    class Transport(library.AsyncBaseTransport):  # type: ignore[misc]
        """Puts requests into the turn's race."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            answer = await handle(_path(request), await request.aread())
            content = (
                {"content": answer.body} if answer.events is None else {"stream": Events(answer)}
            )
            response: httpx2.Response = library.Response(
                answer.status, headers=answer.headers, request=request, **content
            )
            return response

    transport: httpx2.AsyncBaseTransport = Transport()
    return transport


def synchronous(library: Any, handle: Callable[[str], HttpAnswer]) -> httpx2.BaseTransport:
    """Return a transport whose requests `handle` answers, given the path."""

    class Transport(library.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            answer = handle(_path(request))
            response: httpx2.Response = library.Response(
                answer.status, headers=answer.headers, request=request, content=answer.body
            )
            return response

    transport: httpx2.BaseTransport = Transport()
    return transport


def _path(request: httpx2.Request) -> str:
    return request.url.path.removeprefix("/v1").rstrip("/")
