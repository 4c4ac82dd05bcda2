"""Play a call file once, step by step, and judge each turn when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.call.agent import AgentServer
from ops.call.call import Call
from ops.call.call_file import CallFile, Step
from ops.call.judge import Failure, judge, unplayable
from ops.call.scripted_deployment import ScriptedDeployment
from ops.call.turn import Turn


@dataclass(slots=True)
class Played:
    """One call that was played, or why it was not."""

    file: CallFile
    turns: list[tuple[Step, Turn, list[Failure]]] = field(default_factory=list)
    unplayable: str = ""
    skipped: str = ""
    took_s: float = 0.0

    @property
    def failures(self) -> list[Failure]:
        """Everything that is wrong."""
        return [failure for _, _, failures in self.turns for failure in failures]

    @property
    def result(self) -> str:
        """The call in one word."""
        if self.skipped:
            return "skipped"
        if self.unplayable:
            return "unplayable"
        return "failed" if self.failures else "ok"


def play(
    file: CallFile,
    server: AgentServer,
    deployment: ScriptedDeployment | None = None,
    *,
    speed: float = 1.0,
    on_turn: Callable[[Turn, list[Failure]], None] = lambda _turn, _failures: None,
) -> Played:
    """Play a call to its end; `deployment` steers the models if the file has scripts."""
    played = Played(file)
    began = time.monotonic()
    step_of: dict[str, Any] = {}

    def results(tool: str, _arguments: Mapping[str, Any]) -> Any:
        return step_of.get(tool)

    call = Call(server, file.agent, speed=speed, results=results, hear_out=False)
    for at, step in enumerate(file.steps):
        until = file.steps[at + 1].over if at + 1 < len(file.steps) else ""
        step_of.clear()
        step_of.update(step.results)
        if deployment is not None and file.scripted:
            deployment.play("model", step.model)
            if file.has_fallback:
                deployment.play("fallback", step.fallback or [{"fails": 503}])
        lost = step.late_results.keys() - {*call.waiting.values()}
        if step.caller is None:
            turn = call.go_on(until_heard=until)
        else:
            turn = call.say(step.caller, until_heard=until, late=step.late_results)
        saw = deployment.saw() if deployment is not None and "model_saw" in step.expect else []
        played.unplayable = unplayable(turn)
        failures = [] if played.unplayable else judge(turn, step, call, saw)
        if until and turn.interrupted_at_ms is None and not played.unplayable:
            failures.append(Failure("over", f"{until!r} was never heard"))
        failures += [Failure("late_result", f"nobody waited for {name}'s") for name in lost]
        played.turns.append((step, turn, failures))
        on_turn(turn, failures)
        if call.ended:
            left = len(file.steps) - at - 1
            if left and not played.unplayable:
                failures.append(Failure("ends", f"{call.ended}, with {left} turns to come"))
            break
    played.took_s = time.monotonic() - began
    return played
