"""Plays scripts: the scenes to come, the requests that came, and each step at its time.

A scene is a script, or a function from the request to a script; a stage holds the scenes to come
and records the requests. Does not know sockets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from local.scripted.script import (
    At,
    Broken,
    CallPiece,
    Comment,
    Cut,
    Decline,
    Done,
    Fail,
    Finish,
    Head,
    Hold,
    Packed,
    Pause,
    Raw,
    Reply,
    Role,
    Say,
    Script,
    Speech,
    Step,
    Think,
    Unstreamed,
    Until,
    Usage,
    answer,
)


@dataclass(slots=True)
class RecordedRequest:
    """A request as the upstream received it. Times are the event loop's, in seconds."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    raw: bytes
    at: float
    connection: int = 0
    """The number of its connection, from 0; an equal number means a reused connection."""
    candidate: str = ""
    """Which candidate was asked: `upstream` or `fallback`; set by `PlayedUpstream` only."""
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client leaves before the end of the answer."""
    hung_up_at: float | None = None
    finished: bool = False

    @property
    def json(self) -> dict[str, Any]:
        """Return the decoded body."""
        body: dict[str, Any] = json.loads(self.raw)
        return body

    def header(self, name: str) -> str:
        """Return the only value of a header, or an empty text.

        Raises ValueError if there are several.
        """
        values = [value for each, value in self.headers if each == name]
        if len(values) > 1:
            raise ValueError(f"{name} was sent {len(values)} times")
        return values[0] if values else ""

    def leave(self) -> None:
        """Record that the client left, unless the answer was complete."""
        if not self.finished and self.hung_up_at is None:
            self.hung_up_at = asyncio.get_running_loop().time()
            self.hung_up.set()


Scene = Script | Callable[[RecordedRequest], Script]


class Stage:
    """The scenes that an upstream will play, and the requests that it got."""

    def __init__(self, *scenes: Scene) -> None:
        self.requests: list[RecordedRequest] = []
        self._arrived = asyncio.Condition()
        self._scenes: list[Scene] = [answer()]
        if scenes:
            self.plays(*scenes)

    def plays(self, *scenes: Scene) -> None:
        """Answer the next requests with one scene each, and all further ones with the last."""
        self._scenes = list(scenes)

    def next_script(self, request: RecordedRequest) -> Script:
        """Return the script to play for this request."""
        scene = self._scenes.pop(0) if len(self._scenes) > 1 else self._scenes[0]
        return scene(request) if callable(scene) else scene

    async def note(self, request: RecordedRequest) -> None:
        """Record a request."""
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()

    async def request(self, number: int = 0) -> RecordedRequest:
        """Return the request with this number, from 0, as soon as it has come."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) > number)
        return self.requests[number]


class Wire(Protocol):
    """An API's wire format, streamed or not."""

    streamed: bool

    def render(self, step: Speech) -> bytes:
        """Return the bytes to send now; none if the answer is not streamed."""
        ...

    def whole(self) -> bytes:
        """Return an answer that is not streamed as a whole; called last."""
        ...

    def unstreamed(self) -> Wire:
        """Return the same wire without streaming."""
        ...


Act = Head | Raw | Reply | Cut


async def perform(script: Script, wire: Wire, arrived_at: float) -> AsyncGenerator[Act]:
    """Yield what a player has to send, when it has to send it; one `Raw` is one packet."""
    loop = asyncio.get_running_loop()
    for step in script:
        match step:
            case At(ms):
                await asyncio.sleep(max(0.0, arrived_at + ms / 1000 - loop.time()))
            case Pause(ms):
                await asyncio.sleep(ms / 1000)
            case Until(event):
                await event.wait()
            case Hold():
                await asyncio.Event().wait()
            case Unstreamed():
                wire = wire.unstreamed()
            case Head() | Cut():
                yield step
            case Reply():
                yield step
                return
            case Packed(steps, cuts, every):
                data = b"".join(_bytes(each, wire) for each in steps)
                places = range(every, len(data), every) if every else sorted(cuts)
                for start, end in zip((0, *places), (*places, len(data)), strict=True):
                    if data[start:end]:
                        yield Raw(data[start:end])
            case _:
                if data := _bytes(step, wire):
                    yield Raw(data)
    if not wire.streamed:
        yield Reply(wire.whole())


def _bytes(step: Step, wire: Wire) -> bytes:
    match step:
        case Raw(data):
            return data
        case Comment(text):
            return f": {text}\n\n".encode() if wire.streamed else b""
        case Broken(inner, keep_bytes):
            return _bytes(inner, wire)[:keep_bytes]
        case (
            Role()
            | Say()
            | Think()
            | Decline()
            | CallPiece()
            | Finish()
            | Usage()
            | Fail()
            | Done()
        ):
            return wire.render(step)
        case _:
            raise TypeError(f"{type(step).__name__} has no bytes of its own")
