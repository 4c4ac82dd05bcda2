"""Secrets Manager in memory, and a clock that stands still."""

from __future__ import annotations

import pytest

from tests.support.clock import FakeClock
from tests.support.secrets import FakeSecrets


@pytest.fixture
def clock() -> FakeClock:
    """The wall clock of this test."""
    return FakeClock()


@pytest.fixture
def secrets() -> FakeSecrets:
    """Secrets Manager, with both secrets."""
    return FakeSecrets()
