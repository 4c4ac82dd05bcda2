"""Tool calls held until they are whole.

A call is not spoken, so waiting costs nothing, and a half call is worse than none. Collects the
parts of one answer and judges the whole calls by the schemas of this request (`tools`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic_core import from_json

from completions.dialects.deltas import Call, CallPart, Chunk
from completions.dialects.request import Tool
from completions.errors import InvalidToolCall
from completions.tools import validation
from completions.tools.system_tools import without_heard_farewell

CALLS_LIMIT = 128
"""In one answer; as many as OpenAI's API lets a request offer tools."""
ARGUMENTS_LIMIT_CHARS = 256 * 1024
"""Of all calls of an answer: more is a model that does not stop."""


@dataclass(slots=True)
class Judgement:
    """What may be delivered, and what is wrong with the rest (sentences for the model)."""

    calls: list[Call] = field(default_factory=list)
    changed: bool = False
    repaired: int = 0
    """How many of the calls did not fit their schema as they came."""
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Parts:
    id: str | None = None
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    odd: bool = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class HeldCalls:
    """The tool calls of one answer, in the order of their first parts."""

    def __init__(self) -> None:
        self._calls: list[_Parts] = []
        self._by_index: dict[int, _Parts] = {}
        self._left = ARGUMENTS_LIMIT_CHARS
        self.chunks: list[Chunk] = []
        """The frames that brought them; they may be relayed only if `pure`."""
        self.pure = True

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, chunk: Chunk) -> None:
        """Takes the parts of calls in a frame; anything else in it makes the frames unfit.

        Raises InvalidToolCall for calls without end.
        """
        self.chunks.append(chunk)
        self.pure = self.pure and chunk.plain and chunk.sse is not None and len(chunk.deltas) == 1
        for delta in chunk.deltas:
            if isinstance(delta, CallPart):
                self._add(delta)

    def _add(self, part: CallPart) -> None:
        call = self._by_index.get(part.index)
        # Some upstreams give all calls of an answer one number, or none; then the ids differ.
        if call is None or (part.name and (part.index < 0 or part.id != (call.id or part.id))):
            call = _Parts()
            self.pure = self.pure and part.index == len(self._calls)
            self._calls.append(call)
            self._by_index[part.index] = call
        elif part.id or part.name:
            # Clients join what comes twice; here the first ones count.
            self.pure = False
        call.id = call.id or part.id
        call.name = call.name or part.name or ""
        call.pieces.append(part.arguments)
        self._left -= len(part.arguments)
        if self._left < 0 or len(self._calls) > CALLS_LIMIT:
            raise InvalidToolCall("The model's tool calls do not end.")
        call.odd |= part.odd

    def whole(self) -> HeldCalls:
        """Those calls that are whole as they stand, of an answer that was cut."""
        kept = HeldCalls()
        kept._calls = [call for call in self._calls if _is_object(call.arguments)]
        kept.chunks = self.chunks
        kept.pure = self.pure and len(kept._calls) == len(self._calls)
        return kept

    def judge(self, offered: Mapping[str, Tool], spoken: str) -> Judgement:
        """Checks every call. `spoken` is what the caller heard in this turn."""
        judgement = Judgement()
        for parts in self._calls:
            call = Call(parts.id or _new_id(), parts.name, parts.arguments)
            verdict = validation.check(call, offered)
            if verdict.call is None:
                judgement.problems.append(verdict.problem or f"'{call.name}' cannot be called.")
                continue
            heard = without_heard_farewell(verdict.call, spoken, offered)
            judgement.changed |= verdict.changed or heard != verdict.call
            judgement.repaired += verdict.changed
            judgement.changed |= parts.id is None or parts.odd
            judgement.calls.append(heard)
        return judgement

    def unchecked(self) -> list[Call]:
        """The calls as they came, for callers who check for themselves."""
        return [
            Call(parts.id or _new_id(), parts.name, parts.arguments or "{}")
            for parts in self._calls
        ]


def merge_calls(kept: Sequence[Call], calls: Sequence[Call]) -> list[Call]:
    """The calls kept of one answer and those of the next: none twice, no id twice."""
    together = list(kept)
    for call in calls:
        if any((one.name, one.arguments) == (call.name, call.arguments) for one in kept):
            continue
        if any(one.id == call.id for one in together):
            call = replace(call, id=_new_id())  # noqa: PLW2901 - the same call by another id
        together.append(call)
    return together


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(from_json(arguments), dict)
    except ValueError:
        return False
