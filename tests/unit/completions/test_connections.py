"""Connections: kept between turns, never across a snapshot; what is costly and timeless is."""

from __future__ import annotations

import ssl
import time
from typing import Any

import pytest

from completions import connections
from completions.connections import Connections

BASE, OTHER = "https://api.example/v1", "https://fallback.example/v1"


@pytest.fixture
def certificates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moments at which somebody read the certificates of the world's authorities."""
    reads: list[float] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        reads.append(time.monotonic())
        load(self, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    return reads


async def test_a_restore_keeps_what_was_warmed(certificates: list[float]) -> None:
    """A client that never was connected is as good after a restore as before the snapshot."""
    kept = Connections()
    warmed = kept.prepare(BASE)
    read = len(certificates)
    assert read
    kept.forget()
    assert kept.take(BASE) is warmed
    assert len(certificates) == read
    kept.leave(warmed)
    await kept.close()


async def test_a_restore_keeps_no_connection(certificates: list[float]) -> None:
    """What was in use before the snapshot is let go; the certificates are not read again."""
    kept = Connections()
    old, unread = kept.take(BASE), kept.take(OTHER)
    read = len(certificates)
    kept.leave(old)
    kept.forget()
    new, other = kept.take(BASE), kept.take(OTHER)
    assert new is not old
    assert other is not unread
    assert len(certificates) == read
    for pool in (new, unread, other):
        kept.leave(pool)
    await kept.close()


async def test_after_a_long_freeze_no_certificate_is_read(
    monkeypatch: pytest.MonkeyPatch, certificates: list[float]
) -> None:
    """The turn that meets connections too old to trust pays for new ones, and nothing else."""
    kept = Connections()
    old = kept.take(BASE)
    kept.leave(old)
    read = len(certificates)
    thawed = time.time() + connections.KEEP_ALIVE_S + 1
    monkeypatch.setattr(time, "time", lambda: thawed)
    new = kept.take(BASE)
    assert new is not old
    assert len(certificates) == read
    kept.leave(new)
    await kept.close()
