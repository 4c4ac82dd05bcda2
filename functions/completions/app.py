"""The composition root: routes, wiring, and the handler that Lambda calls.

Importing it defines everything and contacts nobody: no network, no AWS. What an environment keeps
between turns (keys, connections) belongs to the app, not to a module.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from mangum import Mangum
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from completions import snapshot
from completions.dialects import chat, responses
from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.errors import (
    ChainNotFound,
    KeyUnavailable,
    Unauthorized,
)
from completions.keys.keys import Keys
from completions.observability import allow_content, bind
from completions.quirks.quirks import Quirks
from completions.race.health import Health
from completions.settings import Settings
from completions.turn import report
from completions.turn.plan import AppState, Arrival
from completions.turn.turn import Turn
from completions.upstream.client import Upstream
from completions.web import (
    body,
    caller_info,
    conversation,
    error_responses,
    models,
    paths,
    request_log,
    request_options,
    warm,
)
from completions.web.auth import authorise
from completions.web.readiness import Readiness

if TYPE_CHECKING:
    from completions.agent_api.loading import Responder

paths.register()


def create_app(
    settings: Settings, keys: Keys | None = None, upstream: Upstream | None = None
) -> FastAPI:
    """Build the whole application. Tests pass keys or an upstream of their own.

    Raises:
        ResponderError: the responder that the deployment names cannot be used.
    """
    keys = keys or Keys(
        settings.caller_key_secret,
        settings.upstream_key_secret,
        base_urls={candidate.key: candidate.base_url for candidate in settings.candidates},
        ttl_s=settings.key_ttl_s,
    )
    upstream = upstream or Upstream(keys)
    health = Health()
    readiness = Readiness(keys, upstream, lambda: health.order(settings.candidates)[0])
    state = AppState(
        settings,
        upstream,
        health,
        Quirks(),
        _load_agent(settings.responder) if settings.responder else None,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await upstream.close()

    app = FastAPI(
        lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    error_responses.install(app)
    app.add_middleware(_SettleMiddleware, readiness=readiness)
    if settings.allowed_origins:
        _allow_browsers(app, settings.allowed_origins)

    snapshot.register(settings, keys, upstream)

    cold = True

    async def turn(request: Request, dialect: Dialect) -> Response:
        nonlocal cold
        arrival = _arrival(request, settings.timeout_s, cold=cold)
        # A snapshot is taken before the first request, so environments restored from it start cold.
        cold = False
        allow_content(allowed=settings.log_content)
        request_log.bind_request(request)
        try:
            bind(auth=await authorise(request, readiness))
            content = await body.read_json_object(request)
            request_log.bind_body(content)
            parsed = body.parse(dialect, content, conversation.custom_session(request))
            _check_can_be_served(parsed, settings)
            parsed = request_options.with_buffer_words(parsed, request)
            if settings.responder:
                parsed = caller_info.with_caller_info(parsed, request, content)
            on_failure = request_options.on_failure(request, settings)
            comments = request_options.wants_comments(request)
        except (Unauthorized, ClientDisconnect):
            cold = cold or arrival.cold  # This was no turn, so the next one is still the first.
            raise
        except asyncio.CancelledError:
            # Only a read of the keys can last until the layer stops a request at its deadline.
            error = KeyUnavailable("The keys came too late for this function's time.")
            report.not_started(dialect, error, arrival)
            raise
        except Exception as error:
            report.not_started(dialect, error, arrival)
            raise
        return Turn(state, dialect, parsed, arrival, on_failure=on_failure, comments=comments)

    async def chat_completions(request: Request) -> Response:
        return await turn(request, chat)

    async def create_response(request: Request) -> Response:
        return await turn(request, responses)

    # Plain routes: FastAPI's dependencies, which a turn does not need, cost 5 % of its processor
    # time (measured 2026-11-22).
    app.add_route("/{prefix:prefix}chat/completions{slashes:slashes}", chat_completions, ["POST"])
    app.add_route("/{prefix:prefix}responses{slashes:slashes}", create_response, ["POST"])

    warming = warm.Warming(readiness, upstream, settings.candidates)

    async def warm_up(request: Request) -> Response:
        nonlocal cold
        response, outcome = await warming.answer(request)
        # Everything that a first turn would wait for is done, so no turn counts as first.
        cold = cold and bool(outcome.failed)
        return response

    app.add_route("/{prefix:prefix}warm{slashes:slashes}", warm_up, ["POST"])

    @app.get("/{prefix:prefix}models{slashes:slashes}")
    async def list_models(request: Request) -> Response:
        request_log.bind_request(request)
        await authorise(request, keys)
        return error_responses.json_response(
            to_json({"object": "list", "data": await models.available(settings, upstream)})
        )

    @app.get("/{prefix:prefix}openapi.json{slashes:slashes}")
    async def openapi_json(request: Request) -> Response:
        request_log.bind_request(request)
        await authorise(request, keys)
        return error_responses.json_response(to_json(app.openapi()))

    # FastAPI's own document would show the path converters and no bodies: the routes are untyped.
    app.openapi = _openapi_document  # type: ignore[method-assign]

    @app.get("/{prefix:prefix}health{slashes:slashes}")
    async def healthy() -> Response:
        return error_responses.json_response(b'{"status":"ok"}')

    # Last, because the name of a model may hold any path (`meta-llama/Llama-3.3-70B`).
    @app.get("/{prefix:short}models/{model:path}")
    async def one_model(request: Request) -> Response:
        request_log.bind_request(request)
        await authorise(request, keys)
        name = request.path_params["model"].rstrip("/")
        return error_responses.json_response(to_json(await models.find(name, settings, upstream)))

    return app


def _load_agent(name: str) -> Responder:
    """Return the deployment's agent; a deployment without one imports nothing of this."""
    from completions import responder

    return responder.load(name)


def _allow_browsers(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Answer preflights, and let pages of these origins read what they get (fetch.spec.whatwg.org).

    Errors are readable, too: this middleware is the outermost one.
    """
    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        expose_headers=("retry-after",),
    )


class _SettleMiddleware:
    """Hold a request's end while something is under way that a freeze would break."""

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        await self._readiness.settle()


def _check_can_be_served(parsed: ParsedRequest, settings: Settings) -> None:
    """Raise ModelNotFound or ChainNotFound for what this deployment cannot answer."""
    models.check_allowed(parsed.model, settings)
    if settings.responder and parsed.chained:
        raise ChainNotFound  # An agent has only the history that it gets.


def _openapi_document() -> dict[str, Any]:
    from completions.web import openapi  # Rarely requested.

    return openapi.document()


def _arrival(request: Request, timeout_s: int, *, cold: bool) -> Arrival:
    """Return when the Function URL received the request, and how much time Lambda leaves for it.

    Outside Lambda neither is known; a server that ends requests is known by `timeout_s`, if not 0.
    """
    context = request.scope.get("aws.context")
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    try:
        epoch_s = request.scope["aws.event"]["requestContext"]["timeEpoch"] / 1000
    except (KeyError, TypeError):
        epoch_s = None
    remaining_s = (timeout_s or None) if remaining is None else remaining() / 1000
    return Arrival(epoch_s, remaining_s, asyncio.get_running_loop().time(), cold)


app = create_app(Settings.from_environment(os.environ))
handler = Mangum(app, lifespan="off")
