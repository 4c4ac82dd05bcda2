"""The doctor forgives a busy machine."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_slow_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words count as slow after a minute, however busy this machine is."""
    monkeypatch.setattr("ops.doctor.checks.SLOW_WORDS_MS", 60_000)
