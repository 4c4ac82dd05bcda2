"""A scene in plain words becomes a script."""

from __future__ import annotations

from typing import Any

import pytest

from local.scripted.scene_parser import script
from local.scripted.script import (
    At,
    CallPiece,
    Cut,
    Done,
    Finish,
    Hold,
    Pause,
    Reply,
    Role,
    Say,
    Think,
)


@pytest.mark.parametrize(
    ("scene", "kinds"),
    [
        ({"say": "Yes, we are."}, [At, Role, Say, Say, Say, Finish]),
        ({"say": "Yes, we.", "pace_ms": 20}, [At, Role, Say, Pause, Say, Finish]),
        ({"empty": True}, [At, Role, Finish]),
        ({"think": "Hm.", "say": "Yes."}, [At, Role, Think, Say, Finish]),
        ({"hangs": True}, [At, Hold]),
        ({"say": "Yes", "cuts": True}, [At, Role, Say, Cut]),
        ({"fails": 503}, [At, Reply]),
        ({"tools": [{"end_call": None}]}, [At, Role, CallPiece, CallPiece, Finish]),
    ],
)
def test_a_scene_is_played_in_its_order(scene: dict[str, Any], kinds: list[type]) -> None:
    """Words come before calls, and each way to end is a separate step."""
    steps = script(scene)
    made = dict.fromkeys(map(type, steps))
    assert [kind for kind in made if kind.__name__ not in {"Usage", "Done"}] == list(
        dict.fromkeys(kinds)
    )
    assert isinstance(steps[-1], Done | Hold | Cut | Reply)


def test_a_scene_waits() -> None:
    """The first step is the time before anything comes."""
    assert script({"say": "Yes.", "after_ms": 300})[0] == At(300)


@pytest.mark.parametrize("scene", [{"sayy": "a"}, {"say": 1}, {"tools": "end_call"}])
def test_a_scene_that_nobody_understands_is_refused(scene: dict[str, Any]) -> None:
    """The error names a field that is unknown or of another type."""
    with pytest.raises(ValueError, match="the scene's"):
        script(scene)
