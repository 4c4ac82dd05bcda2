"""What holds for every test that starts processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local import environment


@pytest.fixture(scope="session", autouse=True)
def unhurried() -> Iterator[None]:
    """A process may take as long as a busy machine needs, to start and to finish."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "INIT_LIMIT_S", 120)
        patch.setattr(environment, "FINISHING_GRACE_S", 60)
        yield
