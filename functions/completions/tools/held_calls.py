"""Holds the tool calls of one answer until they are complete.

A call is not spoken, so waiting costs nothing, and half a call is worse than none. Knows the
order of parts and calls and whether their chunks may be relayed; whether a call is valid is
decided in `validation`.
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
"""Calls in one answer: as many as the tools that OpenAI's API allows in a request."""
ARGUMENTS_LIMIT_CHARS = 256 * 1024
"""Arguments of all calls of an answer: a model that writes more does not stop."""


@dataclass(slots=True)
class Judgement:
    """What the checks of an answer's calls came to."""

    calls: list[Call] = field(default_factory=list)
    """The calls that may be delivered."""
    changed: bool = False
    """True if `calls` differ from what the model wrote, so that its chunks cannot be relayed."""
    coerced: int = 0
    """How many of `calls` are valid only because they were coerced."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with each other call, in sentences for the model."""


@dataclass(slots=True)
class _HeldCall:
    id: str | None = None
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    nonstandard: bool = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class HeldCalls:
    """The tool calls of one answer, in the order of their first parts."""

    def __init__(self) -> None:
        self._calls: list[_HeldCall] = []
        self._by_index: dict[int, _HeldCall] = {}
        self._chars_left = ARGUMENTS_LIMIT_CHARS
        self.chunks: list[Chunk] = []
        """The chunks that brought the calls."""
        self.relayable = True
        """True while the chunks hold only parts of calls, each named once and numbered in order:
        then clients read the same calls from their bytes."""

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, chunk: Chunk) -> None:
        """Collect the parts of calls in a chunk; anything else in it makes all unfit to relay.

        Raises:
            InvalidToolCall: There are too many calls, or their arguments are too long.
        """
        self.chunks.append(chunk)
        self.relayable = (
            self.relayable and chunk.unchanged and chunk.sse is not None and len(chunk.deltas) == 1
        )
        for delta in chunk.deltas:
            if isinstance(delta, CallPart):
                self._add(delta)

    def _add(self, part: CallPart) -> None:
        call = self._by_index.get(part.index)
        # Some upstreams give every call of an answer the same index, or none: then ids differ.
        if call is None or (part.name and (part.index < 0 or part.id != (call.id or part.id))):
            call = _HeldCall()
            self.relayable = self.relayable and part.index == len(self._calls)
            self._calls.append(call)
            self._by_index[part.index] = call
        elif part.id or part.name:
            # Clients would concatenate an id or a name that comes twice; the first one counts.
            self.relayable = False
        call.id = call.id or part.id
        call.name = call.name or part.name or ""
        call.pieces.append(part.arguments)
        self._chars_left -= len(part.arguments)
        if self._chars_left < 0 or len(self._calls) > CALLS_LIMIT:
            raise InvalidToolCall("The model's tool calls do not end.")
        call.nonstandard |= part.nonstandard

    def complete_calls(self) -> HeldCalls:
        """Return the calls that are complete although the answer was cut."""
        kept = HeldCalls()
        kept._calls = [call for call in self._calls if _is_object(call.arguments)]
        kept.chunks = self.chunks
        kept.relayable = self.relayable and len(kept._calls) == len(self._calls)
        return kept

    def judge(self, offered: Mapping[str, Tool], spoken: str) -> Judgement:
        """Check every call. `spoken` is what the caller has heard in this turn."""
        judgement = Judgement()
        for held in self._calls:
            call = Call(held.id or _new_id(), held.name, held.arguments)
            verdict = validation.check(call, offered)
            if verdict.call is None:
                judgement.problems.append(verdict.problem or f"'{call.name}' cannot be called.")
                continue
            delivered = without_heard_farewell(verdict.call, spoken, offered)
            judgement.coerced += verdict.changed
            judgement.changed |= verdict.changed or delivered != verdict.call
            judgement.changed |= held.id is None or held.nonstandard
            judgement.calls.append(delivered)
        return judgement

    def unchecked(self) -> list[Call]:
        """Return the calls as they came, for callers who check them themselves."""
        return [
            Call(held.id or _new_id(), held.name, held.arguments or "{}") for held in self._calls
        ]


def merge_calls(kept: Sequence[Call], calls: Sequence[Call]) -> list[Call]:
    """Return the calls kept of one answer and those of the next, without repeated calls or ids."""
    merged = list(kept)
    for call in calls:
        if any((one.name, one.arguments) == (call.name, call.arguments) for one in kept):
            continue
        if any(one.id == call.id for one in merged):
            call = replace(call, id=_new_id())  # noqa: PLW2901 - the same call with another id
        merged.append(call)
    return merged


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(from_json(arguments), dict)
    except ValueError:
        return False
