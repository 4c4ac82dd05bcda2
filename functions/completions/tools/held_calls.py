"""Holds the tool calls of one answer until they are complete.

A call is not spoken, so waiting costs nothing, and half a call is worse than none. Knows the
order of parts and calls, and whether their chunks may be relayed. `validation` decides whether a
call is valid.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from completions.dialects.deltas import Call, CallPart, Chunk
from completions.dialects.request import Tool
from completions.errors import InvalidToolCall
from completions.tools import validation
from completions.tools.loose_json import LIMIT_CHARS, read_strictly
from completions.tools.system_tools import without_heard_farewell

CALLS_LIMIT = 128
"""The most calls in one answer: as many as the tools that OpenAI's API allows in a request."""
ARGUMENTS_LIMIT_CHARS = 256 * 1024
"""The most arguments in one answer, in all its calls: a model that writes more never stops."""


@dataclass(slots=True)
class Judgement:
    """The result of checking an answer's calls."""

    calls: list[Call] = field(default_factory=list)
    """The calls that may be delivered."""
    changed: bool = False
    """True if `calls` differ from what the model wrote, so that its chunks cannot be relayed."""
    coerced: int = 0
    """How many of `calls` are valid only because they were coerced."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the other calls, in sentences for the model."""

    @property
    def feedback(self) -> str:
        """What the model is told about its invalid calls."""
        problems = " ".join(self.problems)
        stand = "".join(
            f" Your call {call.name}({call.arguments}) stands: do not repeat it."
            for call in self.calls
        )
        return (
            f"(Automatic check, not from the user.) A tool call of yours was not carried out. "
            f"{problems}{stand} Make that call again with valid arguments, or answer in words."
        )


