"""What stops `make connect`, in words for the person who ran it."""

from __future__ import annotations


class Problem(Exception):
    """Says what happened, what was expected and what to do; ends the program with `status`."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def usage(message: str) -> Problem:
    """A problem with how the command was called: status 2, and nothing was touched."""
    return Problem(message, status=2)
