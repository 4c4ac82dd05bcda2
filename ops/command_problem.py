"""What stops an operator's command, in words for the person who ran it."""

from __future__ import annotations


class Problem(Exception):
    """Say what happened, what was expected and what to do; the program exits with `status`."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def usage(message: str) -> Problem:
    """Return the problem of a command called wrongly: status 2, and nothing was touched."""
    return Problem(message, status=2)
