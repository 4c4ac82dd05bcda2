"""What an agent yields, and what it gets from `Conversation.ask`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from completions.dialects import deltas
from completions.dialects.deltas import CallPart, Delta, Reasoning
from completions.speech.scanner import Scanner
from completions.speech.text_parts import CallText
from completions.tools.loose_json import read_object


@dataclass(frozen=True, slots=True)
class Say:
    """Words to speak: a sentence or a piece of one, sent on at once."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """Words that are not spoken; they prove that the agent is alive."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A whole tool call for the platform to carry out; `name` is one of the request's tools."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    """Made up if it is empty."""
    _written: str | None = field(default=None, repr=False, compare=False)
    """The arguments as a model wrote them: they are what is checked if the call is passed on."""
    _extra_content: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """What the model's API wants back with the call."""


Event = Say | Think | Call


def from_model(call: deltas.Call) -> Call:
    """Return a model's call, its arguments as an object even if their JSON must be mended."""
    arguments = read_object(call.arguments) or {}
    return Call(call.name, arguments, call.id, call.arguments, call.extra_content)


class EventReader:
    """Reads one agent's events as the deltas of one answer."""

    def __init__(self) -> None:
        self.calls = 0
        """How many calls there were."""
        self._scanner = Scanner()

    def read(self, event: object) -> Sequence[Delta]:
        """Return the deltas of an event.

        Raises:
            TypeError: it is not an event.
        """
        match event:
            case Say(str(text)):
                return self._spoken(text)
            case Think(str(text)):
                return [Reasoning(text)]
            case Call(str(name), Mapping()):
                call_id = event.id or f"call_{secrets.token_hex(12)}"
                part = CallPart(
                    self.calls, call_id, name, _written(event), extra_content=_extra(event)
                )
                self.calls += 1
                return [part]
            case _:
                raise TypeError(
                    "an agent yields Say(text), Think(text) or Call(name, arguments), "
                    f"not {event!r}"
                )

    def flush(self) -> Sequence[Delta]:
        """Return what was held back because it might have been the beginning of a mark."""
        return [part for part in self._scanner.flush() if not isinstance(part, CallText)]

    def _spoken(self, text: str) -> Sequence[Delta]:
        return [part for part in self._scanner.feed(text) if not isinstance(part, CallText)]


# The arguments as written are hidden from agents, not from us.


def _written(call: Call) -> str:
    written = call._written  # noqa: SLF001
    return to_json(dict(call.arguments)).decode() if written is None else written


def _extra(call: Call) -> Mapping[str, Any] | None:
    return call._extra_content  # noqa: SLF001
