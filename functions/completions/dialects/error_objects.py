"""Reads what a model API says when it refuses or fails, in every shape that APIs use.

OpenAI's is an object `error` with message, type, code and param (platform.openai.com/docs/guides/
error-codes). Others put a list around it, a list of details or JSON as text into `message`, the
reason into `metadata.raw`, or omit `error`. So no code here belongs to one vendor: texts, scalars
and places are collected wherever they are known to appear. Does not know requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from completions.errors import CompletionsError, UpstreamRefused, UpstreamUnavailable

DEPTH_LIMIT = 8
TEXTS_LIMIT = 32
"""At most this many texts and places are read; validators list each field of each message."""

_SAID_IN = (
    "error",
    "errors",
    "message",
    "Message",
    "msg",
    "detail",
    "details",
    "description",
    "metadata",
    "raw",
    "fieldViolations",
)
"""Fields that hold texts, or objects with texts. `description` is google.rpc.BadRequest's."""
_NO_FIELDS = frozenset({"body", "query", "validation_error"})
"""Words in `param` or `loc` that are not fields."""
_PYTHON_LOC = re.compile(r"'loc': \(([^()]*)\)")
"""A pydantic error as text (vLLM): `[{'type': …, 'loc': ('body', 'x'), …}]`."""
_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "content_filter": 400,
}


@dataclass(slots=True)
class ErrorObject:
    """An API's refusal. Scalars are None where they are missing or not text."""

    texts: list[str] = field(default_factory=list)
    type: str | None = None
    code: str | None = None
    param: str | None = None
    fields: list[str] = field(default_factory=list)
    """Where the culprit is, if a separate field says so: paths like `a.b[0].c`."""

    @property
    def message(self) -> str:
        """All of its texts, one per line."""
        return "\n".join(self.texts)


def read_error(value: Any) -> ErrorObject:
    """Read a decoded error, which may also be a text."""
    error = ErrorObject()
    _collect(value, error, 0)
    error.texts[:] = dict.fromkeys(error.texts)
    error.fields[:] = dict.fromkeys(filter(None, (_cleaned(one) for one in error.fields)))
    return error


def error_in(event: Mapping[str, Any], name: bytes) -> Any:
    """Return the error that a server-sent event of this name reports, or None.

    Servers put it where OpenAI does, or send it bare: in an event named `error` (llama.cpp), or in
    an object of that kind (vLLM) or type.
    """
    if error := event.get("error"):
        return error
    bare = name == b"error" or "error" in (event.get("object"), event.get("type"))
    if not bare or event.get("choices"):
        return None
    return {**event, "type": None} if event.get("type") == "error" else event


def upstream_failure(error: Any) -> CompletionsError:
    """Return our error for the error object of an SSE event, with the status that fits best."""
    if not isinstance(error, dict):
        failure = UpstreamUnavailable(f"The upstream failed in mid-answer: {error}")
        failure.quotes = True
        return failure
    code, parsed = error.get("code"), read_error(error)
    status = _STATUS_OF_CODE.get(str(code), 502)
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    return UpstreamRefused(
        parsed.message or "The upstream failed in mid-answer.",
        status=status,
        error_type=parsed.type,
        code=parsed.code or (str(code) if code else None),
        param=parsed.param,
        fields=parsed.fields,
    )


def _collect(value: Any, error: ErrorObject, depth: int) -> None:
    if depth > DEPTH_LIMIT or len(error.texts) >= TEXTS_LIMIT:
        return
    if isinstance(value, list):
        for one in value:
            _collect(one, error, depth + 1)
    elif isinstance(value, dict):
        _collect_object(value, error, depth)
    elif isinstance(value, str) and value.strip():
        if (inner := _json_in(value)) is not None:
            _collect(inner, error, depth + 1)
        else:
            error.texts.append(value.strip())
            error.fields += (
                ".".join(part.strip(" '\"") for part in loc.split(",") if part.strip())
                for loc in _PYTHON_LOC.findall(value)
            )


def _collect_object(value: Mapping[str, Any], error: ErrorObject, depth: int) -> None:
    location = value.get("loc")
    if isinstance(location, list):
        # FastAPI and Mistral name the place apart from what is wrong there.
        place = ".".join(str(part) for part in location)
        error.fields.append(place)
        error.texts.append(f"{place}: {value.get('msg')}")
        return
    if isinstance(value.get("field"), str):
        error.fields.append(value["field"])
    if isinstance(value.get("param"), str):
        # Before what its words name.
        error.fields.append(value["param"])
    for name in _SAID_IN:
        if name in value:
            _collect(value[name], error, depth + 1)
    # The innermost object is the API's own; those around it are a proxy's.
    error.type = error.type or _text(value.get("type"))
    error.code = error.code or _text(value.get("code"))
    error.param = error.param or _text(value.get("param"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _json_in(text: str) -> Any:
    """Return the object or list that a text holds as JSON; None for other texts."""
    text = text.strip()
    if text[:1] not in {"{", "["}:
        return None
    try:
        value = from_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) and value else None


def _cleaned(path: str) -> str:
    """Return the path within the request's body; empty if it names no field."""
    path = path.strip().removeprefix("body.")
    return "" if path in _NO_FIELDS else path
