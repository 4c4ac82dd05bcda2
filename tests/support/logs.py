"""The function's log, with exactly the lines that CloudWatch would get."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from completions.observability import log


class Logged:
    """The log since the test began."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        """Return the whole log, as written."""
        return self._stream.getvalue()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of this name, decoded."""
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in lines if line["message"] == name]

    def event(self, name: str) -> dict[str, Any]:
        """Return the only event of this name."""
        (event,) = self.events(name)
        return event


@contextmanager
def logged() -> Iterator[Logged]:
    """Redirect the log from stdout."""
    stream = io.StringIO()
    handler: Any = log.registered_handler
    before = handler.setStream(stream)
    try:
        yield Logged(stream)
    finally:
        handler.setStream(before)
