"""No logs and metrics, for thousands of turns."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout

import pytest

from completions.observability import log


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing."""
    level = log.log_level
    log.setLevel("CRITICAL")
    with redirect_stdout(io.StringIO()):
        yield
    log.setLevel(level)
