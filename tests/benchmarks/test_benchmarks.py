"""The benchmarks run; what they find is for `make bench` to show, on an idle machine."""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks import cold_start, relay


@pytest.mark.skipif(sys.platform != "linux", reason="processor time and memory are read in /proc")
async def test_every_server_is_measured() -> None:
    """Each server relays each answer whole, and gets a row of figures."""
    figures = await relay.measure(["ours", "bare", "usual"], {}, requests=2, bursts=1, streams=4)
    assert set(figures) == {"direct", "ours", "bare", "usual"}
    for name, each in figures.items():
        assert all(ms > 0 for ms in each.first_content_ms)
        if name != "direct":
            assert all(cpu_s > 0 for cpu_s in each.cpu_s_per_1000)
            assert each.memory_many_mib > 1
    rows = relay.table(figures, peer="bare").splitlines()
    assert [row.split()[0] for row in rows[2:]] == ["ours", "bare", "usual"]
    assert "(1.00x)" in rows[3]


@pytest.mark.built
async def test_cold_starts_are_measured() -> None:
    """The built package and the usual one both get as far as their first poll."""
    took_ms = await cold_start.measure(starts=1)
    assert all(ms > 0 for ms in took_ms.values())
    assert "ours" in cold_start.table(took_ms)
