"""What tests of several rooms share."""

from __future__ import annotations

import pytest

from tests.support.ways import WAYS, Way


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """Every way in which a turn can be had."""
    found: Way = request.param
    return found
