"""Faults between the player and the deployment: the shipped calls catch each by its name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.call.scripted_deployment import Stages
from tests.support.planted import FAULTS, Fault, plays


@pytest.fixture(scope="module", params=["source", pytest.param("built", marks=pytest.mark.built)])
def stages(request: pytest.FixtureRequest) -> Iterator[Stages]:
    """The deployments that the calls want."""
    stages = Stages(("--code", request.param))
    yield stages
    stages.stop()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_by_its_name(stages: Stages, fault: str) -> None:
    """The call that goes well without it fails, or cannot be played."""
    planted = FAULTS[fault]
    played = plays(stages, planted)
    names = [failure.name for failure in played.failures]
    assert planted.name in [*names, played.unplayable.partition(":")[0]]


@pytest.mark.parametrize("call", sorted({fault.call for fault in FAULTS.values()}))
def test_what_stands_between_plants_nothing_else(stages: Stages, call: str) -> None:
    """Without a fault each of these calls goes well."""
    assert plays(stages, Fault(call)).result == "ok"
