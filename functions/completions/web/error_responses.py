"""Errors as HTTP responses; a crash is logged once.

The caller learns what was wrong and what to do. The log learns where it happened and what was
expected, but no key and nothing that people say. Knows requests and errors, not turns.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from completions.errors import CompletionsError, MethodNotAllowed, NotFound, Unauthorized
from completions.observability import (
    identifier,
    log,
    loggable_message,
    printable,
    redacted_path,
)
from completions.web.request_log import bind_request, path_of

_LOGGED_ELSEWHERE = (Unauthorized, NotFound, MethodNotAllowed)
"""Refusals with their own events: `auth.refused` and `path.unknown`."""


def install(app: FastAPI) -> None:
    """Have this module log and answer every error of `app`."""
    app.add_middleware(_CrashMiddleware)
    app.add_exception_handler(CompletionsError, _render_error)
    app.add_exception_handler(HTTPException, _render_routing_error)
    app.add_exception_handler(ClientDisconnect, _render_disconnect)


def json_response(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response whose body already is JSON."""
    return Response(body, status, dict(headers or {}), "application/json")


class _CrashMiddleware:
    """Log an unhandled exception once; answer a bare 500.

    Raised further, it would be logged again by the server or Mangum, with its message, which may
    quote what a caller said.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except OSError:
            raise  # The connection is gone, so nobody can be answered.
        except Exception:  # Any other exception is a bug of ours.
            log.exception("request.crashed")
        else:
            return
        # NOTE: outside the `except`. If the response has started, the server raises at a second
        # start, and inside it would log the bug again, as the context of that error.
        error = CompletionsError("Internal error; it has been logged.")
        await json_response(to_json(error.body()), error.status)(scope, receive, send)


async def _render_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, CompletionsError)  # noqa: S101 - registered for this class only
    code, why = identifier(error.code), loggable_message(error)
    if error.status >= 500:
        log.error("request.failed", code=code, reason=why)
    elif not isinstance(error, _LOGGED_ELSEWHERE):
        log.warning("request.refused", code=code, reason=why, param=identifier(error.param))
    return json_response(to_json(error.body()), error.status, error.headers)


async def _render_routing_error(request: Request, error: Exception) -> Response:
    """Answer the framework's own errors: no such path, or the wrong method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    # A key pasted into the path is never repeated: platforms log what they get.
    base, path = _base_url(request), redacted_path(path_of(request))
    method = redacted_path(request.method)
    bind_request(request)
    log.warning(
        "path.unknown",
        method=method,
        expected=printable(f"POST {base}/v1/chat/completions or POST {base}/v1/responses", 300),
    )
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "POST")
        return await _render_error(
            request,
            MethodNotAllowed(f"{path} takes {allowed}, not {method}.", headers={"allow": allowed}),
        )
    message = f"No such path: {method} {path}. {_url_advice(path, base)}"
    return await _render_error(request, NotFound(message))


def _url_advice(path: str, base: str) -> str:
    """Return advice on the URL to give to a client; some post to it unchanged."""
    turn = f"POST {base}/v1/chat/completions"
    if path.rstrip("/").endswith("/completions"):
        # LlamaIndex, for example, uses it unless it is told that the model can chat.
        return (
            "The older completions API is not served. Set the client to chat completions "
            f"(LlamaIndex: is_chat_model=True), with the base URL {base}/v1; a turn is {turn}."
        )
    return (
        f"Set the server URL to {base}/v1; a turn is {turn}. Set that whole URL where a platform "
        "posts to it unchanged."
    )


async def _render_disconnect(_: Request, __: Exception) -> Response:
    """Answer a caller who left mid-request; nobody reads this answer."""
    log.info("request.abandoned")
    return Response(status_code=400)


def _base_url(request: Request) -> str:
    """Return the scheme and host by which the caller reached us, or a placeholder."""
    try:
        return f"{request.url.scheme}://{request.url.netloc}"
    except ValueError:  # A malformed Host, as in `request_log.path_of`.
        return "https://<function URL>"
