"""A call file: who is called, what is said, what a scripted model says, and what is expected.

The schema is the tables below; docs/calls.md tells people of it. An error names file, line and
field. Knows nothing of playing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.call import system_tools
from ops.call.agent import Agent, Patience, Tool
from ops.call.places import Document, Path_
from ops.call.speech import pattern

Types = tuple[type, ...]
_TEXT: Types = (str,)
_NUMBER: Types = (int, float)
_TEXTS: Types = (str, list)
_ANY: Types = (object,)
_CALL: Mapping[str, Types] = {
    "call": _TEXT,
    "agent": (dict,),
    "deployment": (dict,),
    "turns": (list,),
}
_AGENT: Mapping[str, Types] = {
    "prompt": _TEXT,
    "first_message": _TEXT,
    "language": _TEXT,
    "tools": (list,),
    "api_type": _TEXT,
    "model": _TEXT,
    "temperature": _NUMBER,
    "max_tokens": (int,),
    "extra_body": (dict,),
    "user_id": _TEXT,
    "headers": (dict,),
    "voicemail_message": _TEXT,
    "cascade_timeout_s": _NUMBER,
}
_TURN: Mapping[str, Types] = {
    "caller": _TEXT,
    "over": _TEXT,
    "model": (dict, list),
    "fallback": (dict, list),
    "result": (dict,),
    "late_result": (dict,),
    "expect": (dict,),
}
SCENE: Mapping[str, Types] = {
    "say": _TEXT,
    "think": _TEXT,
    "tools": (list,),
    "after_ms": _NUMBER,
    "pace_ms": _NUMBER,
    "empty": (bool,),
    "hangs": (bool,),
    "cuts": (bool,),
    "fails": (int,),
}
EXPECT: Mapping[str, Types] = {
    "first_sound_within_ms": _NUMBER,
    "answer_within_ms": _NUMBER,
    "says": _TEXTS,
    "says_once": _TEXTS,
    "never_says": _TEXTS,
    "calls": (list,),
    "buffer_words": (int,),
    "model_saw": (dict,),
    "ends": _TEXT,
    "silent": (bool,),
    "silent_within_ms": _NUMBER,
    "posts": (int,),
    "apologises": (bool,),
    "language": _TEXT,
    "state": (dict,),
}
"""What can be expected of a turn."""
ENDINGS = ("hung_up", "transferred", "voicemail", "failed", "goes_on")
_SAW = dict.fromkeys(("system", "user", "assistant", "tool", "never"), _TEXTS)
_OWN_TOOL: Mapping[str, Types] = {"description": _TEXT, "parameters": (dict,)}
_SETTINGS: Mapping[str, Mapping[str, Types]] = {
    "language_detection": {"languages": (list,)},
    "transfer_to_agent": {"agents": (list,)},
    "transfer_to_number": {"numbers": (dict,)},
    "update_state": {"variables": (dict,)},
}
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_NAMES |= {list: "a list", dict: "a mapping"}


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of the file."""

    caller: str | None
    over: str = ""
    """Spoken as soon as these words of the answer before were heard."""
    model: Sequence[Mapping[str, Any]] = ()
    fallback: Sequence[Mapping[str, Any]] = ()
    results: Mapping[str, Any] = field(default_factory=dict)
    late_results: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallFile:
    """One call to be played."""

    file: Path
    title: str
    agent: Agent
    steps: Sequence[Step]
    parameters: Mapping[str, str]
    """The template's, for a deployment that is started for it."""

    @property
    def scripted(self) -> bool:
        """True if the model plays a script."""
        return any(step.model for step in self.steps)

    @property
    def has_fallback(self) -> bool:
        """True if a second model plays one, too."""
        return any(step.fallback for step in self.steps)


