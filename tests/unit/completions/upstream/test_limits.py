"""Limits: an answer without end is stopped, one of any real length is not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from completions.upstream import limits
from completions.upstream.limits import AnswerLimit, read_whole
from tests.support.logs import Logged


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches quickly."""
    monkeypatch.setattr(limits, "ANSWER_LIMIT_BYTES", 10)
    monkeypatch.setattr(limits, "EVENTS_LIMIT", 3)


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize(
    ("received_bytes", "size_bytes", "events"), [(0, 11, 0), (8, 3, 0), (0, 0, 4)]
)
def test_an_answer_over_a_limit_is_stopped(
    logs: Logged, received_bytes: int, size_bytes: int, events: int
) -> None:
    """Bytes and events count, including what came before the limit was made."""
    limit = AnswerLimit(received_bytes)
    with pytest.raises(ValueError, match="without end"):
        limit.count(size_bytes, events)
    assert logs.event("upstream.endless")["events"] == events


def test_an_answer_at_the_limits_passes() -> None:
    """The last byte and the last event within the limits are accepted."""
    limit = AnswerLimit(2)
    limit.count(4, 1)
    limit.count(4, 2)


async def test_a_whole_body_includes_its_opening() -> None:
    """Bytes that were read to recognise a body belong to it, and count in its size."""
    assert await read_whole(_chunks(b"two", b"three"), b"") == b"twothree"
    assert await read_whole(_chunks(b"two"), b"one") == b"onetwo"
    with pytest.raises(ValueError, match="without end"):
        await read_whole(_chunks(b"two", b"three"), b"one")
