"""All kinds by name; importing this module fills the table."""

from __future__ import annotations

from tests.soak.kinds import (  # noqa: F401 - each adds its kinds
    calls,
    connection,
    endings,
    frames,
    responses,
    silences,
    statuses,
    thoughts,
)
from tests.soak.kinds.kind import KINDS

__all__ = ["KINDS"]