def load(file: Path) -> CallFile:
    """Read a call file.

    Raises:
        Misspelt: It says something that is not in the schema.
        OSError: It cannot be read.
    """
    return _Reader(Document(file)).call()


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document

    def call(self) -> CallFile:
        said = self._fields((), self._document.value, _CALL)
        for name in ("call", "turns"):
            if not said.get(name):
                raise self._document.wrong((), f"{name} is missing")
        steps = [self._step(("turns", at), each) for at, each in enumerate(said["turns"])]
        file = CallFile(
            self._document.file,
            said["call"],
            self._agent(said.get("agent", {})),
            steps,
            {name: _parameter(value) for name, value in said.get("deployment", {}).items()},
        )
        self._check_order(file)
        return file

    def _check_order(self, file: CallFile) -> None:
        for at, step in enumerate(file.steps):
            place: Path_ = ("turns", at)
            if file.scripted and not step.model:
                raise self._document.wrong(place, "model is missing: each turn has one, or none")
            if not at and step.over:
                raise self._document.wrong((*place, "over"), "nothing was heard before it")
            if step.over and step.caller is None:
                raise self._document.wrong((*place, "over"), "only a caller interrupts")
            if "model_saw" in step.expect and not step.model:
                raise self._document.wrong(
                    (*place, "expect", "model_saw"), "a real model does not tell"
                )

    def _agent(self, value: Any) -> Agent:
        said = dict(self._fields(("agent",), value, _AGENT))
        tools = [
            self._tool(("agent", "tools", at), e) for at, e in enumerate(said.get("tools", ()))
        ]
        if said.get("api_type", "responses") not in {"chat_completions", "responses"}:
            raise self._document.wrong(("agent", "api_type"), "chat_completions or responses")
        usual = Patience()
        patience = Patience(said.pop("cascade_timeout_s", usual.cascade_timeout_s))
        return Agent(**{**said, "tools": tools, "patience": patience})

    def _tool(self, place: Path_, value: Any) -> Tool:
        name, settings = self._named(place, value)
        place = (*place, name)
        if system_tools.offered(name) is not None:
            given = self._fields(place, settings or {}, _SETTINGS.get(name, {}))
            tool = system_tools.offered(name, given)
        else:
            tool = Tool(name, **self._fields(place, settings or {}, _OWN_TOOL))
        return tool or Tool(name)

    def _step(self, place: Path_, value: Any) -> Step:
        said = self._fields(place, value, _TURN)
        self._check_pattern((*place, "over"), said.get("over", ""))
        return Step(
            said.get("caller"),
            said.get("over", ""),
            self._scenes((*place, "model"), said.get("model")),
            self._scenes((*place, "fallback"), said.get("fallback")),
            said.get("result", {}),
            said.get("late_result", {}),
            self._expect((*place, "expect"), said.get("expect", {})),
        )

    def _scenes(self, place: Path_, value: Any) -> list[Mapping[str, Any]]:
        several = isinstance(value, list)
        scenes = value if several else [] if value is None else [value]
        found: list[Mapping[str, Any]] = []
        for at, scene in enumerate(scenes):
            here = (*place, at) if several else place
            said = self._fields(here, scene, SCENE)
            calls = [
                self._named((*here, "tools", number), call)
                for number, call in enumerate(said.get("tools", ()))
            ]
            found.append({**said, **({"tools": [dict([call]) for call in calls]} if calls else {})})
        return found

    def _expect(self, place: Path_, value: Any) -> Mapping[str, Any]:
        said = self._fields(place, value, EXPECT)
        for at, call in enumerate(said.get("calls", ())):
            self._named((*place, "calls", at), call)
        self._fields((*place, "model_saw"), said.get("model_saw", {}), _SAW)
        if said.get("ends", "failed") not in ENDINGS:
            raise self._document.wrong((*place, "ends"), f"one of {', '.join(ENDINGS)}")
        for name in ("says", "says_once", "never_says"):
            for text in texts(said.get(name, ())):
                self._check_pattern((*place, name), text)
        return said

    def _check_pattern(self, place: Path_, text: str) -> None:
        try:
            pattern(text)
        except re.error as error:
            raise self._document.wrong(place, f"{text}: {error}") from error

    def _named(self, place: Path_, value: Any) -> tuple[str, Any]:
        """Return a name and what belongs to it: `name`, or `{name: …}`."""
        if isinstance(value, str):
            return value, None
        if isinstance(value, dict) and len(value) == 1:
            ((name, inner),) = value.items()
            return str(name), inner
        raise self._document.wrong(place, "a name, or one name with a mapping behind it")

    def _fields(self, place: Path_, value: Any, known: Mapping[str, Types]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._document.wrong(place, f"a mapping was expected, not {value!r}")
        for name, inner in value.items():
            here = (*place, str(name))
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                raise self._document.wrong(here, f"unknown; {hint}")
            types = known[name]
            wrong = not isinstance(inner, types) or (
                isinstance(inner, bool) and bool not in types and types != _ANY
            )
            if wrong:
                wanted = " or ".join(_NAMES[each] for each in types if each is not float)
                # YAML reads an unquoted yes, no, on and off as true or false.
                hint = ": quote it" if str in types and isinstance(inner, bool) else ""
                raise self._document.wrong(here, f"{wanted} was expected, not {inner!r}{hint}")
        return value


def texts(value: str | Sequence[str]) -> Sequence[str]:
    """Return one or several texts as a list."""
    return [value] if isinstance(value, str) else list(value)


def _parameter(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
