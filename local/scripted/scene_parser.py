"""Turns a scene in plain words, as call files and pages write it, into a script.

    {"say": "Yes, until six.", "after_ms": 1800, "pace_ms": 20}
    {"tools": [{"end_call": {"reason": "done"}}], "say": "Goodbye. "}
    {"empty": true} · {"fails": 503} · {"hangs": true} · {"say": "We are", "cuts": true}

`tools` are called after what is said; text in place of arguments is sent unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.scripted.script import (
    At,
    Cut,
    Done,
    Finish,
    Hold,
    Pause,
    Role,
    Say,
    Script,
    Step,
    Think,
    Usage,
    call,
    refused,
)

FIELDS: Mapping[str, tuple[type, ...]] = {
    "say": (str,),
    "think": (str,),
    "tools": (list,),
    "after_ms": (int, float),
    "pace_ms": (int, float),
    "empty": (bool,),
    "hangs": (bool,),
    "cuts": (bool,),
    "fails": (int,),
}
"""The fields of a scene."""


def script(scene: Mapping[str, Any]) -> Script:
    """Return the script of a scene.

    Raises:
        ValueError: A field is unknown, or of another type.
    """
    for name, value in scene.items():
        types = FIELDS.get(name)
        if types is None or not isinstance(value, types):
            wanted = "unknown" if types is None else f"no {types[0].__name__}"
            raise ValueError(f"the scene's {name} is {wanted}")
    after_ms = scene.get("after_ms", 0)
    if status := scene.get("fails"):
        return refused(status, message="The scripted model fails.", at_ms=after_ms)
    steps: list[Step] = [At(after_ms)]
    if scene.get("hangs"):
        return [*steps, Hold()]
    steps.append(Role())
    if thought := scene.get("think"):
        steps.append(Think(thought))
    words = scene.get("say", "").split(" ")
    for position, word in enumerate(words):
        if position and scene.get("pace_ms"):
            steps.append(Pause(scene["pace_ms"]))
        if text := word if position == len(words) - 1 else f"{word} ":
            steps.append(Say(text))
    if scene.get("cuts"):
        return [*steps, Cut()]
    tools = scene.get("tools", ())
    for index, tool in enumerate(tools):
        (name, arguments), *_ = tool.items()
        steps += call(name, arguments or {}, index=index)
    return [*steps, Finish("tool_calls" if tools else "stop"), Usage(), Done()]
