"""A wall clock that the test sets."""

from __future__ import annotations


class FakeClock:
    """Stands still until a test moves `now`, in seconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_795_338_000.0

    def __call__(self) -> float:
        return self.now
