"""What tests of several rooms share."""

from __future__ import annotations

import pytest

from completions.race import waits
from tests.support.ways import WAYS, Way


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """Every way in which a turn can be had."""
    found: Way = request.param
    return found


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries are exact, so that a turn's time line is."""
    monkeypatch.setattr(waits, "JITTER", 0.0)
