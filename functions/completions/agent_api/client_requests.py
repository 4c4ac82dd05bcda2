"""One HTTP request of an agent's client, answered by the turn.

Knows paths, statuses and bodies, but neither the SDK nor its HTTP library. Any failure is an HTTP
answer: the SDK would take a transport's exception for a broken connection, and retry.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json

from completions.agent_api import platform_tools
from completions.agent_api.agent_run import Run, let_others_run
from completions.agent_api.replies import Reply, bug
from completions.dialects import chat, responses
from completions.dialects.dialect import Dialect
from completions.errors import CompletionsError, InvalidRequest, NotFound, NoTurn
from completions.observability import log

_DIALECTS: dict[str, Dialect] = {chat.path: chat, responses.path: responses}
EMBEDDINGS = "/embeddings"


@dataclass(slots=True)
class HttpAnswer:
    """The answer to one request: its `body` in one piece, or its `events` as they come."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b""
    events: AsyncGenerator[bytes, None] | None = None


async def handle(
    run: Run | None, path: str, body: bytes, *, with_platform_tools: bool
) -> HttpAnswer:
    """Answer a request of an agent's client; `path` is what follows its base URL."""
    if run is None:
        return refusal(NoTurn())
    try:
        run.check()
        if path == EMBEDDINGS:
            return HttpAnswer(body=await run.embed(path, _decoded(body)))
        dialect = _dialect_of(path)
        return await _ask_models(
            run, dialect, _decoded(body), with_platform_tools=with_platform_tools
        )
    except CompletionsError as error:
        await let_others_run()
        return refusal(error)
    except Exception:
        log.exception("agent.client_crashed")
        return refusal(bug())


def refusal(error: CompletionsError) -> HttpAnswer:
    """Return an error for the SDK to raise without a retry, which would ask the same models."""
    headers = {**error.headers, "content-type": "application/json", "x-should-retry": "false"}
    return HttpAnswer(error.status, headers, to_json(error.body()))


async def _ask_models(
    run: Run, dialect: Dialect, body: dict[str, Any], *, with_platform_tools: bool
) -> HttpAnswer:
    if run.handed_over and with_platform_tools:
        await run.stop_agent()
    _check(body)
    streamed = body.get("stream") is True
    caller = run.questions.callers_request
    platform: frozenset[str] = frozenset()
    if with_platform_tools and caller.offered:
        body, platform = platform_tools.added(body, dialect, caller.body.get("tools") or ())
    request = dialect.parse({**body, "stream": True})
    reply = Reply(dialect, run.questions.as_callers(request), run, platform)
    try:
        await reply.begin()
    except BaseException:
        await reply.close()
        raise
    if streamed:
        return HttpAnswer(headers={"content-type": "text/event-stream"}, events=reply.events())
    return HttpAnswer(body=await reply.body())


def _dialect_of(path: str) -> Dialect:
    if (dialect := _DIALECTS.get(path)) is not None:
        return dialect
    raise NotFound(
        "An agent's client has /chat/completions, /responses and /embeddings, and not "
        f"'{path[:80]}'."
    )


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        decoded = from_json(body or b"null")
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise InvalidRequest("An agent's client sends JSON objects, by POST.")
    return decoded


def _check(body: dict[str, Any]) -> None:
    """Refuse, by field name, what a turn does not ask its models for.

    Raises:
        InvalidRequest: names the field.
    """
    answers = body.get("n")
    if isinstance(answers, int) and answers > 1:
        raise InvalidRequest("An agent's client asks for one answer at a time: n=1.", param="n")
    modalities = body.get("modalities") or ["text"]
    if body.get("audio") or modalities != ["text"]:
        raise InvalidRequest(
            "An agent's client asks for text, not for audio.",
            param="audio" if body.get("audio") else "modalities",
        )
