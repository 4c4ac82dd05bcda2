"""What can be wrong: why, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

LOG = "`sam logs` or the log group that the output `LogGroup` names"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why, and what to do.

    `warning`: a voice agent can live with it. `dead_end`: every further request meets the same.
    """

    why: str
    remedy: str
    warning: bool = False
    dead_end: bool = False