@dataclass(slots=True, eq=False)
class _HeldCall:
    id: str | None = None
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    nonstandard: bool = False
    extra_content: Mapping[str, Any] | None = None
    problem: str = ""

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def whole(self) -> bool:
        """True if the arguments are a whole object, so that another object begins a new call."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        arguments = self.arguments
        return len(arguments) <= LIMIT_CHARS and _is_object(arguments)

    @property
    def is_worth_keeping(self) -> bool:
        """False for an id alone: there is nothing to carry out or to ask for again."""
        return bool(self.name or self.pieces or self.problem)


class HeldCalls:
    """The tool calls of one answer, in the order of their first parts.

    `offered` are the request's tools: their names tell apart calls that share a slot.
    """

    def __init__(self, offered: Mapping[str, Tool]) -> None:
        self._offered = offered
        self._calls: list[_HeldCall] = []
        self._by_index: dict[int, _HeldCall] = {}
        self._chars_left = ARGUMENTS_LIMIT_CHARS
        self.chunks: list[Chunk] = []
        """The chunks that brought the calls."""
        self.relayable = True
        """True while the chunks hold only parts of calls, each named once and numbered in order, so
        that clients read the same calls from their bytes."""

    def __bool__(self) -> bool:
        return any(call.is_worth_keeping for call in self._calls)

    def add(self, chunk: Chunk) -> None:
        """Collect the parts of calls in a chunk; anything else in it rules out relaying the bytes.

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
        # Most parts only add to their arguments.
        if call is None or part.id or part.name or part.alone:
            call = self._call_of(part)
            if call is None:
                call = _HeldCall()
                self.relayable = self.relayable and part.index == len(self._calls)
                self._calls.append(call)
                self._by_index[part.index] = call
            else:
                # Clients would concatenate an id or a name that comes twice; the first one counts.
                self.relayable = False
            call.id = call.id or part.id
            if part.name:
                call.name = call.name + part.name if self._continues_name(call, part) else call.name
                call.name = call.name or part.name
        if part.extra_content:
            call.extra_content = _merged_content(call.extra_content, part.extra_content)
        self._chars_left -= len(part.arguments)
        if self._chars_left < 0 or len(self._calls) > CALLS_LIMIT:
            # Drop the call: this piece may complete it, and complete calls survive a cut.
            self._calls.remove(call)
            self.relayable = False
            raise InvalidToolCall("The model's tool calls do not end.")
        if part.arguments:
            call.pieces.append(part.arguments)
        call.nonstandard |= part.nonstandard
        call.problem = call.problem or part.problem

    def _call_of(self, part: CallPart) -> _HeldCall | None:
        """Return the call that a part belongs to, or None if it begins one."""
        if part.alone:
            return None
        call = self._by_index.get(part.index) if part.index >= 0 else None
        if call is None and self._calls and (part.index < 0 or not (part.id or part.name)):
            # Without an index: the call with this id, else the latest.
            same = (one for one in self._calls if part.id and one.id == part.id)
            call = next(same, self._calls[-1])
        return None if call is None or self._begins_new_call(call, part) else call

    def _begins_new_call(self, call: _HeldCall, part: CallPart) -> bool:
        """Return whether a part begins a new call, not the one in its slot.

        Some upstreams give every call of an answer the same index, or none. Others repeat a call's
        name in each part, or split it over two: then the arguments so far are not a whole object.
        """
        other_id = bool(call.id and part.id and part.id != call.id)
        if not part.name:
            return other_id and call.whole
        if other_id:
            return True
        if call.name and part.name != call.name:
            if self._continues_name(call, part):
                return False
            named = validation.offered_name(part.name, self._offered)
            if named not in {None, validation.offered_name(call.name, self._offered)}:
                return True
        elif call.arguments.strip() == "{}":
            return False  # A placeholder that some gateways send before the arguments.
        return call.whole and part.arguments.lstrip().startswith("{")

    def _continues_name(self, call: _HeldCall, part: CallPart) -> bool:
        """Return whether a part brings the rest of its call's name."""
        if not call.name or not part.name or call.pieces:
            return False
        spelt = call.name + part.name
        both = call.name in self._offered and part.name in self._offered
        return not both and any(name.startswith(spelt) for name in self._offered)

    def complete_calls(self) -> HeldCalls:
        """Return the calls that are complete although the answer was cut."""
        kept = HeldCalls(self._offered)
        kept._calls = [call for call in self._calls if _is_object(call.arguments)]
        kept.chunks = self.chunks
        kept.relayable = self.relayable and len(kept._calls) == len(self._calls)
        return kept

    def judge(self, spoken: str) -> Judgement:
        """Check every call. `spoken` is what the caller has heard in this turn."""
        judgement, offered = Judgement(), self._offered
        written = self._written()
        judgement.problems += [held.problem for held in self._calls if held.problem]
        distinct = merge_calls((), written)
        judgement.changed = (
            distinct != written
            or len(written) < len(self._calls)
            or any(held.nonstandard for held in self._calls)
        )
        coerced: list[Call] = []
        for call in distinct:
            verdict = validation.check(call, offered)
            if verdict.call is None:
                judgement.problems.append(verdict.problem or f"'{call.name}' cannot be called.")
                continue
            delivered = without_heard_farewell(verdict.call, spoken, offered)
            judgement.changed |= verdict.changed or delivered != verdict.call
            judgement.calls.append(delivered)
            coerced += [delivered] if verdict.changed else []
        # Again: coercion may have made different calls the same.
        judgement.calls = merge_calls((), judgement.calls)
        judgement.coerced = sum(call in coerced for call in judgement.calls)
        return judgement

    def unchecked(self) -> list[Call]:
        """Return the calls as they came, for callers who check them themselves."""
        return merge_calls((), (replace(c, arguments=c.arguments or "{}") for c in self._written()))

    def _written(self) -> list[Call]:
        return [
            Call(held.id or "", held.name, held.arguments, held.extra_content)
            for held in self._calls
            if held.is_worth_keeping and not held.problem
        ]


def merge_calls(kept: Iterable[Call], calls: Iterable[Call]) -> list[Call]:
    """Return the calls of one answer, or of two, without repeats, each with its own id.

    Calls with the same tool and arguments are the same, whatever their ids: a client that carries
    out both books twice. An empty id counts as no id.
    """
    merged = {_identity(call): call for call in kept}
    ids = {call.id for call in kept}
    for call in calls:
        identity = _identity(call)
        if identity in merged:
            continue
        if not call.id or call.id in ids:
            call = replace(call, id=_new_id())  # noqa: PLW2901 - the same call with another id
        merged[identity] = call
        ids.add(call.id)
    return list(merged.values())


def _identity(call: Call) -> tuple[str, str]:
    """Return what identifies a call: its tool, and the meaning of its arguments."""
    arguments = read_strictly(call.arguments)
    return call.name, call.arguments if arguments is None else json.dumps(arguments, sort_keys=True)


def _merged_content(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the extra content of two parts of a call, objects one level deep."""
    joined = dict(one or {})
    for name, value in other.items():
        old = joined.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        joined[name] = {**old, **value} if both else value  # type: ignore[dict-item]
    return joined


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(from_json(arguments), dict)
    except ValueError:
        return False
