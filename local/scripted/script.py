"""The script language: what a scripted model says, when it says it, and what goes wrong.

A script is a sequence of steps, played in answer to one request. The same script answers a chat
completion or a response, streamed or not: `wires` turns it into bytes, `script_player` adds the
time, and `upstream.ScriptedUpstream` plays it over real sockets.

    [At(400), Role(), Say("Hello "), Say("there."), Finish(), Done()]
    answer("Hello there.", at_ms=400)                      # the same, word by word
    [Role(), Say("I think "), Cut()]                       # the connection breaks
    [Head(), Comment(), At(9_000), *answer("Late.")]       # headers, a keep-alive, a long silence
    refused(429, retry_after_s=7)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# -- time


@dataclass(frozen=True, slots=True)
class At:
    """Send nothing more until this many milliseconds after the request's arrival."""

    ms: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for this many milliseconds."""

    ms: float


@dataclass(frozen=True, slots=True)
class Until:
    """Send nothing until somebody sets the event."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Hold:
    """Send nothing ever again; the connection stays open until the client closes it."""


# -- speech: what the model says; `wires` decides how it looks on the wire


@dataclass(frozen=True, slots=True)
class Role:
    """The opening chunk that only says who speaks."""


@dataclass(frozen=True, slots=True)
class Say:
    """Words of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """Words of streamed reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Decline:
    """Words of a refusal."""

    text: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A piece of tool call number `index`. The first piece has the name; all add arguments."""

    index: int
    arguments: str
    name: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The chunk that says why the model stopped."""

    reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens used; left out, as by a real upstream, when nobody asked for them."""

    prompt: int = 5
    completion: int = 7


@dataclass(frozen=True, slots=True)
class Fail:
    """An error in mid-stream."""

    error: Mapping[str, Any] = field(
        default_factory=lambda: {"message": "The engine is gone.", "type": "server_error"}
    )


@dataclass(frozen=True, slots=True)
class Done:
    """The terminator."""


# -- what else can be on the wire


@dataclass(frozen=True, slots=True)
class Comment:
    """A keep-alive: bytes that say nothing."""

    text: str = "keep-alive"


@dataclass(frozen=True, slots=True)
class Raw:
    """These bytes in the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """Steps whose bytes leave in packets cut at these places (none: one packet).

    `every` cuts after every so many bytes instead.
    """

    steps: Sequence[Step]
    cuts: Sequence[int] = ()
    every: int = 0


@dataclass(frozen=True, slots=True)
class Broken:
    """The beginning of a step's bytes; usually followed by `Cut`."""

    step: Step
    keep_bytes: int


@dataclass(frozen=True, slots=True)
class Unstreamed:
    """From here on the answer is whole JSON, even if the caller asked for a stream."""


@dataclass(frozen=True, slots=True)
class Head:
    """Send the response's head now. Otherwise it leaves with the first bytes of the body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": EVENT_STREAM})


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response of another kind: an error, a page, a list of models."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": JSON})


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection here, whatever is missing."""


EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"

Speech = Role | Say | Think | Decline | CallPiece | Finish | Usage | Fail | Done
Step = (
    Speech
    | At
    | Pause
    | Until
    | Hold
    | Comment
    | Raw
    | Packed
    | Broken
    | Unstreamed
    | Head
    | Reply
    | Cut
)
Script = Sequence[Step]


# -- whole scripts


def answer(
    text: str = "Hello there.",
    *,
    at_ms: float = 0,
    pace_ms: float = 0,
    finish: str = "stop",
) -> list[Step]:
    """Return a good answer, word by word."""
    steps: list[Step] = [At(at_ms), Role()]
    words = text.split(" ")
    for position, word in enumerate(words):
        if position and pace_ms:
            steps.append(Pause(pace_ms))
        steps.append(Say(word if position == len(words) - 1 else word + " "))
    return [*steps, Finish(finish), Usage(), Done()]


def call(
    name: str, arguments: Mapping[str, Any] | str, *, index: int = 0, pieces: int = 3
) -> list[Step]:
    """Return one tool call, its arguments in this many pieces; a text is sent unchanged."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    size = max(1, -(-len(text) // pieces))
    rest = [text[start : start + size] for start in range(0, len(text), size)]
    opening = CallPiece(index, "", name=name, id=f"call_{index}")
    return [opening, *(CallPiece(index, piece) for piece in rest)]


def calls(name: str, arguments: Mapping[str, Any] | str, *, at_ms: float = 0) -> list[Step]:
    """Return an answer that is only a tool call."""
    return [At(at_ms), Role(), *call(name, arguments), Finish("tool_calls"), Usage(), Done()]


def refused(
    status: int,
    *,
    message: str = "No.",
    code: str | None = None,
    param: str | None = None,
    retry_after_s: float | None = None,
    at_ms: float = 0,
) -> list[Step]:
    """Return an error status in place of an answer, with OpenAI's error object."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    headers = {"content-type": JSON}
    if retry_after_s is not None:
        headers["retry-after"] = f"{retry_after_s:g}"
    return [At(at_ms), Reply(json.dumps({"error": error}).encode(), status, headers)]


def page(status: int = 200) -> list[Step]:
    """Return a web page, as from a proxy."""
    body = b"<html><body><h1>Welcome</h1></body></html>"
    return [Reply(body, status, {"content-type": "text/html"})]


def together(*steps: Step) -> Packed:
    """Send these steps in one packet."""
    return Packed(steps)


def bytewise(*steps: Step) -> Packed:
    """Send these steps one byte a packet."""
    return Packed(steps, every=1)
