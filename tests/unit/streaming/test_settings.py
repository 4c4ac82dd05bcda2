"""The layer's settings, as the environment has them."""

from __future__ import annotations

import pytest

from lambda_streaming import settings
from lambda_streaming.failures import PlatformError
from lambda_streaming.invocations import RuntimeLoop
from lambda_streaming.runtime_api import RuntimeApi


@pytest.mark.parametrize("text", ["soon", "-1", "1e9", "nan"])
def test_a_malformed_gap_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A malformed setting raises instead of falling back to the default."""
    monkeypatch.setenv("LAMBDA_STREAMING_PRELUDE_GAP_MS", text)
    with pytest.raises(PlatformError, match="LAMBDA_STREAMING_PRELUDE_GAP_MS"):
        RuntimeLoop(RuntimeApi("127.0.0.1:1"), print, 1)


@pytest.mark.parametrize(("text", "gap_s"), [(None, 0.002), ("0", 0.0), ("25", 0.025)])
def test_a_gap_is_in_milliseconds(
    monkeypatch: pytest.MonkeyPatch, text: str | None, gap_s: float
) -> None:
    """The setting is in milliseconds; the default is 2."""
    monkeypatch.delenv("LAMBDA_STREAMING_PRELUDE_GAP_MS", raising=False)
    if text is not None:
        monkeypatch.setenv("LAMBDA_STREAMING_PRELUDE_GAP_MS", text)
    assert settings.prelude_gap_s() == gap_s
