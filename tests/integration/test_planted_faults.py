"""Faults between the player and the deployment, which the shipped calls catch by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.call.scripted_deployment import ScriptedDeployments
from tests.support.planted import FAULTS, Fault, plays


@pytest.fixture(scope="module", params=["source", pytest.param("built", marks=pytest.mark.built)])
def deployments(request: pytest.FixtureRequest) -> Iterator[ScriptedDeployments]:
    """The deployments that the calls need."""
    deployments = ScriptedDeployments(("--code", request.param))
    yield deployments
    deployments.stop()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_by_its_name(
    deployments: ScriptedDeployments, fault: str
) -> None:
    """With the fault, its call fails or cannot be played."""
    planted = FAULTS[fault]
    played = plays(deployments, planted)
    names = [failure.name for failure in played.failures]
    assert planted.name in [*names, played.unplayable.partition(":")[0]]


@pytest.mark.parametrize("call", sorted({fault.call for fault in FAULTS.values()}))
def test_the_proxy_plants_nothing_else(deployments: ScriptedDeployments, call: str) -> None:
    """Without a fault each of these calls passes."""
    assert plays(deployments, Fault(call)).result == "ok"
