"""Tool calls held until they are whole.

A call is not spoken, so waiting costs nothing, and a half call is worse than none. Collects the
parts of one answer and judges the whole calls by the schemas of this request (`tools`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from completions import tools
from completions.dialect import Call, CallPart, Said, Tool


@dataclass(slots=True)
class Judgement:
    """What may be delivered, and what is wrong with the rest (sentences for the model)."""

    calls: list[Call] = field(default_factory=list)
    changed: bool = False
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Parts:
    id: str | None = None
    name: str = ""
    arguments: str = ""


class HeldCalls:
    """The tool calls of one answer, in the order of their first parts."""

    def __init__(self) -> None:
        self._parts: dict[int, _Parts] = {}
        self.frames: list[Said] = []
        """The frames that brought them; they may be relayed only if `pure`."""
        self.pure = True

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, said: Said) -> None:
        """Takes the parts of calls in a frame; anything else in it makes the frames unfit."""
        self.frames.append(said)
        for delta in said.deltas:
            if not isinstance(delta, CallPart):
                self.pure = False
                continue
            parts = self._parts.setdefault(delta.index, _Parts())
            # Some upstreams repeat id and name in every part: the first ones count.
            parts.id = parts.id or delta.id
            parts.name = parts.name or delta.name or ""
            parts.arguments += delta.arguments
            self.pure = self.pure and said.plain and said.frame is not None

    def judge(self, offered: Mapping[str, Tool], spoken: str) -> Judgement:
        """Checks every call. `spoken` is what the caller heard in this turn."""
        judgement = Judgement()
        for parts in self._parts.values():
            call = Call(parts.id or f"call_{secrets.token_hex(12)}", parts.name, parts.arguments)
            verdict = tools.check(call, offered)
            if verdict.call is None:
                judgement.problems.append(verdict.problem or f"'{call.name}' cannot be called.")
                continue
            heard = tools.without_heard_farewell(verdict.call, spoken, offered)
            judgement.changed |= verdict.changed or heard != verdict.call or parts.id is None
            judgement.calls.append(heard)
        return judgement

    def unchecked(self) -> list[Call]:
        """The calls as they came, for callers who check for themselves."""
        return [
            Call(parts.id or f"call_{secrets.token_hex(12)}", parts.name, parts.arguments or "{}")
            for parts in self._parts.values()
        ]
