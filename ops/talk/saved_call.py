"""A call as a file that `make call` plays.

JSON values are valid YAML, so the file needs no library. Knows the format of call files
(docs/calls.md), not the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.call.call import Call
from ops.call.speech import letters, text_of
from ops.call.turn import Turn
from ops.doctor.strict_reader import Call as Called


@dataclass(frozen=True, slots=True)
class Results:
    """The results of the agent's own tools: immediate ones by tool, late ones by the call's id."""

    at_once: Mapping[str, Any] = field(default_factory=dict)
    later: Mapping[str, Any] = field(default_factory=dict)

    def of(self, calls: Sequence[Called]) -> dict[str, Any]:
        """Return the results of these calls, by tool."""
        both = {call.name: self.at_once.get(call.name, self.later.get(call.id)) for call in calls}
        return {name: value for name, value in both.items() if value is not None}


def call_file(
    name: str,
    call: Call,
    settings: Mapping[str, Any],
    behaviours: Mapping[int, str] | None,
    results: Results,
) -> str:
    """Return the file's text. With `behaviours`, each turn also says what its model did.

    Without them the file asks the real model, so it also plays against a deployed URL.
    """
    lines = [f"call: {_json(name)}", "agent:"]
    agent: dict[str, Any] = {
        name: settings[name]
        for name in ("prompt", "first_message", "language", "api_type")
        if settings[name]
    }
    if settings["language"]:
        agent["extra_body"] = {"language": settings["language"]}
    kept = ("description", "parameters")
    own = [{t["name"]: {k: t[k] for k in kept if k in t}} for t in settings["tools"]]
    if tools := [*settings["system_tools"], *own]:
        agent["tools"] = tools
    lines += [f"  {name}: {_json(value)}" for name, value in agent.items()]
    lines.append("turns:")
    before: Turn | None = None
    for turn in call.turns:
        behaviour = None if behaviours is None else behaviours.get(turn.number, "well")
        entries = _turn(turn, before, behaviour, results)
        mark = "  - "
        for key, value in entries.items():
            lines.append(f"{mark}{key}: {_json(value)}")
            mark = "    "
        before = turn
    return "\n".join(lines) + "\n"


def _turn(
    turn: Turn, before: Turn | None, behaviour: str | None, results: Results
) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if turn.caller is not None:
        entry["caller"] = turn.caller
        if before is not None and before.interrupted_at_ms is not None:
            entry["over"] = " ".join(before.heard_text.split()[-3:])
            if not letters(entry["over"]):
                del entry["over"]
    if behaviour is not None:
        entry["model"] = _model(turn, behaviour)
    if given := results.of(turn.calls):
        entry["result"] = given
    expect: dict[str, Any] = {"buffer_words": turn.buffer_words}
    if heard := text_of([word for word in turn.heard if not word.is_buffer]).strip():
        expect["says"] = " ".join(heard.split()[:4])
    if any(each.cause == "failure_sentence" for each in turn.troubles):
        expect["apologises"] = True
    if turn.calls:
        expect["calls"] = [call.name for call in turn.calls]
    if turn.ended:
        expect["ends"] = turn.ended
    if behaviour is None:
        expect.pop("says", None)  # a real model words it differently
    return entry | {"expect": expect}


def _model(turn: Turn, behaviour: str) -> dict[str, Any]:
    """Return what the model did, as the script of a call file says it."""
    if behaviour == "empty":
        return {"empty": True}
    if behaviour == "sick":
        return {"fails": 503}
    model: dict[str, Any] = {}
    own = [word for word in turn.speech.words if not word.is_buffer]
    answer_ms = turn.answer_ms
    if answer_ms and answer_ms >= 1000:
        model["after_ms"] = round(answer_ms)
    if own:
        model["say"] = text_of(own)
    if turn.calls:
        model["tools"] = [{call.name: _decoded(call.arguments)} for call in turn.calls]
    return model or {"empty": True}


def _decoded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
