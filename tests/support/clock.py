"""Clocks that the test sets."""

from __future__ import annotations

import asyncio

import pytest


def block_loop(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let this time pass on the running loop's clock, as in a callback that blocks the loop."""
    loop = asyncio.get_running_loop()
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + seconds)


class FakeClock:
    """A clock that shows `now`, in seconds since the epoch, until a test changes it."""

    def __init__(self) -> None:
        self.now = 1_795_338_000.0

    def __call__(self) -> float:
        return self.now
