"""A turn of an agent in one line, for its owner's tests (docs/agents.md).

    heard = play("completions.agents.shop:answer", "Do you have helmets?", model="Yes, three.")
    assert heard.text.endswith("... Yes, three.")

The turn is real: buffer words, timers, the race, checks of tool calls. Only the model is scripted,
and time is virtual: waiting two seconds takes no time, and every moment is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from completions.responder import Responder
from local.scripted.scene_parser import script
from local.scripted.script import Script, answer
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Caller
from tests.support.ways import CHAT, in_virtual_time

Scene = str | Mapping[str, Any]
"""What the model says: a text, or a scene as in call files (docs/calls.md)."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The result of a turn."""

    text: str
    """Everything that was spoken, buffer words included."""
    speech: list[tuple[int, str]]
    """Each piece, with its milliseconds from the request's arrival."""
    calls: list[tuple[str, Any]]
    """The platform's tools that were called: name and arguments."""
    questions: list[dict[str, Any]]
    """The bodies of the requests to models, in their order."""
    hung_up: list[bool]
    """For each of these requests, whether it was cancelled before its end."""


def play(
    agent: str | Responder,
    says: str | Sequence[Mapping[str, Any]],
    *,
    model: Scene | Sequence[Scene] = "Yes.",
    fallback: Scene | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
    hang_up_ms: float | None = None,
    **settings: Any,
) -> Heard:
    """Play one turn of an agent, named as `Responder` names it.

    The caller `says` a text, or `says` is the whole history as messages. `model` is what it
    answers to every question, or a list: one scene per question, and the last one for all further
    ones. `tools` are the platform's, as functions: `{"name": …, "parameters": …}`. `settings`
    are the deployment's (`turn_budget_ms=5000`).
    """
    scenes = [model] if isinstance(model, str | Mapping) else model
    upstream = PlayedUpstream(
        *map(_script, scenes), fallback=None if fallback is None else _script(fallback)
    )
    more: dict[str, Any] = {} if isinstance(says, str) else {"messages": list(says)}
    request = CHAT.body(says if isinstance(says, str) else "", tools=tools, **more)

    async def turn() -> Heard:
        if isinstance(agent, str):
            caller = Caller(upstream, responder=agent, **settings)
        else:
            caller = Caller(upstream, agent=agent, **settings)
        heard = await caller.post(request, hang_up_ms=hang_up_ms)
        if hang_up_ms is not None:
            return _heard(heard.text, heard.speech, [], upstream)
        answered = CHAT.read(heard)
        return _heard(answered.text, answered.speech, answered.calls, upstream)

    return in_virtual_time(turn())


def _heard(
    text: str,
    speech: list[tuple[int, str]],
    calls: list[tuple[str, Any]],
    upstream: PlayedUpstream,
) -> Heard:
    asked = upstream.requests
    left = [one.hung_up.is_set() for one in asked]
    return Heard(text, speech, calls, [one.json for one in asked], left)


def _script(scene: Scene) -> Script:
    return answer(scene) if isinstance(scene, str) else script(scene)
