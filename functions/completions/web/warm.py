"""`POST …/warm`: does before a call what its first turn would wait for.

Platforms that ask at a call's start wait for the answer, so it is a 200 within a second whatever
fails; the answer and the log say what failed. One request reaches one environment. To reach more,
it calls the function's own URL as well: this one is busy meanwhile, so Lambda uses another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request, Response
from pydantic_core import to_json

from completions.errors import CompletionsError, InvalidRequest, KeyUnavailable, UpstreamTimeout
from completions.observability import bind, count, log
from completions.settings import Candidate
from completions.tools import schemas
from completions.upstream.client import Upstream
from completions.web import body as bodies
from completions.web import request_log
from completions.web.auth import authorise, presented_key
from completions.web.call_starts import call_start
from completions.web.error_responses import json_response
from completions.web.function_url import function_url
from completions.web.readiness import Readiness

LIMIT_S = 0.9
"""The limit for keys and work, so that the answer comes within a second."""
BODY_LIMIT_S = 0.08
"""The limit for the body, which Lambda has read before it calls."""
ENVIRONMENTS_LIMIT = 5
ENVIRONMENTS = "environments"
"""The query parameter: how many environments should be ready."""
BESIDE_HEADER = "x-completions-warm-beside"
"""Marks our own requests. An environment that gets one calls no others, so requests cannot loop."""
STAY_S = 0.2
"""How long our own request stays, so that simultaneous ones reach different environments."""
PATH = "/v1/warm"
_ENVIRONMENT = "environment "
_CALLER_KEY = "caller_key"


@dataclass(slots=True)
class Outcome:
    """What is ready, and why the rest is not."""

    ready: list[str] = field(default_factory=list)
    starting: list[str] = field(default_factory=list)
    """Other environments that were called and have not answered yet: a start takes time."""
    failed: dict[str, str] = field(default_factory=dict)

    def note(self, step: str, error: BaseException | None) -> None:
        """Note how a step ended."""
        if error is None:
            self.ready.append(step)
        elif isinstance(error, CompletionsError):
            self.failed[step] = error.message
        else:
            log.error("request.crashed", exc_info=error)
            self.failed[step] = "Internal error; it has been logged."


class Warming:
    """The route. One per environment."""

    def __init__(
        self, readiness: Readiness, upstream: Upstream, candidates: Sequence[Candidate]
    ) -> None:
        self._readiness = readiness
        self._upstream = upstream
        self._candidates = candidates

    async def answer(self, request: Request) -> tuple[Response, Outcome]:
        """Return the answer and the outcome of the work.

        Raises:
            Unauthorized: No key was sent, or a wrong one.
        """
        began = time.monotonic()
        request_log.bind_request(request)
        ends_at = asyncio.get_running_loop().time() + LIMIT_S
        outcome = Outcome()
        try:
            async with asyncio.timeout_at(ends_at):
                # Do nothing for a caller whose key cannot be checked.
                bind(auth=await authorise(request, self._readiness))
        except KeyUnavailable as error:
            outcome.note(_CALLER_KEY, error)
        except TimeoutError:
            outcome.note(_CALLER_KEY, _too_late())
        # Read even then: a platform starts no call without the answer that it expects, and the key
        # may be there when the first turn comes.
        body = await _body(request)
        if not outcome.failed:
            request_log.bind_body(body)
            await self._work(request, outcome, ends_at)
        start = call_start(body)
        platform = start.platform if start else None
        _tell(outcome, platform, (time.monotonic() - began) * 1000)
        shown: Mapping[str, Any] = start.answer if start else _plain(outcome)
        return json_response(to_json(shown)), outcome

    async def _work(self, request: Request, outcome: Outcome, ends_at: float) -> None:
        beside = BESIDE_HEADER in request.headers
        steps: dict[str, Coroutine[Any, Any, None]] = {}
        for number in range(2, 1 if beside else _environments(request, outcome) + 1):
            steps[f"{_ENVIRONMENT}{number}"] = self._another(request)
        steps["upstream_key"] = self._readiness.upstream_key()
        steps["connection"] = self._readiness.connection()
        steps["imports"] = self._imports()
        if beside:
            steps["stay"] = asyncio.sleep(STAY_S)
        await _together(steps, outcome, ends_at)

    async def _imports(self) -> None:
        self._upstream.warm(self._candidates)
        schemas.warm()

    async def _another(self, request: Request) -> None:
        base_url = function_url(request)
        if base_url is None:
            raise InvalidRequest("Only a Function URL has other environments.")
        headers = {"x-api-key": presented_key(request), BESIDE_HEADER: "1"}
        await self._upstream.invoke_self(base_url, PATH, headers)


async def _together(
    steps: Mapping[str, Coroutine[Any, Any, None]], outcome: Outcome, ends_at: float
) -> None:
    """Run all steps at the same time until they are done or the time is up."""
    loop = asyncio.get_running_loop()
    tasks = {name: loop.create_task(step) for name, step in steps.items()}
    try:
        await asyncio.wait(tasks.values(), timeout=max(0.0, ends_at - loop.time()))
        for name, task in tasks.items():
            if task.done():
                outcome.note(name, task.exception())
            elif name.startswith(_ENVIRONMENT):
                outcome.starting.append(name)
            else:
                outcome.note(name, _too_late())
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _body(request: Request) -> Mapping[str, Any]:
    """Return the body, or an empty one if it cannot be read in time."""
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            return await bodies.read_json_object(request)
    except (CompletionsError, TimeoutError):
        return {}


def _environments(request: Request, outcome: Outcome) -> int:
    """Return the requested number of environments, or one if it cannot be understood."""
    text = request.query_params.get(ENVIRONMENTS, "1")
    if text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= ENVIRONMENTS_LIMIT:
        return int(text[:4])
    outcome.failed[ENVIRONMENTS] = f"{ENVIRONMENTS} must be 1 to {ENVIRONMENTS_LIMIT}."
    return 1


def _too_late() -> CompletionsError:
    return UpstreamTimeout(f"Not within {LIMIT_S:g} s; it may still become ready.")


def _plain(outcome: Outcome) -> dict[str, Any]:
    status = "not_ready" if outcome.failed else "ready"
    return {
        "status": status,
        "ready": outcome.ready,
        "starting": outcome.starting,
        "failed": outcome.failed,
    }


def _tell(outcome: Outcome, platform: str | None, warm_ms: float) -> None:
    count("Warmups")
    facts: dict[str, Any] = {
        "ready": outcome.ready,
        "starting": outcome.starting,
        "failed": sorted(outcome.failed),
        "platform": platform or "other",
        "warm_ms": round(warm_ms, 1),
    }
    if outcome.failed:
        log.warning("environment.warmed", **facts)
    else:
        log.info("environment.warmed", **facts)
