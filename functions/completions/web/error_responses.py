"""Errors as HTTP responses; a crash is logged once.

Knows requests and errors, nothing of turns. A caller is told what was wrong and what to do; the log
is told where and what was expected, and neither a key nor what people say.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from completions.errors import CompletionsError, MethodNotAllowed, NotFound, Unauthorized
from completions.observability import identifier, log, reason, shown
from completions.web.request_log import note, path_of


def attend(app: FastAPI) -> None:
    """Has the app's errors told here, each once."""
    app.add_middleware(_Discreet)
    app.add_exception_handler(CompletionsError, _render)
    app.add_exception_handler(HTTPException, _render_http)
    app.add_exception_handler(ClientDisconnect, _render_nothing)


def _base_url(request: Request) -> str:
    """The URL that the caller reached us by, as far as it can be told."""
    try:
        return f"{request.url.scheme}://{request.url.netloc}"
    except ValueError:
        return "https://<function URL>"


class _Discreet:
    """Tells of a bug of ours once, in our own log, and the caller nothing of it.

    Raised further, it would be logged again by the server or by Mangum, with whatever it stumbled
    over: somebody's words.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except OSError:
            raise  # Nobody is there to be answered.
        except Exception:
            log.exception("request.crashed")
        else:
            return
        # NOTE: not in the handler. A server that has a beginning already complains of another one,
        # and would tell the bug as the context of that.
        error = CompletionsError("Internal error; it has been logged.")
        await json_response(to_json(error.body()), error.status)(scope, receive, send)


def json_response(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of JSON that is written already."""
    return Response(body, status, dict(headers or {}), "application/json")


async def _render(_: Request, error: Exception) -> Response:
    assert isinstance(error, CompletionsError)  # noqa: S101 - registered for this class only
    code, why = identifier(error.code), reason(error)
    if error.status >= 500:
        log.error("request.failed", code=code, reason=why)
    elif not isinstance(error, _TOLD):
        log.warning("request.refused", code=code, reason=why, param=identifier(error.param))
    return json_response(to_json(error.body()), error.status, error.headers)


async def _render_http(request: Request, error: Exception) -> Response:
    """FastAPI's own errors: no such path, wrong method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    base, method, path = _base_url(request), request.method, path_of(request)
    note(request)
    log.warning(
        "path.unknown",
        method=shown(method),
        expected=shown(f"POST {base}/v1/chat/completions or POST {base}/v1/responses", 300),
    )
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "POST")
        return await _render(
            request,
            MethodNotAllowed(f"{path} takes {allowed}, not {method}.", headers={"allow": allowed}),
        )
    return await _render(
        request,
        NotFound(
            f"No such path: {method} {path}. Set the server URL to {base}/v1; "
            f"a turn is POST {base}/v1/chat/completions."
        ),
    )


async def _render_nothing(_: Request, __: Exception) -> Response:
    """The caller left in the middle of its request: nobody reads this."""
    log.info("request.abandoned")
    return Response(status_code=400)


_TOLD = (Unauthorized, NotFound, MethodNotAllowed)
"""They have events of their own."""
