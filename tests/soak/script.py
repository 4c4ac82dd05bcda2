"""What a scripted model sends in one answer: acts on the wire, and unique words.

Each word names its turn, its answer and its place in it, and what should happen to it: `t7a0w3`
must be heard, `t7a0m4` may be, `t7a0x5` (a thought) must not. So the checker knows which words are
missing, doubled or another turn's, without knowing how they were sent.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from local.scripted.script import CallPiece, Done, Finish, Role, Say, Step, Think, Usage
from local.scripted.script_player import Wire
from local.scripted.wires import CREATED

EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
TOOL: dict[str, Any] = {
    "name": "book_table",
    "description": "Books a table.",
    "parameters": {
        "type": "object",
        "properties": {
            "ref": {"type": "string"},
            "seats": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["ref", "seats"],
        "additionalProperties": False,
    },
}
"""The tool that turns offer; each scripted call has its own `ref`."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Head:
    """The answer's head; without one, the first bytes begin a good event stream."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: EVENT_STREAM)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer with its length: a refusal, a page, JSON."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


@dataclass(frozen=True, slots=True)
class Naked:
    """Raw bytes on the connection, without coding or head."""

    data: bytes


class Break(Enum):
    """How the connection ends."""

    HOLD = "silent for ever"
    CLOSE = "closed, whatever is missing"
    RESET = "reset"


Act = bytes | Wait | Head | Reply | Naked | Break
"""Bytes are a packet of the body."""
Acts = Iterator[Act]


class Answer:
    """One answer of a scripted model to one request, which remembers what it has said.

    A script is a generator that runs up to the next act, so whatever it has said was
    sent.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        turn: int,
        number: int,
        chat: bool,
        candidate: str,
        at: float,
        body: Mapping[str, Any],
        rng: random.Random,
        faulty: bool,
    ) -> None:
        self.wire, self.turn, self.number, self.chat = wire, turn, number, chat
        self.candidate, self.at, self.body, self.rng, self.faulty = candidate, at, body, rng, faulty
        self.tools = bool(body.get("tools"))
        self.text = ""
        """What must be heard, in order."""
        self.plain = True
        """Nothing else was said."""
        self.beside: list[str] = []
        """What else may be heard: letters, signs, unnamed words."""
        self.refs: list[str] = []
        """The whole, valid calls."""
        self.whole = False
        """It has ended properly."""
        self.head_sent = False
        self.over_at: float | None = None
        """When the last byte was sent, or the client left."""
        self._words = self._calls = 0

    @property
    def streamed(self) -> bool:
        """Whether a stream was asked for."""
        return self.wire.streamed

    # Words.

    def few(self) -> int:
        """Return a small number."""
        return self.rng.randint(2, 6)

    def words(self, count: int = 1) -> str:
        """Return words that must be heard, each with a space after it."""
        made = self._made("w", count)
        self.text += made
        return made

    def maybe(self, count: int = 1) -> str:
        """Return words that may be heard."""
        self.plain = False
        return self._made("m", count)

    def also(self, text: str) -> str:
        """Return a text that may be heard."""
        self.plain = False
        self.beside.append(text.strip())
        return text

    def never(self, count: int = 1) -> str:
        """Return words that must not be heard."""
        return self._made("x", count)

    def unsaid(self) -> None:
        """Forget what was said, because it cannot be read where it was put."""
        self.text, self.whole, self.refs = "", False, []

    def _made(self, owed: str, count: int) -> str:
        made = ""
        for _ in range(count):
            pause = self.rng.choices(("", ",", "."), (12, 2, 1))[0]
            made += f"t{self.turn}a{self.number}{owed}{self._words}{pause} "
            self._words += 1
        return made

    # Well-formed frames in the request's API.

    def render(self, *steps: Step) -> bytes:
        """Return the frames of these steps, or none in a whole answer."""
        return b"".join(self.wire.render(step) for step in steps)  # type: ignore[arg-type]

    def open(self) -> bytes:
        """Return the opening frames."""
        return self.render(Role())

    def say(self, count: int = 1) -> bytes:
        """Return frames with a word each."""
        return b"".join(self.render(Say(self.words())) for _ in range(count))

    def think(self, count: int = 1) -> bytes:
        """Return frames of reasoning."""
        return b"".join(self.render(Think(self.never())) for _ in range(count))

    def ref(self) -> str:
        """Return a unique reference of a call that must be delivered."""
        made = self.odd_ref()
        self.refs.append(made)
        return made

    def odd_ref(self) -> str:
        """Return a unique reference of a call that need not be delivered."""
        self._calls += 1
        return f"t{self.turn}a{self.number}c{self._calls}"

    def arguments(self, ref: str | None = None) -> str:
        """Return good arguments of a call."""
        return json.dumps({"ref": ref or self.ref(), "seats": self.rng.randint(1, 9)})

    def call(self, arguments: str | None = None, *, index: int = 0, pieces: int = 3) -> bytes:
        """Return the frames of a call."""
        text = self.arguments() if arguments is None else arguments
        size = max(1, -(-len(text) // pieces))
        rest = [text[start : start + size] for start in range(0, len(text), size)]
        first = CallPiece(index, "", name=TOOL["name"], id=f"call_{self.turn}_{index}")
        return self.render(first, *(CallPiece(index, piece) for piece in rest))

    def end(self, finish: str | None = None) -> bytes:
        """Return the frames of a proper end."""
        self.whole = True
        reason = finish or ("tool_calls" if self.refs else "stop")
        return self.render(Finish(reason), Usage(), Done())

    def good(self) -> list[bytes]:
        """Return the packets of a good answer."""
        return [self.open(), *(self.say() for _ in range(self.few())), self.end()]

    # Frames of any other form.

    def chunk(self, delta: Any, finish: str | None = None, *, index: int = 0, **top: Any) -> bytes:
        """Return a chunk of a chat completion with this delta; `top` adds or replaces fields."""
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        return self.data(self.envelope([choice]) | top)

    def envelope(self, choices: Any) -> dict[str, Any]:
        """Return a chunk of a chat completion as an object."""
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED}
        return {**head, "model": str(self.body.get("model")), "choices": choices}

    def data(self, value: Any, event: str = "") -> bytes:
        """Return a frame; text and bytes are put in unchanged."""
        if not isinstance(value, bytes | str):
            value = json.dumps(value)
        data = value.encode() if isinstance(value, str) else value
        named = f"event: {event}\n".encode() if event else b""
        return named + b"data: " + data + b"\n\n"

    def event(self, kind: str, **fields: Any) -> bytes:
        """Return an event of a response."""
        return self.data({"type": kind, **fields}, kind)

    def speech(self, text: str) -> bytes:
        """Return frames that say this text."""
        return self.render(Say(text))
