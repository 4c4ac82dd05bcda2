"""The benchmarks run; what they find is for `make bench` to show, on an idle machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks import at_once, cold_start, lambda_path, package, relay
from tests.benchmarks.figures import Figure, spread, table
from tests.support.built import FUNCTION

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux", reason="processor time and memory are read in /proc"
    ),
]


async def test_every_server_is_measured() -> None:
    """Each server relays each answer whole, and each figure is one of ours beside the peer's."""
    peers = {relay.VENDOR: sys.executable}
    figures = await relay.measure(peers, requests=2, bursts=1)
    assert len(figures) == 4
    for figure in figures:
        assert figure.ours.values
        assert relay.VENDOR in figure.as_json()["medians"]
    assert figures[-1].theirs is not None
    assert len(table(figures).splitlines()) == 6


async def test_the_way_through_lambda_is_measured() -> None:
    """Ours, the canned answer and the model itself are all asked, and a restore is one."""
    figure = await lambda_path.added(spread([1.0]), "one", requests=2)
    assert len(figure.ours.values) == 2
    restored = await lambda_path.restore(rounds=1, built=False)
    assert restored.ours.median > 300


async def test_many_streams_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one of the streams comes to its end, and its gaps are counted."""
    monkeypatch.setattr(at_once, "STREAMS", 4)
    memory, gaps = await at_once.measure(rounds=1)
    assert memory.value > 0.5
    assert gaps.value > 10


@pytest.mark.built
async def test_cold_starts_are_measured(tmp_path: Path) -> None:
    """The built package and the usual one both get as far as their first word."""
    # With our own packages: those of the benchmarks are theirs to install.
    (tmp_path / "usual").symlink_to(FUNCTION)
    polls, words = await cold_start.measure(starts=1, packages=tmp_path)
    assert len(polls.ours.values) == len(words.ours.values) == 1
    assert package.measure().value > 1


def test_a_figure_is_judged_by_its_ratio() -> None:
    """The ratio of medians is what limit and aim are about; without a peer it is the value."""
    figure = Figure("f", "ms", spread([1, 2, 9]), 0.6, 0.4, "peer", spread([4]))
    assert (figure.value, figure.verdict) == (0.5, "met")
    assert Figure("f", "ms", spread([0.3]), 0.6, 0.4).verdict == "aim met"
    assert Figure("f", "ms", spread([0.7]), 0.6, 0.4).verdict == "MISSED"
