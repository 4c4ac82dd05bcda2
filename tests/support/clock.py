"""A wall clock that the test sets."""

from __future__ import annotations


class FakeClock:
    """A clock that shows `now`, in seconds since the epoch, until a test changes it."""

    def __init__(self) -> None:
        self.now = 1_795_338_000.0

    def __call__(self) -> float:
        return self.now
