"""A call file: who is called, what is said, what a scripted model says, and what is expected.

An error names file, line and field. `schema` knows the fields. Does not know how a call is played.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.call import schema, system_tools
from ops.call.agent import Agent, Patience, Tool
from ops.call.schema import Check
from ops.call.yaml_with_lines import Document, Path_


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of the file."""

    caller: str | None
    over: str = ""
    """Spoken once these words of the previous answer were heard."""
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
    """The template's parameters, for a deployment that is started for this file."""

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
        CallFileError: It does not fit the schema.
        OSError: It cannot be read.
    """
    return _Reader(Document(file)).call()


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document

    def call(self) -> CallFile:
        fields = self._fields((), self._document.value, schema.CALL)
        for name in ("call", "turns"):
            if not fields.get(name):
                raise self._document.wrong((), f"{name} is missing")
        steps = [self._step(("turns", at), each) for at, each in enumerate(fields["turns"])]
        file = CallFile(
            self._document.file,
            fields["call"],
            self._agent(fields.get("agent", {})),
            steps,
            {name: _parameter(value) for name, value in fields.get("deployment", {}).items()},
        )
        self._check_order(file)
        return file

    def _check_order(self, file: CallFile) -> None:
        system = [tool.name for tool in file.agent.tools if system_tools.offered(tool.name)]
        own = {tool.name for tool in file.agent.tools} - {*system}
        for at, step in enumerate(file.steps):
            place: Path_ = ("turns", at)
            for field_, results in (("result", step.results), ("late_result", step.late_results)):
                for name in results.keys() - own:
                    raise self._document.wrong(
                        (*place, field_, name), "the agent has no tool of its own of that name"
                    )
            if not at and step.caller is None:
                raise self._document.wrong(place, "caller is missing: nothing was called before it")
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
        fields = dict(self._fields(("agent",), value, schema.AGENT))
        tools = [
            self._tool(("agent", "tools", at), e) for at, e in enumerate(fields.get("tools", ()))
        ]
        for at, tool in enumerate(tools):
            if tool.name in {each.name for each in tools[:at]}:
                raise self._document.wrong(("agent", "tools", at), f"{tool.name} is there twice")
        usual = Patience()
        patience = Patience(fields.pop("cascade_timeout_s", usual.cascade_timeout_s))
        return Agent(**{**fields, "tools": tools, "patience": patience})

    def _tool(self, place: Path_, value: Any) -> Tool:
        name, settings = self._named(place, value)
        place = (*place, name)
        if system_tools.offered(name) is not None:
            given = self._fields(place, settings or {}, schema.SETTINGS.get(name, {}))
            tool = system_tools.offered(name, given)
        else:
            tool = Tool(name, **self._fields(place, settings or {}, schema.OWN_TOOL))
        return tool or Tool(name)

    def _step(self, place: Path_, value: Any) -> Step:
        fields = self._fields(place, value, schema.TURN)
        return Step(
            fields.get("caller"),
            fields.get("over", ""),
            self._scenes((*place, "model"), fields.get("model")),
            self._scenes((*place, "fallback"), fields.get("fallback")),
            fields.get("result", {}),
            fields.get("late_result", {}),
            self._expect((*place, "expect"), fields.get("expect", {})),
        )

    def _scenes(self, place: Path_, value: Any) -> list[Mapping[str, Any]]:
        if value is not None and not value:
            raise self._document.wrong(place, "what it does is missing: say, tools, empty, …")
        several = isinstance(value, list)
        scenes: list[Any] = [] if value is None else value if isinstance(value, list) else [value]
        found: list[Mapping[str, Any]] = []
        for at, scene in enumerate(scenes):
            here = (*place, at) if several else place
            fields = self._fields(here, scene, schema.SCENE)
            calls = [
                self._arguments((*here, "tools", number), call, dict, str)
                for number, call in enumerate(fields.get("tools", ()))
            ]
            found.append(
                {**fields, **({"tools": [dict([call]) for call in calls]} if calls else {})}
            )
        return found

    def _expect(self, place: Path_, value: Any) -> Mapping[str, Any]:
        fields = self._fields(place, value, schema.EXPECT)
        for at, call in enumerate(fields.get("calls", ())):
            self._arguments((*place, "calls", at), call, dict)
        self._fields((*place, "model_saw"), fields.get("model_saw", {}), schema.SAW)
        return fields

    def _named(self, place: Path_, value: Any) -> tuple[str, Any]:
        """Return a name and its settings: `name`, or `{name: …}`."""
        if isinstance(value, str):
            return value, None
        if isinstance(value, dict) and len(value) == 1:
            ((name, inner),) = value.items()
            return str(name), inner
        raise self._document.wrong(place, "a name, or one name with a mapping behind it")

    def _arguments(self, place: Path_, value: Any, *types: type) -> tuple[str, Any]:
        """Return a call's name and its arguments, if it has any."""
        name, inner = self._named(place, value)
        wrong = schema.a("a mapping", *types)(inner) or schema.found_within(inner)
        if inner is not None and wrong:
            raise self._document.wrong((*place, name), wrong)
        return name, inner

    def _fields(self, place: Path_, value: Any, known: Mapping[str, Check]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._document.wrong(place, f"a mapping was expected, not {value!r}")
        for name, inner in value.items():
            here = (*place, str(name))
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                raise self._document.wrong(here, f"unknown; {hint}")
            if wrong := known[name](inner):
                raise self._document.wrong(here, wrong)
        return value


def _parameter(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
